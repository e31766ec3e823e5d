"""A disk that fills up while something is written, and has room again afterwards.

The disk is a tmpfs, so this part needs the right to mount one.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxseg.runs import Run
from tools.reliability import toy
from tools.reliability.table import Row


@contextmanager
def small_disk(path: Path, kib: int) -> Iterator[Callable[[], None]]:
    """A file system of `kib` KiB at `path`; what it gives makes room on it."""
    path.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)]
    subprocess.run(mount, check=True)

    def make_room() -> None:
        again = ["mount", "-o", "remount,size=512m", str(path)]
        subprocess.run(again, check=True)

    try:
        yield make_room
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def full_disks(folder: Path) -> list[Row]:
    """A row for each thing that was being written; `folder` is an empty one."""
    data, cache = toy.write_pictures(folder / "data"), folder / "cache"
    trained = folder / "trained"
    code, text = toy.run(
        "train.py", toy.arguments(data, trained), folder / "log", cache
    )
    if code:
        raise RuntimeError(f"the undisturbed run failed: {text[-2000:]}")
    disk = folder / "disk"
    pictures = folder / "many"
    for number in range(40):
        pictures.mkdir(exist_ok=True)
        shutil.copy(data / "images/train/00.png", pictures / f"{number:02d}.png")

    def training(workdir: Path, *more: str) -> tuple[str, list[str]]:
        return "train.py", toy.arguments(data, workdir, *more)

    predicting = [f"--ckpt={trained}", f"--input={pictures}", f"--output={disk}/out"]
    timing = [f"--ckpt={trained}", "--sizes=48x64", "--peers=none", "--rounds=1"]
    timing += ["--calls=2", "--dtypes=float32", f"--output={disk}/report"]
    scoring = [f"--ckpt={trained}", f"--json={disk}/scores.json"]
    exporting = [f"--ckpt={trained}", "--format=stablehlo", "--size=48x64"]
    exporting += [f"--to={disk}/export"]
    # KiB are chosen so that what is named does not fit and what comes before it does.
    cases = {
        "prepared data": (40, *training(folder / "a"), disk),
        "TFDS's shards": (
            100,
            *training(folder / "b", "--config.data.loader=tfdata"),
            disk,
        ),
        "the record of a run": (4, *training(disk / "run"), cache),
        "metrics and events": (32, *training(disk / "run"), cache),
        "the first checkpoint": (1000, *training(disk / "run"), cache),
        "a later checkpoint": (5000, *training(disk / "run"), cache),
        "predictions": (60, "predict.py", predicting, cache),
        "a report of latency": (4, "benchmark.py", timing, cache),
        "scores": (0, "eval.py", scoring, cache),
        "an export": (200, "export.py", exporting, cache),
    }
    return [_fill(folder, disk, what, *case) for what, case in cases.items()]


def _fill(
    folder: Path,
    disk: Path,
    what: str,
    kib: int,
    script: str,
    given: list[str],
    cache: Path,
) -> Row:
    row, log = Row(f"full disk: {what}"), folder / "log"
    with small_disk(disk, max(kib, 4)) as make_room:
        if not kib:  # so little room that nothing fits at all
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill", "bs=4k"])
        code, text = toy.run(script, given, log, cache)
        last = text.strip().splitlines()[-1] if text.strip() else ""
        before = _newest(disk / "run")
        if "Traceback" in text:
            row.add("crashed", last)
            return row
        if code == 0:
            row.add("unnoticed", f"exit code 0: {last}")
            return row
        make_room()
        again, text = toy.run(script, given, log, cache)
        went_on = before is None or f"Going on from step {before}:" in text
        if again or not went_on:
            row.add("unnoticed", f"did not go on ({again}): {text.strip()[-300:]}")
            return row
        row.add("detected")
        said = last.replace(f"{folder}/", "")
        row.note = f"“{said}”; with room the same command ended with 0"
        if before is not None:
            row.note += f", from step {before}"
    return row


def _newest(workdir: Path) -> int | None:
    """The step of a run's newest checkpoint, which can still be read."""
    if not (workdir / "run.json").is_file() or not Run(workdir).has_checkpoints:
        return None
    return Run(workdir).variables("last")[1]
