"""What training shows while it runs: a bar in a terminal, lines elsewhere."""

import threading
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from jaxseg.training.recipe import Recipe

_EVERY_S = 30.0


class Bar:
    """Epoch, step, loss, learning rate, images/s, share of waiting, time left.

    Where the console is no terminal (nohup, a scheduler's log) it prints them as a line
    every half minute, whatever training is at.
    """

    def __init__(
        self, console: Console, recipe: Recipe, step: int, every_s: float = _EVERY_S
    ) -> None:
        self._console, self._recipe, self._every_s = console, recipe, every_s
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(
            self._epoch(step), total=recipe.last_step, completed=step, note="compiling"
        )
        self._validation = ""
        self._first, self._began = step, time.monotonic()
        self._ended = threading.Event()

    def __enter__(self) -> "Bar":
        self._progress.start()
        if not self._console.is_terminal:
            # A thread: while XLA compiles, or a validation lasts, nobody else speaks.
            threading.Thread(target=self._speak, daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._ended.set()
        self._progress.stop()

    def _epoch(self, step: int) -> str:
        """That of the last step taken."""
        epoch, _ = self._recipe.place(max(step - 1, 0))
        return f"epoch {epoch + 1}/{self._recipe.settings.num_epochs}"

    def _speak(self) -> None:
        while not self._ended.wait(self._every_s):
            self._console.print(self.line(), soft_wrap=True)

    def line(self) -> str:
        """Where training is, in a line."""
        (task,) = (t for t in self._progress.tasks if t.id == self._task)
        step = int(task.completed)
        parts = [task.description, f"step {step}/{task.total}", task.fields["note"]]
        if self._validation:
            parts.append(self._validation)
        taken = step - self._first
        if taken:
            remaining = task.remaining or 0
            left = (time.monotonic() - self._began) / taken * remaining
            hours, minutes = divmod(round(left / 60), 60)
            parts.append(f"{hours}:{minutes:02d} h left")
        return "  ".join(parts)

    def advance(self, step: int) -> None:
        """Sets the number of steps taken."""
        epoch = self._epoch(step)
        self._progress.update(self._task, completed=step, description=epoch)

    def show(self, values: dict[str, float]) -> None:
        """Shows the metrics of the latest steps."""
        note = (
            f"loss {values['loss']:.3f}  lr {values['learning_rate']:.2e}  "
            f"{values['images_per_s']:.1f} images/s  "
            f"waiting {100 * values['data_wait']:.0f} %"
        )
        self._progress.update(self._task, note=note)

    def validating(self, batches: Iterator, total: int) -> Iterator:
        """Passes `batches` on under a bar of their own."""
        task = self._progress.add_task("validate", total=total, note="")
        for done, batch in enumerate(batches):
            self._validation = f"validating, batch {done + 1}/{total}"
            yield batch
            self._progress.advance(task)
        self._validation = ""
        self._progress.remove_task(task)
