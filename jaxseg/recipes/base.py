"""What the recipes of all networks share, by data set.

A recipe starts from here and sets what its paper, or its authors' code, does otherwise.
"""

from collections.abc import Callable
from dataclasses import fields
from types import UnionType
from typing import Any, get_args, get_origin

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from jaxseg import models
from jaxseg.data.sources import Cityscapes, data_folder
from jaxseg.errors import UserError
from jaxseg.models.layers import Network

Change = Callable[[ConfigDict], None]

# 0: as many as the folder's own description has.
NUM_CLASSES = {
    "camvid": 11,
    "camvid_merged": 11,
    "camvid_pure": 11,
    "cityscapes": 19,
    "folder": 0,
    "streets": 19,
}

# What a network's input is, as `preprocess` takes it.
ZERO_TO_ONE = dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
# Mean and deviation of ImageNet's pixels: torchvision's, times 255.
IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
# DABNet's code subtracts the mean colour of the training pictures, unscaled.
CAMVID_MEAN = dict(mean=(99.625, 103.330, 105.658), std=(1.0, 1.0, 1.0))
CITYSCAPES_MEAN = dict(mean=(73.158, 82.909, 72.392), std=(1.0, 1.0, 1.0))

# Class weights for Cityscapes. ERFNet's code, for its decoder: LEDNet's and FDDWNet's.
ERFNET_WEIGHTS = (
    *(2.8149, 6.9850, 3.7890, 9.9428, 9.7702, 9.5110, 10.3113, 10.0264, 4.6323),
    *(9.5608, 7.8698, 9.5168, 10.3737, 6.6616, 10.2604, 10.2878, 10.2898, 10.4053),
    10.1381,
)
# HRNet's code: what DABNet's OHEM uses.
HRNET_WEIGHTS = (
    *(0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
    *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
)
# DABNet's code on Cityscapes; FDDWNet's code is a copy of it.
DABNET_SCALES = (0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
OHEM = dict(ohem_threshold=0.7, ohem_least_kept=1 / 16)


def recipe(
    name: str,
    arguments: str,
    *,
    always: Change | None = None,
    streets: Change | None = None,
    camvid: Change | None = None,
    cityscapes: Change | None = None,
) -> ConfigDict:
    """A whole recipe for the network `name`.

    What the functions below set for a data set is changed by `always`, and then by
    that of its name, in place: `camvid` is for all forms of CamVid.

    Args:
        arguments: a data set of `NUM_CLASSES` or `auto`, and `,modern` after it for
            our own recipe in place of the paper's.

    Raises:
        UserError: the data set or the recipe is unknown; the message lists what there
            is.
    """
    dataset, kind = _parse(arguments)
    config = _common(name, dataset)
    shared, own = {
        "streets": (_streets, streets),
        "cityscapes": (_cityscapes, cityscapes),
        "folder": (_folder, None),
    }.get(dataset, (_camvid, camvid))
    changes = [shared, always, _modern if kind == "modern" else own]
    for change in changes:
        if change is not None:
            change(config)
    return config


def _common(name: str, dataset: str) -> ConfigDict:
    """Every key that there is, with the value that most recipes have."""
    config = ConfigDict()
    config.seed = 0
    config.model = dict(name=name, num_classes=NUM_CLASSES[dataset], dtype="float32")
    # The variants of the papers' tables; left alone, a network's own values.
    config.model.update(
        {field: placeholder(kind) for field, kind in _variants(name).items()}
    )
    config.data = dict(name=dataset, dir="", train_split="train", loader="auto")
    config.preprocess = dict(**ZERO_TO_ONE, input_scale=1.0)
    config.augment = dict(
        crop_hw=(360, 480),
        more_crops_hw=(),
        scale=(0.75, 2.0),
        flip=True,
        rotation=0.0,
        colour_jitter=0.0,
    )
    config.loss = dict(
        class_weights=(),
        label_smoothing=0.0,
        ohem_threshold=placeholder(float),
        ohem_least_kept=1 / 16,
        dice=0.0,
    )
    config.optim = dict(name="adam", weight_decay=1e-4, momentum=0.9, nesterov=False)
    config.schedule = dict(
        peak_lr=1e-3, poly_power=0.9, warmup_steps=0, warmup_factor=0.0
    )
    config.train = dict(
        num_epochs=1,
        batch_size=4,
        eval_batch_size=4,
        eval_every_epochs=1,
        log_every_steps=10,
        keep_checkpoints=2,
        ema_decay=0.0,
        steps_per_call=1,
        max_steps=0,
        minutes=0.0,
        patience=0,
        checkpoint_every_minutes=10.0,
    )
    return config


def _variants(name: str) -> dict[str, type]:
    """The arguments that a network has of its own, with their types."""
    common = {field.name for field in fields(Network)}
    common.add("backbone")  # for which the names of the LiteSegs stand
    own = (f for f in fields(models.create(name)) if f.name not in common)
    return {field.name: _kind(field.type) for field in own}


def _kind(hint: Any) -> type:
    """`tuple` of `tuple[int, ...]`, and `int` of `int | None`."""
    if isinstance(hint, UnionType):
        hint = get_args(hint)[0]
    return get_origin(hint) or hint


def _parse(arguments: str) -> tuple[str, str]:
    """The data set, and `paper` or `modern`; `auto` is resolved, and says to what."""
    dataset, _, kind = arguments.partition(",")
    if dataset == "auto":
        root = data_folder("cityscapes")
        dataset = "cityscapes" if Cityscapes.is_in(root) else "streets"
        found = "lies" if dataset == "cityscapes" else "does not lie"
        print(f"Cityscapes {found} in {root}, so the data set is {dataset}.")
    if dataset not in NUM_CLASSES:
        known = ", ".join(("auto", *NUM_CLASSES))
        raise UserError(f"no data set is called {dataset!r}; there are: {known}.")
    if kind not in ("", "modern"):
        raise UserError(
            f"no recipe is called {kind!r}; there are the paper's ({dataset}) and ours "
            f"({dataset},modern)."
        )
    if kind and dataset in ("streets", "folder"):
        raise UserError(
            f"the modern recipe is for Cityscapes and CamVid, not for {dataset}."
        )
    return dataset, kind


def _streets(config: ConfigDict) -> None:
    """A few minutes on two CPU cores; all our choice."""
    # Whole scenes at half size, as Cityscapes is trained on at 512x1024: what matters
    # in a training of minutes is how many scenes are seen.
    config.preprocess.input_scale = 0.5
    config.augment.update(crop_hw=(128, 256), scale=(0.75, 1.25))
    # 1 / ln(1.10 + share of the class), ERFNet's rule, over 100 scenes.
    config.loss.class_weights = (
        *(3.3, 7.3, 3.85, 9.5, 9.26, 8.31, 9.97, 9.57, 6.49, 9.07),
        *(4.84, 9.06, 9.56, 5.98, 8.87, 8.77, 7.98, 9.81, 9.71),
    )
    config.schedule.update(peak_lr=4e-3, warmup_steps=20)
    config.train.update(num_epochs=6, eval_every_epochs=3)


def _camvid(config: ConfigDict) -> None:
    """What DABNet's code does at 480x360; at 960x720 the same, by twice the crop."""
    if config.data.name != "camvid":
        config.augment.crop_hw = (720, 960)
    # 1 / ln(1.10 + share of the class), ERFNet's rule, over the 367 training pictures:
    # the values in DABNet's code.
    config.loss.class_weights = (
        *(4.4287, 3.4432, 9.6272, 2.9082, 6.9883, 5.2119),
        *(9.4902, 9.1505, 7.1655, 9.8886, 7.5455),
    )
    config.optim.weight_decay = 2e-4
    # The warm-up is our choice.
    config.schedule.update(peak_lr=1e-3, warmup_steps=100)
    config.train.update(num_epochs=1000, batch_size=16, eval_every_epochs=5)


def _cityscapes(config: ConfigDict) -> None:
    """What is common to the papers; every recipe sets the rest."""
    config.augment.crop_hw = (512, 1024)
    config.train.update(eval_batch_size=2, eval_every_epochs=10)


def _folder(config: ConfigDict) -> None:
    """A user's own pictures; all our choice, to be fitted to them."""
    config.augment.update(crop_hw=(384, 512), scale=(0.5, 1.5), colour_jitter=0.2)
    config.schedule.update(peak_lr=1e-3, warmup_steps=100)
    config.train.update(num_epochs=200, batch_size=8, eval_every_epochs=5)


def _modern(config: ConfigDict) -> None:
    """What other implementers found to matter more than the network; our choice.

    Larger crops at full size, OHEM, a longer schedule, more scales, and an average of
    the weights. The rates are for Adam and a batch of 16.
    """
    crop = {"camvid": (480, 640), "cityscapes": (1024, 1024)}
    config.preprocess.update(IMAGENET, input_scale=1.0)
    config.augment.update(
        crop_hw=crop.get(config.data.name, (720, 960)),
        more_crops_hw=(),
        scale=(0.5, 2.0),
        rotation=0.0,
        colour_jitter=0.2,
    )
    config.loss.update(class_weights=(), **OHEM)
    if config.data.name != "cityscapes":  # tried on CamVid: results/camvid-recipes.md
        config.loss.dice = 0.5
    config.optim.update(name="adam", weight_decay=1e-4)
    config.schedule.update(peak_lr=1e-3, warmup_steps=500, warmup_factor=0.0)
    epochs = 800 if config.data.name == "cityscapes" else 1500
    config.train.update(num_epochs=epochs, batch_size=16, ema_decay=0.999)
