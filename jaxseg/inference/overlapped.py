"""Reading, computing and writing at the same time."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

_END = object()
_AHEAD = 4  # pictures that are read before they are needed, and that wait to be written


class Busy:
    """How long each stage worked."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock, self._begin = threading.Lock(), time.perf_counter()

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                took = time.perf_counter() - begin
                self.seconds[stage] = self.seconds.get(stage, 0.0) + took

    def shares(self) -> str:
        """Of the time since the beginning; they overlap, and may sum to more than 1."""
        whole = time.perf_counter() - self._begin
        parts = [f"{stage} {s / whole:.0%}" for stage, s in self.seconds.items()]
        return ", ".join(parts)


def overlapped(
    items: Iterable[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any], Any],
    write: Callable[[Any, Any], None],
    busy: Busy,
    in_order: bool = False,
) -> Iterator[Any]:
    """Yields each item when it was computed; all are written when this ends.

    Drawing items and `read` are done in threads of their own, and `write`, of an item
    and what was computed, in others: two each, or one each with `in_order`. An error of
    any of them is raised here; what had been computed before it is written.
    """
    remaining, drawing = iter(items), threading.Lock()

    def read_next() -> Any:
        with busy.at("reading"):
            with drawing:
                item = next(remaining, _END)
            return _END if item is _END else (item, read(item))

    def write_one(item: Any, found: Any) -> None:
        with busy.at("writing"):
            write(item, found)

    threads = 1 if in_order else 2
    writing: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as readers, ThreadPoolExecutor(threads) as writers:
        reading = deque(readers.submit(read_next) for _ in range(_AHEAD))
        try:
            while reading:
                taken = reading.popleft().result()
                if taken is _END:
                    continue
                reading.append(readers.submit(read_next))
                item, content = taken
                with busy.at("computing"):
                    found = compute(content)
                writing.append(writers.submit(write_one, item, found))
                while len(writing) > _AHEAD or (writing and writing[0].done()):
                    writing.popleft().result()
                yield item
            while writing:
                writing.popleft().result()
        finally:
            readers.shutdown(cancel_futures=True)
