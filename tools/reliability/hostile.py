"""Files that are damaged at random, or were made to do harm: python -m
tools.reliability.hostile FOLDER COUNT prints how each kind ended, as JSON.

It is a process of its own, so that its memory can be measured and all that Python does
with files, processes and the network can be watched.
"""

import json
import os
import resource
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.benchmark.worker import resident_bytes
from jaxseg.convert.files import read_darknet, read_state_dict
from jaxseg.data.check import check, check_quickly
from jaxseg.data.loaders import resident_arrays
from jaxseg.data.pictures import read_colours, read_indices, read_rgb
from jaxseg.data.sources import Cityscapes, Folder
from jaxseg.errors import UserError
from jaxseg.inference.inputs import find_items
from jaxseg.runs import Run
from tools.reliability import samples, toy
from tools.reliability.table import Row

MEMORY_LIMIT = 2 << 30
_EVENTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
_EVENTS += ("socket.connect", "socket.bind", "os.remove", "os.rename", "shutil.rmtree")


class Watch:
    """Lists what Python does beside reading, and writing below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.seen: list[str] = []
        self._folder = str(folder)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not self._is_inside(path):
                self.seen.append(f"opened {path!r} for writing")
        elif event in _EVENTS and not self._is_inside(arguments[0]):
            self.seen.append(f"{event} {arguments!r}"[:200])

    def _is_inside(self, path: Any) -> bool:
        if isinstance(path, int):  # an open file
            return True
        try:
            text = os.fsdecode(path)
        except TypeError:
            return False
        here = os.path.realpath(text).startswith(self._folder)
        return here or text.startswith(("/dev/", "/proc/"))


def damaged(
    content: bytes, rng: np.random.Generator, tokens: Sequence[bytes] = ()
) -> bytes:
    """Cut off, with bits flipped, with bytes left out or with others in their place."""
    at, end = sorted(rng.integers(0, len(content), 2))
    kind = rng.integers(4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        return bytes(flipped)
    token = tokens[rng.integers(len(tokens))] if len(tokens) and kind == 2 else b""
    return content[:at] + token + content[min(end, at + 12) :]


def attempt(row: Row, path: Path, read: Callable[[], bool], which: str) -> None:
    """Counts how `read` ended: it says whether what it read is right."""
    try:
        row.add("no effect" if read() else "unnoticed", which)
    except UserError as error:
        named = path.name in str(error) or str(path.parent) in str(error)
        row.add("detected" if named else "crashed", f"{which}: not named: {error}")
    except BaseException as error:
        row.add("crashed", f"{which}: {error!r}"[:300])


def pictures(folder: Path, count: int) -> list[Row]:
    """Pictures and label images of many kinds, by each of the readers."""
    rows = []
    for name, content in samples.pictures().items():
        row, rng = Row(f"picture: {name}"), np.random.default_rng(len(rows))
        path = folder / f"x.{name.split()[0]}"
        for number in range(count):
            path.write_bytes(damaged(content, rng))
            for read in (read_rgb, read_indices, read_colours):
                whole = partial(_has_pixels, read, path)
                attempt(row, path, whole, f"{read.__name__} {number}")
        rows.append(row)
    return rows


def _has_pixels(read: Callable[..., np.ndarray], path: Path) -> bool:
    return read(path, path).size > 0


def descriptions(folder: Path, count: int) -> list[Row]:
    """What explains a folder of pictures: YAML, CSV, COCO's JSON, a table of colours;
    through the check, and through what training starts with."""
    rows = []
    for name, content in samples.DESCRIPTIONS.items():
        row, rng = Row(f"description: {name}"), np.random.default_rng(len(rows))
        root = samples.write_set(folder / f"set-{len(rows)}", name)

        def read(root: Path = root) -> bool:
            source = Folder(root)
            check_quickly(source, ("train", "val"))
            for report in check(source, source.splits):
                if report.errors:
                    raise UserError(report.errors[0])
            return True

        read()  # undamaged
        for number in range(count):
            changed = damaged(content.encode(), rng, samples.TOKENS)
            (root / name).write_bytes(changed)
            attempt(row, root / name, read, str(number))
        rows.append(row)
    return rows


def prepared(folder: Path, count: int) -> list[Row]:
    """Prepared data: made again where it is damaged, never read as something else."""
    os.environ["JAXSEG_CACHE"] = str(folder / "cache")
    source = Folder(toy.write_pictures(folder / "toy", 2, 1))
    truth = resident_arrays(source, "train")
    (path,) = (folder / "cache" / "data").rglob("train.npz")
    row, rng, content = Row("prepared .npz"), np.random.default_rng(9), b""
    content = path.read_bytes()

    def read() -> bool:
        found = resident_arrays(source, "train")
        return all(np.array_equal(found[key], truth[key]) for key in truth)

    for number in range(count):
        path.write_bytes(damaged(content, rng))
        attempt(row, path, read, str(number))
    return [row]


def weights(folder: Path, count: int) -> list[Row]:
    """Weight files of others, and the record of a run."""
    rows = []
    shapes = [(4, 3, 3, 3), (2, 4, 1, 1)]
    readers: dict[str, Callable[[Path], Any]] = {
        "zip.pth": read_state_dict,
        "legacy.pth": read_state_dict,
        "net.weights": lambda path: read_darknet(path, shapes),
        "run.json": lambda path: Run(path.parent).preprocess,
    }
    for name, content in samples.weights(shapes).items():
        row, rng = Row(f"weights: {name}"), np.random.default_rng(20 + len(rows))
        path = folder / name
        for number in range(count):
            path.write_bytes(damaged(content, rng, samples.TOKENS))

            def read(reader=readers[name], path=path) -> bool:
                return reader(path) is not None

            attempt(row, path, read, str(number))
        rows.append(row)
    return rows


def zips(folder: Path, count: int) -> list[Row]:
    """Cityscapes as it is downloaded."""
    row, rng = Row("Cityscapes' zip files"), np.random.default_rng(40)
    root = samples.write_cityscapes_zips(folder / "zips")
    path = root / "gtFine_trainvaltest.zip"
    content = path.read_bytes()

    def read() -> bool:
        source = Cityscapes(root)
        return source.read("val", source.ids("val")[0])[1].shape == source.hw

    for number in range(count):
        path.write_bytes(damaged(content, rng))
        attempt(row, path, read, str(number))
    return [row]


def crafted(folder: Path, count: int) -> list[Row]:
    """Files that somebody made to do harm; each once, whatever `count` is."""
    row = Row("made to do harm")
    for name, (path, read) in samples.crafted(folder / "crafted").items():
        attempt(row, path, read, name)
    mixed = samples.write_odd_names(folder / "odd")
    attempt(row, mixed, lambda: len(find_items([mixed])) > 0, "odd names")
    return [row]


KINDS = (pictures, descriptions, prepared, weights, zips, crafted)


def main() -> None:
    folder, count = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    warnings.simplefilter("ignore")
    watch, rows = Watch(folder), []
    for kind in KINDS:
        (folder / kind.__name__).mkdir(parents=True)
        rows += kind(folder / kind.__name__, count)
    peak = resident_bytes() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    safe = Row(
        "memory, other files, processes, network", note=f"{peak >> 20} MB at most"
    )
    safe.add("no effect" if peak < MEMORY_LIMIT else "unnoticed", f"{peak >> 20} MB")
    for event in watch.seen[:20] or [None]:
        safe.add("unnoticed" if event else "no effect", str(event))
    print(json.dumps([asdict(row) for row in [*rows, safe]]))


if __name__ == "__main__":
    main()
