"""FPENet: `train.py --config configs/fpenet.py:camvid`, or another data set.

Its authors published no code; values are those of the paper (section 4.1).
"""

from ml_collections import ConfigDict

from jaxseg.recipes import base


def get_config(arguments: str = "auto") -> ConfigDict:
    """The recipe of FPENet; see `base.recipe`."""
    return base.recipe("fpenet", arguments, camvid=_camvid, cityscapes=_cityscapes)


def _paper(config: ConfigDict) -> None:
    # "Zero-mean normalization": of what scale the paper does not say.
    config.preprocess.update(base.IMAGENET)
    config.augment.update(scale=(0.5, 1.75), rotation=10.0)
    # "The mean of cross-entropy error over all pixels": no class weights.
    config.loss.class_weights = ()
    config.optim.weight_decay = 1e-4
    config.schedule.peak_lr = 5e-4
    config.train.batch_size = 8


def _camvid(config: ConfigDict) -> None:
    _paper(config)
    config.train.num_epochs = 300


def _cityscapes(config: ConfigDict) -> None:
    _paper(config)
    # Trained at half size; scored at the size of the truth, as everything here.
    config.preprocess.input_scale = 0.5
    config.train.num_epochs = 400
