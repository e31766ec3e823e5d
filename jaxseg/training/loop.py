"""Training: from a config and a folder to a run."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from rich.console import Console

from jaxseg import devices, models
from jaxseg.data.augment import build_augments
from jaxseg.data.check import check_quickly
from jaxseg.data.loaders import Loader, epoch_order, load_split
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Source, check_split, open_source
from jaxseg.errors import UserError, call_with_section
from jaxseg.evaluation.evaluate import (
    SEEN,
    Evaluator,
    is_seen,
    protocol,
)
from jaxseg.evaluation.scores import Scores
from jaxseg.inference.pictures import grid
from jaxseg.inference.predictor import Predictor
from jaxseg.runs import Checkpoints, Run, describe
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal, Silence
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.optim import build_optimizer, build_schedule
from jaxseg.training.step import (
    TrainState,
    TrainStep,
    init_state,
    make_train_step,
    state_of,
)
from jaxseg.training.transfer import transfer

VALIDATION_SPLIT = "val"
_PICTURES = 4  # rows of the picture grid


@dataclass(frozen=True)
class TrainSettings:
    """The section `config.train`.

    Attributes:
        num_epochs: passes over the training split, whole batches only.
        batch_size: samples a step.
        eval_batch_size: samples a call of the validation; no figure depends on it.
        eval_every_epochs: validation after every so many epochs, and after the last.
        log_every_steps: how often metrics are written.
        keep_checkpoints: how many of the newest to keep beside the best one.
        ema_decay: a moving average of weights and batch statistics is what is scored,
            kept and used; 0 for none. See `make_train_step`.
    """

    num_epochs: int
    batch_size: int
    eval_batch_size: int = 4
    eval_every_epochs: int = 1
    log_every_steps: int = 10
    keep_checkpoints: int = 2
    ema_decay: float = 0.0


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
    """

    model: nn.Module
    preprocess: Preprocess
    settings: TrainSettings
    schedule: optax.Schedule
    tx: optax.GradientTransformation
    train_steps: tuple[TrainStep, ...]
    seed: int
    total_steps: int


def build(config: ConfigDict, samples: int, num_classes: int) -> Recipe:
    """Builds what `config` describes for a training split of `samples` samples.

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
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error
    if settings.batch_size % jax.device_count():
        raise UserError(
            f"config.train.batch_size is {settings.batch_size}; it must be a multiple "
            f"of {jax.device_count()}, the number of devices."
        )
    return Recipe(
        model, preprocess, settings, schedule, tx, steps, config.seed, total_steps
    )


def _check_shapes(
    model: nn.Module, loss: CrossEntropy, crop_hw: tuple[int, int]
) -> None:
    """Raises `ValueError` where network, crop and loss do not fit each other."""

    def forward(image, label):
        variables = model.init(jax.random.key(0), image, train=False)
        return loss(model.apply(variables, image, train=False), label)[0]

    shape = (1, *crop_hw)
    image = jax.ShapeDtypeStruct((*shape, 3), np.float32)
    jax.eval_shape(forward, image, jax.ShapeDtypeStruct(shape, np.int32))


def train(
    config: ConfigDict,
    workdir: str | Path,
    console: Console | None = None,
    init_from: str | None = None,
    init_partial: bool = False,
) -> tuple[Run, bool]:
    """Trains what `config` describes in `workdir`, or goes on where it stopped.

    Killed at any moment and started again, it ends with the same weights, bit for bit
    (on the same machine and versions), as if it had not been killed. SIGTERM makes it
    save and return. Where `jax.distributed` was initialised, all processes call this
    with the same arguments and a `workdir` that they share.

    Args:
        init_from, init_partial: what a new run's weights come from; see `transfer`.

    Returns:
        The run, and whether training came to its end.

    Raises:
        UserError: for anything that the user can mend; see its text.
    """
    console = console or Console(highlight=False)
    console.quiet = console.quiet or not devices.is_main()
    data = call_with_section(open_data, "data", config.data)
    check_quickly(data.source, (data.train_split, VALIDATION_SPLIT))
    samples = len(data.source.ids(data.train_split))
    if not config.model.num_classes:  # a folder of the user's own
        config.model.num_classes = len(data.source.table)
    recipe = build(config, samples, len(data.source.table))
    table, sections = data.source.table, config.to_dict()
    record = describe(config.model, table, recipe.preprocess, sections, init_from)
    run = _start(workdir, record)
    _note_changes(run, record, console)
    for remark in data.source.remarks(data.train_split):
        console.print(remark)
    # Both are read before the first step: what is wrong with them shows now.
    console.print(
        f"{len(data.train.ids)} to train on, {len(data.val.ids)} to validate."
    )
    try:
        with (
            run.checkpoints(recipe.settings.keep_checkpoints) as checkpoints,
            _StopSignal() as stop,
        ):
            decay = recipe.settings.ema_decay
            state = init_state(recipe.model, recipe.tx, recipe.seed, (64, 64), decay)
            if init_from and checkpoints.latest() is None:
                name = config.model.name
                loaded = transfer(name, state.trained, init_from, init_partial, console)
                state = state_of(loaded, recipe.tx, decay)
            state = _resumed(devices.replicate(state), checkpoints, console)
            writes = devices.is_main()
            with (
                Journal(run.folder, int(state.step)) if writes else Silence() as journal
            ):
                trainer = _Trainer(recipe, data, run, checkpoints, journal, console)
                return run, trainer.fit(state, stop)
    except OSError as error:
        raise UserError(
            f"{error.filename or run.folder}: {error.strerror or error}. Mend that "
            f"(free some space?) and run the same command again: it goes on from the "
            "newest checkpoint."
        ) from error


def _start(workdir: str | Path, record: dict[str, Any]) -> Run:
    """The run's folder; one process makes it before the others look."""
    if devices.is_main():
        Run.start(workdir, record)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("jaxseg run folder")
    return Run.start(workdir, record)


def _note_changes(run: Run, record: dict[str, Any], console: Console) -> None:
    """Says which values of the recipe are not those that the run was started with."""
    was, now = (flatten_dict(r["config"], sep=".") for r in (run.record, record))
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    for key in changed:
        console.print(f"config.{key} was {was.get(key)!r}, is now {now.get(key)!r}.")
    if changed:
        run.record["config"] = record["config"]
        run.save_record()


def _resumed(state: TrainState, checkpoints: Checkpoints, console: Console):
    latest = checkpoints.latest()
    if latest is None:
        return state
    like = jax.tree.map(
        lambda x: x.update(sharding=devices.replicated()),
        jax.eval_shape(_items, state),
    )
    items = checkpoints.restore(latest, like)
    console.print(f"Going on from step {latest}.")
    optimizer, variables = items["optimizer"], items["variables"]
    if "trained" in optimizer:
        trained = optimizer.pop("trained")
        return TrainState(**optimizer, **trained, average=variables)
    return TrainState(**optimizer, **variables)


def _items(state: TrainState) -> dict[str, Any]:
    """A checkpoint's two items: what the network needs, and what training needs too."""
    optimizer = {"step": state.step, "opt_state": state.opt_state}
    if state.average is not None:
        optimizer["trained"] = state.trained
    return {"variables": state.variables, "optimizer": optimizer}


class _StopSignal:
    """Turns SIGTERM into a request that the loop reads between steps.

    Of several processes one may hear it; JAX has them agree on the step to stop after,
    and listens itself.
    """

    def __enter__(self) -> "_StopSignal":
        self.requested, self._before = False, None
        if jax.process_count() == 1:
            self._before = signal.signal(signal.SIGTERM, self._request)
        return self

    def _request(self, *_: Any) -> None:
        self.requested = True

    def is_due(self, step: int) -> bool:
        """Whether training stops after `step`."""
        if jax.process_count() > 1 and not self.requested:
            self.requested = multihost_utils.reached_preemption_sync_point(step)
        return self.requested

    def __exit__(self, *exception: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


class _Trainer:
    """The loop's parts, which share what does not change during training."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        run: Run,
        checkpoints: Checkpoints,
        journal: Journal,
        console: Console,
    ) -> None:
        self.recipe, self.data, self.run = recipe, data, run
        self.checkpoints, self.journal, self.console = checkpoints, journal, console
        self.evaluate = Evaluator(
            recipe.model,
            recipe.preprocess,
            data.source.table,
            recipe.settings.eval_batch_size,
        )
        self.steps_per_epoch = recipe.total_steps // recipe.settings.num_epochs

    def fit(self, state: TrainState, stop: _StopSignal) -> bool:
        """Trains to the last epoch; False if `stop` was requested before."""
        recipe, settings = self.recipe, self.recipe.settings
        samples = len(self.data.train.ids)
        step = int(state.step)
        with Bar(self.console, recipe.total_steps, step) as bar:
            if step and self._is_due(step) and not self.checkpoints.is_scored(step):
                # Stopped between an epoch's last step and its validation.
                miou = self._validate(state, step, bar)
                self.checkpoints.delete(step)
                self._save(state, step, miou)
            while step < recipe.total_steps:
                epoch, position = divmod(step, self.steps_per_epoch)
                order = epoch_order(recipe.seed, epoch, samples, settings.batch_size)
                state = self._epoch(state, step, order[position:], stop, bar)
                step = int(state.step)
                miou = None
                if self._is_due(step) and not stop.requested:
                    miou = self._validate(state, step, bar)
                self._save(state, step, miou)
                if stop.requested:
                    self.checkpoints.wait()
                    self.console.print(
                        f"Stopped by SIGTERM; step {step} of {recipe.total_steps} is "
                        "saved. The same command goes on from there."
                    )
                    return False
        self.checkpoints.wait()
        return True

    def _is_due(self, step: int) -> bool:
        """Whether a validation belongs after `step`."""
        epoch, position = divmod(step, self.steps_per_epoch)
        due = position == 0 and epoch % self.recipe.settings.eval_every_epochs == 0
        return due or step == self.recipe.total_steps

    def _epoch(
        self,
        state: TrainState,
        step: int,
        order: np.ndarray,
        stop: _StopSignal,
        bar: Bar,
    ) -> TrainState:
        """Takes one step a row of `order`; stops early on request."""
        batches = self.data.train.batches(order)
        pending: list[tuple[int, np.ndarray, dict[str, jax.Array]]] = []
        started, waited = time.perf_counter(), 0.0
        for position, row in enumerate(order, 1):
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            train_step = self.recipe.train_steps[step % len(self.recipe.train_steps)]
            state, metrics = train_step(state, batch)
            pending.append((step, row, metrics))
            step += 1
            if len(pending) > 1:  # the host stays one step ahead, no more
                jax.block_until_ready(pending[-2])
            last = position == len(order) or stop.is_due(step)
            if step % self.recipe.settings.log_every_steps == 0 or last:
                self._log(pending, started, waited, bar)
                pending, started, waited = [], time.perf_counter(), 0.0
            bar.advance(step)
            if stop.requested:
                break
        return state

    def _log(self, pending: list, started: float, waited: float, bar: Bar) -> None:
        """Fetches the metrics of the steps since the last time, checks and writes."""
        fetched = jax.device_get([metrics for _, _, metrics in pending])
        elapsed = time.perf_counter() - started
        for (step, row, _), metrics in zip(pending, fetched):
            if not np.isfinite(metrics["loss"]):
                self._report_divergence(step, row, float(metrics["loss"]))
        step = pending[-1][0]
        values = {
            **{k: float(np.mean([m[k] for m in fetched])) for k in fetched[0]},
            "learning_rate": float(self.recipe.schedule(step)),
            "images_per_s": sum(len(row) for _, row, _ in pending) / elapsed,
            "data_wait": waited / elapsed,
        }
        self.journal.scalars("train", step + 1, values)
        bar.show(values)

    def _report_divergence(self, step: int, row: np.ndarray, loss: float) -> None:
        self.checkpoints.wait()
        names = ", ".join(self.data.train.ids[i] for i in row)
        newest = self.checkpoints.latest()
        kept = "no checkpoint was written yet"
        if newest is not None:
            kept = f"the checkpoint of step {newest} is whole"
        raise UserError(
            f"the loss of step {step + 1} is {loss}; its batch was {names}. Lower "
            "config.schedule.peak_lr, or look at those files; " + kept + "."
        )

    def _save(self, state: TrainState, step: int, miou: float | None) -> None:
        # Copies, because the next step reuses the buffers of `state`.
        self.checkpoints.save(step, jax.tree.map(jax.numpy.copy, _items(state)), miou)

    def _validate(self, state: TrainState, step: int, bar: Bar) -> float:
        source = self.data.source
        scores = self.evaluate(state.variables, self.data.val, bar.validating)
        result = {
            "step": step,
            "protocol": protocol(
                source,
                VALIDATION_SPLIT,
                step,
                self.data.train_split,
                self.recipe.preprocess,
            ),
            **scores.as_dict(),
        }
        self.journal.scalars("val", step, {k: result[k] for k in _CURVES})
        if devices.is_main():
            self.journal.picture(step, self._pictures(state))
        best = self.run.record["scores"].get("best")
        self.run.record["scores"]["last"] = result
        if best is None or (result["miou"] or 0) > (best["miou"] or 0):
            self.run.record["scores"]["best"] = result
        self.run.save_record()
        self._say(step, scores)
        return scores.miou

    def _say(self, step: int, scores: Scores) -> None:
        epoch = step // self.steps_per_epoch
        seen = SEEN if is_seen(VALIDATION_SPLIT, self.data.train_split) else ""
        self.console.print(
            f"epoch {epoch}/{self.recipe.settings.num_epochs}  step {step}  "
            f"val mIoU {100 * scores.miou:.2f} %  "
            f"pixel accuracy {100 * scores.pixel_accuracy:.2f} %{seen}"
        )

    def _pictures(self, state: TrainState) -> np.ndarray:
        """Some validation pictures: image | truth | prediction."""
        source, ids = self.data.source, self.data.val.ids
        # Spread over the split: neighbours in a split are often frames of one video.
        shown = np.linspace(0, len(ids) - 1, min(_PICTURES, len(ids))).astype(int)
        pairs = [source.read(VALIDATION_SPLIT, ids[i]) for i in shown]
        images, labels = map(np.stack, zip(*pairs))
        variables = jax.device_get(state.variables)
        predict = Predictor(self.recipe.model, variables, self.recipe.preprocess)
        return grid(images, labels, np.asarray(predict(images)), source.table)


_CURVES = ("miou", "pixel_accuracy")
