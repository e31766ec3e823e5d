"""The loop: steps, what is logged of them, validations, checkpoints."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import jax
import numpy as np
from rich.console import Console

from jaxseg import devices
from jaxseg.data.loaders import Batch, ResidentLoader, epoch_order
from jaxseg.errors import UserError
from jaxseg.runs import Checkpoints
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal
from jaxseg.training.recipe import Data, Recipe
from jaxseg.training.resume import items_of
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
        journal: Journal,
        console: Console,
    ) -> None:
        self.recipe, self.data, self.validate = recipe, data, validate
        self.checkpoints, self.journal, self.console = checkpoints, journal, console

    def fit(self, state: TrainState, stop: StopSignal) -> bool:
        """Trains to the last epoch; False if `stop` was requested before."""
        recipe, settings = self.recipe, self.recipe.settings
        samples = len(self.data.train.ids)
        step = int(state.step)
        with Bar(self.console, recipe.total_steps, step) as bar:
            if step and self._is_due(step) and not self.checkpoints.is_scored(step):
                # Stopped between an epoch's last step and its validation.
                miou = self.validate(state, step, bar)
                self.checkpoints.delete(step)
                self._save(state, step, miou)
            while step < recipe.total_steps:
                epoch, position = divmod(step, self.recipe.steps_per_epoch)
                order = epoch_order(recipe.seed, epoch, samples, settings.batch_size)
                state = self._epoch(state, step, order, position, stop, bar)
                step = int(state.step)
                miou = None
                if self._is_due(step) and not stop.requested:
                    miou = self.validate(state, step, bar)
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
        every = self.recipe.settings.eval_every_epochs
        epoch, position = divmod(step, self.recipe.steps_per_epoch)
        if not every:
            return False
        return (position, epoch % every) == (0, 0) or step == self.recipe.total_steps

    def _epoch(
        self,
        state: TrainState,
        step: int,
        order: np.ndarray,
        position: int,
        stop: StopSignal,
        bar: Bar,
    ) -> TrainState:
        """Takes a step for each row of `order` from `position` on, unless stopped."""
        settings = self.recipe.settings
        calls = self._calls(order, position)
        pending: list[tuple] = []
        started, waited = time.perf_counter(), 0.0
        while position < len(order):
            before = time.perf_counter()
            call = next(calls)
            waited += time.perf_counter() - before
            state, metrics, place = call(state, step)
            rows = order[position : position + settings.steps_per_call]
            pending.append((step, rows, metrics, place))
            position, step = position + len(rows), step + len(rows)
            if len(pending) > 1:  # the host stays one call ahead, no more
                jax.block_until_ready(pending[-2])
            last = position == len(order) or stop.is_due(step)
            if step % settings.log_every_steps < len(rows) or last:
                self._log(pending, started, waited, bar)
                pending, started, waited = [], time.perf_counter(), 0.0
            bar.advance(step)
            if stop.requested:
                break
        return state

    def _calls(self, order: np.ndarray, position: int) -> Iterator[TrainCall]:
        """What takes the steps of the rows from `position` on, in their order."""
        per_call, loader = self.recipe.settings.steps_per_call, self.data.train
        if per_call == 1:
            for batch in loader.batches(order[position:]):
                yield partial(self._one_step, batch)
            return
        if not isinstance(loader, ResidentLoader):
            raise UserError(
                f"config.train.steps_per_call is {per_call}, which needs the training "
                "split on the device: set config.data.loader=resident, or 1."
            )
        placed = devices.place(order.astype(np.int32), devices.replicated())
        for start in range(position, len(order), per_call):
            stop = min(start + per_call, len(order))
            yield partial(self._steps, loader.arrays, placed, start, stop)

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

    def _save(self, state: TrainState, step: int, miou: float | None) -> None:
        # Copies, because the next step reuses the buffers of `state`.
        self.checkpoints.save(step, jax.tree.map(jax.numpy.copy, items_of(state)), miou)
