"""The live line under which training runs."""

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


class Bar:
    """Progress, loss, learning rate, images/s, data wait and time left.

    On something that is no terminal it shows nothing; the lines that training prints
    after each validation remain.
    """

    def __init__(self, console: Console, total_steps: int, step: int) -> None:
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
            "train", total=total_steps, completed=step, note="compiling"
        )

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._progress.stop()

    def advance(self, step: int) -> None:
        """Sets the number of steps taken."""
        self._progress.update(self._task, completed=step)

    def show(self, values: dict[str, float]) -> None:
        """Shows the metrics of the latest steps."""
        note = (
            f"loss {values['loss']:.3f}  lr {values['learning_rate']:.2e}  "
            f"{values['images_per_s']:.1f} img/s  "
            f"data {100 * values['data_wait']:.0f} %"
        )
        self._progress.update(self._task, note=note)

    def validating(self, batches: Iterator, total: int) -> Iterator:
        """Passes `batches` on under a bar of their own."""
        task = self._progress.add_task("validate", total=total, note="")
        for batch in batches:
            yield batch
            self._progress.advance(task)
        self._progress.remove_task(task)
