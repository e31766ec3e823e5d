"""DABNet: `train.py --config configs/dabnet.py` or `configs/dabnet.py:camvid`.

Its authors' code is what `base` does on CamVid; the paper (section 4.2) trains on
Cityscapes, with SGD.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dataset: str = "streets") -> ConfigDict:
    """The recipe of DABNet for `streets` (19 classes) or `camvid` (11 classes)."""
    config = base.recipe("dabnet", dataset)
    if dataset == "camvid":
        config.preprocess.update(base.CAMVID_MEAN)
    return config
