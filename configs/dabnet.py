"""DABNet: `train.py --config configs/dabnet.py:camvid`, or another data set.

Values are those of the authors' code. The paper (section 4.1) states the same ones, but
for OHEM, its class weights and the warm-up, which it leaves out.
"""

from ml_collections import ConfigDict

from jaxseg.recipes import base


def get_config(arguments: str = "auto") -> ConfigDict:
    """The recipe of DABNet; see `base.recipe`."""
    return base.recipe("dabnet", arguments, camvid=_camvid, cityscapes=_cityscapes)


def _camvid(config: ConfigDict) -> None:
    config.preprocess.update(base.CAMVID_MEAN)


def _cityscapes(config: ConfigDict) -> None:
    config.preprocess.update(base.CITYSCAPES_MEAN)
    config.augment.scale = base.DABNET_SCALES
    # The code keeps batch / len(gpus) * pixels / 16 at least, and `gpus` is a string.
    config.loss.update(class_weights=base.HRNET_WEIGHTS, **base.OHEM)
    config.optim.update(name="sgd", momentum=0.9, weight_decay=1e-4)
    config.schedule.update(peak_lr=4.5e-2, warmup_steps=500, warmup_factor=1 / 3)
    config.train.update(num_epochs=1000, batch_size=8, eval_every_epochs=50)
