"""The loop: steps, what is logged of them, validations, checkpoints."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from jaxseg import devices
from jaxseg.checkpoints import Checkpoints
from jaxseg.data.loaders import Batch, ResidentLoader, epoch_order
from jaxseg.errors import UserError
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal, Silence
from jaxseg.training.recipe import Data, Recipe
from jaxseg.training.resume import items_of, note
from jaxseg.training.step import TrainState
from jaxseg.training.stopping import StopSignal
from jaxseg.training.validation import Validation

# The state after some steps, their metrics, and where in those columns they are.
Taken = tuple[TrainState, dict[str, jax.Array], slice]
TrainCall = Callable[[TrainState, int], Taken]


class Trainer:
    """The loop's parts, which share what does not change during training."""

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        validate: Validation,
        checkpoints: Checkpoints,
        journal: Journal | Silence,
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
                late = self.validate(state, step, bar)
                self.checkpoints.delete(step)
                self._save(state, step, late)
            while step < recipe.last_step and not self.validate.stalled(step):
                epoch, position = recipe.place(step)
                batch_size = recipe.settings.batch_size
                order = epoch_order(recipe.seed, epoch, samples, batch_size)
                end = min(len(order), position + recipe.last_step - step)
                rows = range(position, end)
                state = self._epoch(state, step, order, rows, stop, bar)
                step = int(state.step)
                miou = None
                if recipe.is_due(step) and not stop.requested:
                    miou = self.validate(state, step, bar)
                ends = stop.requested or step == recipe.last_step
                if ends or miou is not None or self._is_time_to_save():
                    self._save(state, step, miou)
                if stop.requested:
                    self.checkpoints.wait()
                    self.console.print(
                        f"Stopped by {stop.name}; step {step} of {recipe.last_step} is "
                        "saved. The same command goes on from there."
                    )
                    return False
        self.checkpoints.wait()
        early = ""
        if step < recipe.last_step:
            early = (
                f" It ended at step {step} of {recipe.last_step}: of the last "
                f"{recipe.settings.patience} validations none was better than the best "
                "before."
            )
        self.console.print(f"Trained.{early}")
        return True

    def _epoch(
        self,
        state: TrainState,
        step: int,
        order: np.ndarray,
        rows: range,
        stop: StopSignal,
        bar: Bar,
    ) -> TrainState:
        """Takes a step for each of the `rows` of `order`, unless stopped."""
        every = self.recipe.settings.log_every_steps
        pending: list[tuple] = []
        started = before = time.perf_counter()
        waited = 0.0
        for taken, call in self._calls(order, rows):
            waited += time.perf_counter() - before
            state, metrics, place = call(state, step)
            pending.append((step, order[taken.start : taken.stop], metrics, place))
            step += len(taken)
            if len(pending) > 1:  # the host stays one call ahead, no more
                jax.block_until_ready(pending[-2])
            last = taken.stop == rows.stop or stop.is_due(step)
            if step % every < len(taken) or last:
                self._log(pending, started, waited, bar)
                # Here, where no metrics are pending: a run that goes on from this
                # checkpoint writes the lines that this one would have written.
                if not last and self._is_time_to_save():
                    self._save(state, step, None)
                pending, started, waited = [], time.perf_counter(), 0.0
            bar.advance(step)
            if stop.requested:
                break
            before = time.perf_counter()
        return state

    def _calls(
        self, order: np.ndarray, rows: range
    ) -> Iterator[tuple[range, TrainCall]]:
        """What takes the steps of the `rows` of an epoch's `order`, and which it takes.

        Calls end where those of the whole epoch would.
        """
        per_call, loader = self.recipe.settings.steps_per_call, self.data.train
        if per_call == 1:
            batches = loader.batches(order[rows.start : rows.stop])
            for row, batch in zip(rows, batches):
                yield range(row, row + 1), partial(self._one_step, batch)
            return
        if not isinstance(loader, ResidentLoader):
            raise UserError(
                f"config.train.steps_per_call is {per_call}, which needs the training "
                "split on the device: set config.data.loader=resident, or 1."
            )
        placed = devices.place(order.astype(np.int32), devices.replicated())
        start = rows.start
        while start < rows.stop:
            stop = min(start - start % per_call + per_call, rows.stop)
            call = partial(self._steps, loader.arrays, placed, start, stop)
            yield range(start, stop), call
            start = stop

    def _one_step(self, batch: Batch, state: TrainState, step: int) -> Taken:
        steps = self.recipe.train_steps
        return *steps[step % len(steps)](state, batch), slice(None)

    def _steps(self, split, order, start, stop, state: TrainState, step: int) -> Taken:
        taken = self.recipe.train_epoch(state, split, order, start, stop)
        return *taken, slice(start, stop)

    def _log(self, pending: list, started: float, waited: float, bar: Bar) -> None:
        """Fetches the metrics of the steps since the last time, checks and writes."""
        fetched = jax.device_get([metrics for _, _, metrics, _ in pending])
        elapsed = time.perf_counter() - started
        places = [place for *_, place in pending]
        columns = {
            name: np.concatenate(
                [np.atleast_1d(m[name])[place] for m, place in zip(fetched, places)]
            )
            for name in fetched[0]
        }
        first, rows = pending[0][0], np.concatenate([rows for _, rows, *_ in pending])
        for step, (row, loss) in enumerate(zip(rows, columns["loss"]), first):
            if not np.isfinite(loss):
                self._report_divergence(step, row, float(loss))
        step = first + len(rows) - 1
        values = {
            **{k: float(np.mean(column)) for k, column in columns.items()},
            "learning_rate": float(self.recipe.schedule(step)),
            "images_per_s": rows.size / elapsed,
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
