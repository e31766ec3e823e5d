"""What the recipes of all networks share, by data set.

A recipe starts from here and sets what its paper, or its authors' code, does otherwise.
"""

from typing import Any

from ml_collections import ConfigDict

from jaxseg.errors import UserError

NUM_CLASSES = {"camvid": 11, "streets": 19}

# What a network's input is, as `preprocess` takes it.
ZERO_TO_ONE = dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
# Mean and deviation of ImageNet's pixels: torchvision's, times 255.
IMAGENET = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
# Minus the mean colour of CamVid's training pictures, unscaled: DABNet's code.
CAMVID_MEAN = dict(mean=(99.625, 103.330, 105.658), std=(1.0, 1.0, 1.0))


def recipe(name: str, dataset: str, **model: Any) -> ConfigDict:
    """A whole recipe for the network `name`, built with the arguments `model`.

    `streets` (19 classes) is a few minutes on two CPU cores, all our choice; `camvid`
    (11 classes) is what DABNet's code does there, which the papers leave out.

    Raises:
        UserError: the data set is unknown; the message lists those that there are.
    """
    if dataset not in NUM_CLASSES:
        known = ", ".join(NUM_CLASSES)
        raise UserError(f"no data set is called {dataset!r}; there are: {known}.")
    config = ConfigDict()
    config.seed = 0
    config.model = dict(
        name=name, num_classes=NUM_CLASSES[dataset], dtype="float32", **model
    )
    config.data = dict(name=dataset, dir="", train_split="train", loader="auto")
    config.preprocess = dict(**ZERO_TO_ONE, input_scale=1.0)
    if dataset == "streets":
        _streets(config)
    else:
        _camvid(config)
    return config


def _streets(config: ConfigDict) -> None:
    # Whole scenes at half size, as Cityscapes is trained on at 512x1024: what matters in
    # a training of minutes is how many scenes are seen.
    config.preprocess.input_scale = 0.5
    config.augment = dict(
        crop_hw=(128, 256),
        scale=(0.75, 1.25),
        flip=True,
        rotation=0.0,
        colour_jitter=0.0,
    )
    # 1 / ln(1.10 + share of the class), ERFNet's rule, over 100 scenes.
    config.loss = dict(
        class_weights=(
            *(3.3, 7.3, 3.85, 9.5, 9.26, 8.31, 9.97, 9.57, 6.49, 9.07),
            *(4.84, 9.06, 9.56, 5.98, 8.87, 8.77, 7.98, 9.81, 9.71),
        )
    )
    config.optim = dict(name="adam", weight_decay=1e-4, momentum=0.9)
    config.schedule = dict(peak_lr=4e-3, poly_power=0.9, warmup_steps=20)
    config.train = dict(
        num_epochs=6,
        batch_size=4,
        eval_batch_size=4,
        eval_every_epochs=3,
        log_every_steps=10,
        keep_checkpoints=2,
    )


def _camvid(config: ConfigDict) -> None:
    config.augment = dict(
        crop_hw=(360, 480),
        scale=(0.75, 2.0),
        flip=True,
        rotation=0.0,
        colour_jitter=0.0,
    )
    # 1 / ln(1.10 + share of the class), ERFNet's rule, over the 367 training pictures:
    # the values in DABNet's code.
    config.loss = dict(
        class_weights=(
            *(4.4287, 3.4432, 9.6272, 2.9082, 6.9883, 5.2119),
            *(9.4902, 9.1505, 7.1655, 9.8886, 7.5455),
        )
    )
    config.optim = dict(name="adam", weight_decay=2e-4, momentum=0.9)
    # The warm-up is our choice.
    config.schedule = dict(peak_lr=1e-3, poly_power=0.9, warmup_steps=100)
    config.train = dict(
        num_epochs=1000,
        batch_size=16,
        eval_batch_size=4,
        eval_every_epochs=5,
        log_every_steps=10,
        keep_checkpoints=2,
    )
