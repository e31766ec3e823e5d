"""A config and the data set that it names, built: every section is arguments."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from ml_collections import ConfigDict

from jaxseg import models
from jaxseg.data.augment import build_augments
from jaxseg.data.loaders import Loader, epoch_order, load_split
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Source, check_split, open_source
from jaxseg.errors import UserError, call_with_section
from jaxseg.models.sizes import padded_hw, size_multiple
from jaxseg.training.epoch import TrainSteps, make_train_steps
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.optim import build_optimizer, build_schedule
from jaxseg.training.step import TrainStep, make_train_step

VALIDATION_SPLIT = "val"
_MAY_BE_0 = (
    "max_steps",
    "checkpoint_every_minutes",
    "ema_decay",
    "eval_every_epochs",
    "minutes",
    "patience",
)


@dataclass(frozen=True)
class TrainSettings:
    """The section `config.train`.

    Attributes:
        num_epochs: passes over the training split, whole batches only.
        batch_size: samples a step.
        eval_batch_size: samples a call of the validation; no figure depends on it.
        eval_every_epochs: validation after every so many epochs, and after the last; 0
            for none.
        steps_per_call: how many steps the device takes before it returns to the host,
            which then writes metrics and hears of a signal. More than 1, for devices
            that are faster than the host, needs the `resident` loader and crops of one
            size. See `make_train_steps`.
        log_every_steps: how often metrics are written.
        keep_checkpoints: how many of the newest to keep beside the best one.
        ema_decay: a moving average of weights and batch statistics is what is scored,
            kept and used; 0 for none. See `make_train_step`.
        max_steps: training ends after so many steps, for a trial; 0 for no such end.
            Rates are those of the whole training.
        minutes: `num_epochs` becomes, when training begins, as many as fit this time by
            the rate measured then; 0 leaves it. See `epochs_in`.
        patience: training ends after so many validations in a row of which none was
            better than the best before; 0 for no such end.
        checkpoint_every_minutes: how often a checkpoint is written, beside those after
            validations and at the end; where metrics are written, at the earliest.

    Raises:
        UserError: a number is out of its range.
    """

    num_epochs: int
    batch_size: int
    eval_batch_size: int = 4
    eval_every_epochs: int = 1
    log_every_steps: int = 10
    keep_checkpoints: int = 2
    ema_decay: float = 0.0
    steps_per_call: int = 1
    max_steps: int = 0
    minutes: float = 0.0
    patience: int = 0
    checkpoint_every_minutes: float = 10.0

    def __post_init__(self) -> None:
        for key, value in asdict(self).items():
            least = 0 if key in _MAY_BE_0 else 1
            if value < least:
                raise UserError(
                    f"config.train.{key} is {value}; it must be {least} or more."
                )
        if self.ema_decay >= 1:
            raise UserError(
                f"config.train.ema_decay is {self.ema_decay}; it must be below 1."
            )


@dataclass
class Data:
    """The section `config.data`, opened; the splits are read when first asked for."""

    source: Source
    train_split: str
    loader: str

    @cached_property
    def train(self) -> Loader:
        """What is trained on."""
        return load_split(self.source, self.train_split, self.loader)

    @cached_property
    def val(self) -> Loader:
        """What is validated on."""
        return load_split(self.source, VALIDATION_SPLIT, self.loader)


def open_data(
    name: str, dir: str = "", train_split: str = "train", loader: str = "auto"
) -> Data:
    """The data set `name` from the folder `dir`."""
    source = open_source(name, dir)
    check_split(source, train_split)
    return Data(source, train_split, loader)


@dataclass(frozen=True)
class Recipe:
    """A config, built: every section is the arguments of one function.

    Attributes:
        train_steps: one a size of crop, to be taken in turn.
        train_epoch: the first of them, for many rows of an epoch's order in a call.
        offset: what is added to a step's number to know where it lies in an epoch; see
            `build`.
    """

    model: nn.Module
    preprocess: Preprocess
    settings: TrainSettings
    schedule: optax.Schedule
    tx: optax.GradientTransformation
    train_steps: tuple[TrainStep, ...]
    train_epoch: TrainSteps
    seed: int
    total_steps: int
    offset: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of the training split."""
        return self.total_steps // self.settings.num_epochs

    @property
    def last_step(self) -> int:
        """The number of the step that training ends after."""
        whole = self.total_steps - self.offset
        return min(whole, self.settings.max_steps or whole)

    def place(self, step: int) -> tuple[int, int]:
        """Whole epochs before the step that follows `step`, and steps since."""
        return divmod(step + self.offset, self.steps_per_epoch)

    def is_due(self, step: int) -> bool:
        """Whether a validation belongs after `step`."""
        every = self.settings.eval_every_epochs
        epoch, position = self.place(step)
        if not every:
            return False
        return (position, epoch % every) == (0, 0) or step == self.last_step


def build(
    config: ConfigDict, samples: int, num_classes: int, offset: int = 0
) -> Recipe:
    """Builds what `config` describes for a training split of `samples` samples.

    Args:
        offset: of a run whose batch size was changed, or whose training split: steps
            go on being counted, while epochs hold another number of them. It is what
            the count is to be moved by to be one of such epochs, and rates follow it.

    Raises:
        UserError: an unknown section, key, name, or a value that does not fit.
    """
    sections = config.to_dict()
    known = {"seed", "model", "data", "preprocess", "augment", "loss", "optim"}
    unknown = sorted(set(sections) - known - {"schedule", "train"})
    if unknown:
        raise UserError(f"config.{unknown[0]}: nothing reads this section.")

    def section(function: Callable, name: str, **more: Any):
        return call_with_section(function, name, sections[name], **more)

    try:
        settings = section(TrainSettings, "train")
        if sections["model"].get("num_classes") != num_classes:
            raise UserError(
                f"config.model.num_classes is {sections['model'].get('num_classes')}, "
                f"but the data set has {num_classes} classes."
            )
        model = models.create(**sections["model"])
        steps_per_epoch = len(epoch_order(0, 0, samples, settings.batch_size))
        total_steps = steps_per_epoch * settings.num_epochs
        schedule = section(build_schedule, "schedule", total_steps=total_steps)
        if offset:
            schedule = _moved(schedule, offset)
        tx = section(build_optimizer, "optim", schedule=schedule)
        preprocess = section(Preprocess, "preprocess")
        loss = section(CrossEntropy, "loss")
        augments = section(build_augments, "augment")
        for augment in augments:
            _check_shapes(model, loss, augment.crop_hw)
        steps = tuple(
            make_train_step(
                *(model, tx, loss, augment, preprocess, config.seed),
                ema_decay=settings.ema_decay,
            )
            for augment in augments
        )
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error
    if settings.batch_size % jax.device_count():
        raise UserError(
            f"config.train.batch_size is {settings.batch_size}; it must be a multiple "
            f"of {jax.device_count()}, the number of devices."
        )
    if settings.steps_per_call > 1 and len(steps) > 1:
        raise UserError(
            f"config.train.steps_per_call is {settings.steps_per_call}, which needs "
            "crops of one size; leave config.augment.more_crops_hw empty."
        )
    numbers = config.seed, total_steps, offset
    epoch = make_train_steps(steps[0])
    return Recipe(model, preprocess, settings, schedule, tx, steps, epoch, *numbers)


def fit_to_data(config: ConfigDict, source: Source) -> list[str]:
    """Sets, in place, what a recipe leaves to the data.

    Returns:
        What a user should be told, a sentence each.
    """
    if config.data.dir:  # the run may be read from elsewhere
        config.data.dir = str(Path(config.data.dir).expanduser().absolute())
    if not config.model.num_classes:
        config.model.num_classes = len(source.table)
    if source.name != "folder":
        return []
    seen = tuple(round(n * config.preprocess.input_scale) for n in source.hw)
    largest = padded_hw(seen, size_multiple(models.create(config.model.name)))
    crop = tuple(config.augment.crop_hw)
    if len(crop) != 2 or all(n <= most for n, most in zip(crop, largest)):
        return []
    fitted = tuple(min(n, most) for n, most in zip(crop, largest))
    config.augment.crop_hw = fitted
    return [
        f"Crops are {fitted[1]}x{fitted[0]} instead of {crop[1]}x{crop[0]} pixels: the "
        f"network sees pictures of {seen[1]}x{seen[0]}."
    ]


def _moved(schedule: optax.Schedule, offset: int) -> optax.Schedule:
    return lambda step: schedule(step + offset)


def _check_shapes(
    model: nn.Module, loss: CrossEntropy, crop_hw: tuple[int, int]
) -> None:
    """Raises `ValueError` where network, crop and loss do not fit each other."""

    def forward(image, label):
        variables = model.init(jax.random.key(0), image, train=False)
        logits: Any = model.apply(variables, image, train=False)
        return loss(logits, label)[0]

    shape = (1, *crop_hw)
    image = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    jax.eval_shape(forward, image, jax.ShapeDtypeStruct(shape, np.int32))
