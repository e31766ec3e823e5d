"""ESNet: `train.py --config configs/esnet.py` or `configs/esnet.py:camvid`.

The authors published the network without its training code. Their paper (section 4.1)
states momentum 0.9, weight decay 1e-4, rate 5e-4 with poly 0.9 on Cityscapes; LEDNet's
code, from the same group, trains with Adam and scales pixels to 0..1. Values below are
our choice.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dataset: str = "streets") -> ConfigDict:
    """The recipe of ESNet for `streets` (19 classes) or `camvid` (11 classes)."""
    config = base.recipe("esnet", dataset, zero_init_residual=True)
    if dataset == "camvid":
        config.augment.colour_jitter = 0.1
        config.train.update(num_epochs=400, batch_size=8)
    return config
