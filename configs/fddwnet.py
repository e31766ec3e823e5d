"""FDDWNet: `train.py --config configs/fddwnet.py` or `configs/fddwnet.py:camvid`.

Its authors' code is DABNet's with the values below; the paper (section 3.1) says SGD
where the code has Adam, at the same rate.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dataset: str = "streets") -> ConfigDict:
    """The recipe of FDDWNet for `streets` (19 classes) or `camvid` (11 classes)."""
    config = base.recipe("fddwnet", dataset)
    if dataset == "camvid":
        config.preprocess.update(base.CAMVID_MEAN)
        config.train.update(num_epochs=500, batch_size=4)
    return config
