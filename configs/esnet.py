"""ESNet: `train.py --config configs/esnet.py:camvid`, or another data set.

The authors published the network without its training code. Their paper (section 4.2)
states momentum 0.9, weight decay 1e-4, rate 5e-4 with poly 0.9 and batch 4 on
Cityscapes; the rest is LEDNet's code, from the same group. For the paper's second
figure train on `--config.data.train_split=train_extra` (coarse labels) first, and then
on `train` with `--init-from`.
"""

from ml_collections import ConfigDict

from jaxseg.recipes import base


def get_config(arguments: str = "auto") -> ConfigDict:
    """The recipe of ESNet; see `base.recipe`."""
    return base.recipe(
        "esnet", arguments, always=_always, camvid=_camvid, cityscapes=_cityscapes
    )


def _always(config: ConfigDict) -> None:
    # Short trainings hardly move from PyTorch's default start.
    config.model.zero_init_residual = True


def _camvid(config: ConfigDict) -> None:
    """Our choice: the paper does not train on CamVid."""
    config.augment.colour_jitter = 0.1
    config.train.update(num_epochs=400, batch_size=8)


def _cityscapes(config: ConfigDict) -> None:
    config.model.zero_init_residual = False
    # LEDNet's code resizes the whole picture to 512x1024, flips it, and moves it by up
    # to two pixels, which is left out here.
    config.preprocess.input_scale = 0.5
    config.augment.scale = (1.0, 1.0)
    config.loss.class_weights = base.ERFNET_WEIGHTS
    config.schedule.peak_lr = 5e-4
    config.train.update(num_epochs=300, batch_size=4)
