"""FDDWNet: `train.py --config configs/fddwnet.py:camvid`, or another data set.

Its authors' code is DABNet's with the values below. The paper (section 3.1) says SGD
where the code has Adam, at the same rate; the code's is taken.
"""

from ml_collections import ConfigDict

from jaxseg.recipes import base


def get_config(arguments: str = "auto") -> ConfigDict:
    """The recipe of FDDWNet; see `base.recipe`."""
    return base.recipe("fddwnet", arguments, camvid=_camvid, cityscapes=_cityscapes)


def _camvid(config: ConfigDict) -> None:
    config.preprocess.update(base.CAMVID_MEAN)
    config.train.update(num_epochs=500, batch_size=4)


def _cityscapes(config: ConfigDict) -> None:
    config.preprocess.update(base.CITYSCAPES_MEAN)
    config.augment.scale = base.DABNET_SCALES
    config.loss.update(class_weights=base.ERFNET_WEIGHTS, **base.OHEM)
    config.optim.weight_decay = 1e-5
    config.schedule.update(peak_lr=1e-3, warmup_steps=100, warmup_factor=1 / 3)
    config.train.update(num_epochs=500, batch_size=4, eval_every_epochs=30)
