"""Predicting files: pictures, and the frames of a video."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from jaxseg.data.pictures import read_rgb
from jaxseg.errors import Incomplete, UserError
from jaxseg.files import write_whole
from jaxseg.inference.inputs import VIDEOS, Item, find_items, is_video
from jaxseg.inference.overlapped import Busy, overlapped
from jaxseg.inference.results import LEGEND, Wanted, refuse_to_replace, write_legend
from jaxseg.inference.segmenter import Segmenter
from jaxseg.inference.tiles import Tiled
from jaxseg.inference.video import Video, VideoWriter
from jaxseg.models.sizes import SIZE_MULTIPLE

_PLAIN = Wanted()  # labels and overlays
Progress = Callable[[Iterable[Any], int | None], Iterable[Any]]
Found = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # image, labels, confidence


@dataclass
class Done:
    """What was done.

    Attributes:
        pictures: how many were segmented.
        there: how many of the shard had been segmented before.
        runtime: see `Segmenter`.
        rate: pictures a second, from when the first was segmented, which waits for its
            program, to when the last was written; 0 of a single one.
        busy: how long reading, computing and writing took.
    """

    pictures: int = 0
    there: int = 0
    runtime: str = ""
    rate: float = 0.0
    busy: Busy = field(default_factory=Busy)


def predict(
    ckpt: str | os.PathLike,
    sources: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    which: str | int = "best",
    wanted: Wanted = _PLAIN,
    size_step: int = SIZE_MULTIPLE,
    tiles: tuple[int, int] | None = None,
    shard: tuple[int, int] | None = None,
    shares: str | os.PathLike | None = None,
    runtime: str = "xla",
    progress: Progress = lambda items, total: items,
) -> Done:
    """Segments pictures, each at its own size, or a video.

    `output` is a folder, which gets for each picture what `wanted` says, and once
    `legend.png`; files of those names are replaced only where this function wrote
    them, and never segmented. Of a video it may be a video, whose frames are overlays.

    Args:
        ckpt, which, runtime: see `Segmenter`.
        sources: see `find_items`, or one video, `camera:0` or address of a stream.
        size_step: see `Predictor`.
        tiles: height and width of tiles for pictures that are larger; see `Tiled`.
        shard: `(i, n)` takes every n-th picture from the i-th on, counted from 0, and
            leaves out those whose results are there.
        shares: a JSON file for the share of each class in each picture.
        progress: wraps what is done one by one, and how many there are if that is
            known, to show a bar.

    Raises:
        Incomplete: some pictures could not be read, or the video breaks off; the others
            were segmented.
        UserError: no such run or checkpoint, nothing to read, a file of another maker
            where one would be written, or `output` cannot be written.
    """
    folder, done = Path(output).expanduser(), Done()
    video = _video(sources, folder)
    items = [] if video else _items(sources, folder, wanted, shard, done)
    segmenter = Segmenter(ckpt, which, size_step, runtime)
    job = _Job(segmenter, folder, wanted, tiles, done)
    done.busy = Busy()  # from now on
    try:
        if video:
            job.frames(video, progress)
        else:
            job.pictures(items, shard is not None, progress)
        done.rate = job.rate()
        if shares is not None:
            job.write_shares(Path(shares).expanduser())
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{output} cannot be written to ({reason}).") from error
    if job.unreadable:
        raise Incomplete(
            f"{len(job.unreadable)} of {len(items)} pictures could not be read, the "
            f"others are in {folder}. {' '.join(job.unreadable[:5])}"
        )
    done.runtime = segmenter.runtime
    return done


def _video(sources: Sequence[str | os.PathLike], output: Path) -> Video | None:
    names = [str(source) for source in sources]
    videos = [name for name in names if is_video(name)]
    if videos and len(names) > 1:
        raise UserError(f"{videos[0]}: give one video at a time, and nothing else.")
    if output.suffix.lower() in VIDEOS:
        if not videos:
            raise UserError(f"{output} is a video, and --input is not; give a folder.")
        if os.path.lexists(output):
            raise UserError(f"{output} exists; remove it or choose another name.")
    return Video(videos[0]) if videos else None


def _items(
    sources: Sequence[str | os.PathLike],
    folder: Path,
    wanted: Wanted,
    shard: tuple[int, int] | None,
    done: Done,
) -> list[Item]:
    """What is left to do."""
    items = find_items(sources)
    if shard:
        number, count = shard
        items = items[number::count]
    paths = [list(wanted.paths(item.name, folder).values()) for item in items]
    refuse_to_replace([*chain.from_iterable(paths), folder / LEGEND])
    if shard:
        whole = [all(path.exists() for path in results) for results in paths]
        done.there = sum(whole)
        items = [item for item, there in zip(items, whole) if not there]
    return items


class _Job:
    """One call of `predict`."""

    def __init__(
        self,
        segmenter: Segmenter,
        folder: Path,
        wanted: Wanted,
        tiles: tuple[int, int] | None,
        done: Done,
    ) -> None:
        self._table, self._folder, self._wanted = segmenter.table, folder, wanted
        find: Callable[[np.ndarray], Any] = segmenter
        if wanted.needs_confidence:
            find = segmenter.labels_and_confidence
        self._find: Callable[[np.ndarray], Any] = Tiled(find, tiles) if tiles else find
        self._done = done
        self._shares: dict[str, dict[str, float]] = {}
        self._present = np.zeros(256, bool)
        self._noting = threading.Lock()
        self.unreadable: list[str] = []
        self._begin: float | None = None  # when the first was segmented

    def rate(self) -> float:
        """Pictures a second, of those behind the first."""
        if self._begin is None:
            return 0.0
        return (self._done.pictures - 1) / (time.perf_counter() - self._begin)

    def _compute(self, image: np.ndarray | UserError) -> Found | None:
        if isinstance(image, UserError):
            self.unreadable.append(str(image))
            return None
        found = self._find(image)
        self._begin = self._begin or time.perf_counter()
        label, confidence = found if self._wanted.needs_confidence else (found, None)
        return image, label, confidence

    def _note(self, name: str, label: np.ndarray) -> None:
        counts = np.bincount(label.ravel(), minlength=256)
        shares = {
            of_class: round(counts[i] / label.size, 6)
            for i, of_class in enumerate(self._table.names)
            if counts[i]
        }
        with self._noting:  # two threads write
            self._present |= counts > 0
            self._shares[name] = shares
            self._done.pictures += 1

    def _write(self, item: Item, found: Found | None) -> None:
        if found is None:
            return
        paths = self._wanted.paths(item.name, self._folder)
        self._wanted.write(paths, *found, self._table)
        self._note(str(item.path), found[1])

    def pictures(
        self, items: Sequence[Item], sharded: bool, progress: Progress
    ) -> None:
        def read(item: Item) -> np.ndarray | UserError:
            try:
                return read_rgb(item.path, item.path)
            except UserError as error:
                return error

        self._folder.mkdir(parents=True, exist_ok=True)
        each = overlapped(items, read, self._compute, self._write, self._done.busy)
        for _ in progress(each, len(items)):
            pass
        if sharded:  # of which none knows what is in the others
            self._present[: len(self._table)] = True
        if self._done.pictures:
            self._write_legend()

    def frames(self, video: Video, progress: Progress) -> None:
        """Of a video, in their order."""
        name = PurePath(video.name)
        into_video = self._folder.suffix.lower() in VIDEOS
        target = self._folder if into_video else None
        if not into_video:
            refuse_to_replace([*(self._folder / name).glob("*"), self._folder / LEGEND])
        (target.parent if target else self._folder).mkdir(parents=True, exist_ok=True)
        writer = VideoWriter(target, video.rate) if target else None
        broken: list[Incomplete] = []  # which ends the frames, not what is under way

        def write(number: int, found: Found) -> None:
            if writer:
                writer.write(self._wanted.looked_at(*found, self._table))
            else:
                paths = self._wanted.paths(name / f"{number:06d}", self._folder)
                self._wanted.write(paths, *found, self._table)
            self._note(f"{name}/{number:06d}", found[1])

        def numbered() -> Iterator[tuple[int, np.ndarray]]:
            try:
                yield from enumerate(video)
            except Incomplete as error:
                broken.append(error)

        keep = False
        try:
            each = overlapped(
                numbered(),
                lambda numbered: numbered[1],
                self._compute,
                lambda numbered, found: write(numbered[0], found),
                self._done.busy,
                in_order=True,
            )
            for _ in progress(each, video.frames):
                pass
            keep = True
        except KeyboardInterrupt:
            keep = video.endless  # Ctrl-C is how a camera ends
            raise
        finally:
            if writer:
                writer.close(keep)
        if self._done.pictures and not into_video:
            self._write_legend()
        if broken:
            raise broken[0]

    def _write_legend(self) -> None:
        present = np.flatnonzero(self._present)
        write_legend(self._folder, self._table, present[present < len(self._table)])

    def write_shares(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(self._shares, indent=1) + "\n")
