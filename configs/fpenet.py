"""FPENet: `train.py --config configs/fpenet.py` or `configs/fpenet.py:camvid`.

Its authors published no code; values for CamVid are those of the paper (section 4.1).
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dataset: str = "streets") -> ConfigDict:
    """The recipe of FPENet for `streets` (19 classes) or `camvid` (11 classes)."""
    config = base.recipe("fpenet", dataset)
    if dataset == "camvid":
        # "Zero-mean normalization": of what scale the paper does not say.
        config.preprocess.update(base.IMAGENET)
        config.augment.update(scale=(0.5, 1.75), rotation=10.0)
        # "The mean of cross-entropy error over all pixels": no class weights.
        config.loss.class_weights = ()
        config.optim.weight_decay = 1e-4
        config.schedule.peak_lr = 5e-4
        config.train.update(num_epochs=300, batch_size=8)
    return config
