"""ESNet: `train.py --config configs/esnet.py` or `configs/esnet.py:camvid`.

The authors published the network without its training code. Their paper (section 4.1)
states momentum 0.9, weight decay 1e-4, rate 5e-4 with poly 0.9 on Cityscapes; LEDNet's
code, from the same group, trains with Adam. Values below are our choice where a comment
does not name a source.
"""

from ml_collections import ConfigDict

from configs import base


def get_config(dataset: str = "streets") -> ConfigDict:
    """The recipe of ESNet for `streets` (19 classes) or `camvid` (11 classes)."""
    config = base.recipe(dataset)
    config.model = dict(
        name="esnet",
        num_classes=base.NUM_CLASSES[dataset],
        dtype="float32",
        zero_init_residual=True,
    )
    # Pixels to 0..1 and nothing else: LEDNet's training code.
    config.preprocess = dict(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
    config.optim = dict(name="adam", weight_decay=1e-4, momentum=0.9)
    if dataset == "streets":
        # Small enough for two CPU cores: see README for its wall time.
        config.augment = dict(
            crop_hw=(128, 256), scale=(0.5, 1.0), flip=True, colour_jitter=0.0
        )
        # 1 / ln(1.10 + share of the class), ERFNet's rule, over 100 scenes.
        config.loss = dict(
            class_weights=(
                *(3.3, 7.3, 3.85, 9.5, 9.26, 8.31, 9.97, 9.57, 6.49, 9.07),
                *(4.84, 9.06, 9.56, 5.98, 8.87, 8.77, 7.98, 9.81, 9.71),
            )
        )
        config.schedule = dict(peak_lr=4e-3, poly_power=0.9, warmup_steps=20)
        config.train = dict(
            num_epochs=9,
            batch_size=4,
            eval_batch_size=4,
            eval_every_epochs=3,
            log_every_steps=10,
            keep_checkpoints=2,
        )
    if dataset == "camvid":
        config.optim.weight_decay = 2e-4
        config.augment = dict(
            crop_hw=(360, 480), scale=(0.75, 2.0), flip=True, colour_jitter=0.1
        )
        # 1 / ln(1.10 + share of the class), ERFNet's rule, over the 367 training
        # pictures: the values in DABNet's code.
        config.loss = dict(
            class_weights=(
                *(4.4287, 3.4432, 9.6272, 2.9082, 6.9883, 5.2119),
                *(9.4902, 9.1505, 7.1655, 9.8886, 7.5455),
            )
        )
        config.schedule = dict(peak_lr=1e-3, poly_power=0.9, warmup_steps=100)
        config.train = dict(
            num_epochs=400,
            batch_size=8,
            eval_batch_size=4,
            eval_every_epochs=5,
            log_every_steps=10,
            keep_checkpoints=2,
        )
    return config
