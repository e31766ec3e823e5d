"""The loop: steps, what is logged of them, validations, checkpoints."""

import time

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg.checkpoints import Checkpoints
from jaxseg.data.loaders import epoch_order
from jaxseg.errors import UserError
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal
from jaxseg.training.recipe import Data, Recipe
from jaxseg.training.resume import items_of, note
from jaxseg.training.step import TrainState
from jaxseg.training.stopping import StopSignal
from jaxseg.training.validation import Validation


class Trainer:
    """The loop's parts, which share what does not change during training."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        validate: Validation,
        checkpoints: Checkpoints,
        journal: Journal,
        console: Console,
    ) -> None:
        self.recipe, self.data, self.validate = recipe, data, validate
        self.checkpoints, self.journal, self.console = checkpoints, journal, console
        self._saved = time.monotonic()

    def fit(self, state: TrainState, stop: StopSignal) -> bool:
        """Trains to the last step; False if `stop` was requested before."""
        recipe, samples = self.recipe, len(self.data.train.ids)
        step = int(state.step)
        with Bar(self.console, recipe, step) as bar:
            if step and recipe.is_due(step) and not self.checkpoints.is_scored(step):
                # Stopped between an epoch's last step and its validation.
                miou = self.validate(state, step, bar)
                self.checkpoints.delete(step)
                self._save(state, step, miou)
            while step < recipe.last_step:
                epoch, position = recipe.place(step)
                batch_size = recipe.settings.batch_size
                order = epoch_order(recipe.seed, epoch, samples, batch_size)
                order = order[position:][: recipe.last_step - step]
                state = self._epoch(state, step, order, stop, bar)
                step = int(state.step)
                miou = None
                if recipe.is_due(step) and not stop.requested:
                    miou = self.validate(state, step, bar)
                if miou is not None or stop.requested or self._is_time_to_save():
                    self._save(state, step, miou)
                if stop.requested:
                    self.checkpoints.wait()
                    self.console.print(
                        f"Stopped by {stop.name}; step {step} of {recipe.last_step} is "
                        "saved. The same command goes on from there."
                    )
                    return False
        self.checkpoints.wait()
        self.console.print("Trained.")
        return True

    def _epoch(
        self,
        state: TrainState,
        step: int,
        order: np.ndarray,
        stop: StopSignal,
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
                # Here, where no metrics are pending: a run that goes on from this
                # checkpoint writes the lines that this one would have written.
                if not last and self._is_time_to_save():
                    self._save(state, step, None)
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

    def _is_time_to_save(self) -> bool:
        minutes = (time.monotonic() - self._saved) / 60
        due = minutes >= self.recipe.settings.checkpoint_every_minutes
        if jax.process_count() == 1:
            return due
        return bool(multihost_utils.broadcast_one_to_all(np.asarray(due)))

    def _save(self, state: TrainState, step: int, miou: float | None) -> None:
        # Copies, because the next step reuses the buffers of `state`.
        items = jax.tree.map(jax.numpy.copy, items_of(state))
        self.checkpoints.save(step, items, miou, note(self.recipe))
        self._saved = time.monotonic()
