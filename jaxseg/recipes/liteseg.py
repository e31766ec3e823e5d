"""What the three LiteSeg recipes share.

The paper trains on Cityscapes alone, and so does its code, whose values these are. The
code starts from ImageNet's weights (`--init-from`), of which the paper says nothing.
The paper's figures with coarse labels come from training on
`--config.data.train_split=train_extra` first.
"""

from ml_collections import ConfigDict

from jaxseg.recipes import base


def recipe(name: str, arguments: str = "auto") -> ConfigDict:
    """The recipe of the LiteSeg called `name`; see `base.recipe`."""
    return base.recipe(
        name, arguments, always=_always, camvid=_camvid, cityscapes=_cityscapes
    )


def _always(config: ConfigDict) -> None:
    config.preprocess.update(base.IMAGENET)


def _camvid(config: ConfigDict) -> None:
    # Our choice: a multiple of the stride, as the height of a padded picture is. Maps
    # are enlarged corner to corner, so how far they are stretched depends on it.
    h, w = config.augment.crop_hw
    config.augment.crop_hw = (h // 32 * 32, w)


def _cityscapes(config: ConfigDict) -> None:
    # Scales 0.2 to 0.8 of the full size. The code enlarges a picture that is smaller
    # than the crop; here what is missing is void. It also turns the crops of the first
    # size by up to 5 degrees; here none are turned.
    config.preprocess.input_scale = 0.5
    config.augment.update(
        more_crops_hw=((768, 1536), (360, 640), (720, 1280)), scale=(0.4, 1.6)
    )
    # The paper says Nesterov and weight decay 4e-5, the code momentum and 5e-4.
    config.optim.update(name="sgd", momentum=0.9, nesterov=True, weight_decay=4e-5)
    # 1e-7 (Darknet 1e-8) on the sum over a picture's pixels, in the paper and the code:
    # so much on their mean at 512x1024.
    rate = 1e-8 if config.model.name == "liteseg_darknet" else 1e-7
    config.schedule.peak_lr = rate * 512 * 1024
    # 100 epochs in the code, each of which takes all pictures once at every size.
    config.train.update(num_epochs=4 * 100, batch_size=4)
