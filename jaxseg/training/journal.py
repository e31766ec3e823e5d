"""What a run writes while it trains: `metrics.jsonl`, TensorBoard events, a grid."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxseg.files import write_whole


class Journal:
    """Appends to a run folder's records; after a restart it goes on from `step`.

    Lines and events of steps that will be taken again are dropped, so that a run that
    was killed leaves the same record as one that was not. Everything is written when it
    is given: a full disk shows as `OSError` there and then.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        path = folder / "metrics.jsonl"
        kept = [line for line in _whole_lines(path) if _step_of(line) <= step]
        write_whole(path, "".join(kept))
        self._lines = path.open("a")
        # Not tensorboardX's SummaryWriter: its thread dies of a full disk, and the
        # next events wait for it for ever.
        (folder / "tensorboard").mkdir(exist_ok=True)
        self._events = EventsWriter(str(folder / "tensorboard" / "events"))
        # Tells TensorBoard to forget what it has from here on.
        self._event(step + 1, session_log=SessionLog(status=SessionLog.START))

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._lines.close()
        self._events.close()

    def scalars(self, kind: str, step: int, values: dict[str, float]) -> None:
        """One line `{"kind", "step", ...}` and one event a value."""
        self._lines.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self._event(step, summary=summary.scalar(f"{kind}/{name}", value))
        self._events.flush()

    def picture(self, step: int, grid: np.ndarray) -> None:
        """Keeps `(h, w, 3)` as an event and as `samples.png`."""
        image = summary.image("val/samples", grid, dataformats="HWC")
        self._event(step, summary=image)
        self._events.flush()
        Image.fromarray(grid).save(self._folder / "samples.png")

    def _event(self, step: int, **what: Any) -> None:
        self._events.write_event(Event(wall_time=time.time(), step=step, **what))


class Silence:
    """A journal of a process that is not the one that writes."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def scalars(self, kind: str, step: int, values: dict[str, float]) -> None:
        pass

    def picture(self, step: int, grid: np.ndarray) -> None:
        pass


def _whole_lines(path: Path) -> list[str]:
    """Lines that end in a newline: a killed process may leave half a last one."""
    if not path.is_file():
        return []
    lines = path.read_text(errors="replace").splitlines(True)
    return [line for line in lines if line.endswith("\n")]


def _step_of(line: str) -> float:
    """The step of a line; infinite for one that a power cut left as zero bytes."""
    try:
        return json.loads(line.lstrip("\0"))["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf
