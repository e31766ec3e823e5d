"""Runs of which a file is damaged, gone on with, scored, predicted from, exported."""

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxseg.deploy.engines import open_engine
from jaxseg.errors import UserError
from jaxseg.evaluation.agreement import Unequal
from jaxseg.evaluation.export import export_run
from jaxseg.evaluation.report import score_run
from jaxseg.inference.predict import predict
from jaxseg.training.train import train
from tools.reliability import short_dabnet, toy
from tools.reliability.storm import ending
from tools.reliability.table import Row

Damage = Callable[[bytes, np.random.Generator], bytes | None]


def _three_bits(content: bytes, rng: np.random.Generator) -> bytes:
    flipped = bytearray(content)
    for at in rng.integers(0, max(len(content), 1), 3 if content else 0):
        flipped[at] ^= 1 << rng.integers(8)
    return bytes(flipped)


DAMAGES: dict[str, Damage] = {
    "cut off in the middle": lambda content, rng: content[: len(content) // 2],
    "emptied": lambda content, rng: b"",
    "three bits flipped": _three_bits,
    "all zeros": lambda content, rng: bytes(len(content)),
    "removed": lambda content, rng: None,
    "of a newer format": lambda content, rng: re.sub(
        rb'"(format|ocdbt_version|version)": ?\d+', rb'"\1": 99', content
    ),
    "of another network": lambda content, rng: content.replace(b"dabnet", b"fpenet"),
}
PROGRAMS = ("eval", "predict", "export", "train")


def damaged_runs(
    folder: Path, programs: tuple[str, ...] = PROGRAMS, every: int = 1
) -> list[Row]:
    """A row for each program and damage, over every kind of file that a run has.

    Args:
        folder: an empty one for what it writes.
        every: look at each `every`-th kind of file alone, and at run.json; of exports,
            which take longest, at each third at most.
    """
    data = toy.write_pictures(folder / "data")
    whole, half = folder / "whole", folder / "half"
    _train(data, whole, toy.EPOCHS)
    _train(data, half, toy.EPOCHS - 2)
    rows = []
    for program in programs:
        run = half if program == "train" else whole
        do = _DO[program]
        expected = do(data, _copied(run, folder))[0]
        for what, damage in DAMAGES.items():
            row = Row(f"{program}: {what}")
            step = max(every, 3) if program == "export" else every
            for number, path in enumerate(kinds_of_files(run)):
                if number % step and path.name != "run.json":
                    continue
                rng = np.random.default_rng([len(rows), len(str(path))])
                content = (run / path).read_bytes()
                changed = damage(content, rng)
                if changed == content:
                    continue
                copy = _copied(run, folder)
                if changed is None:
                    (copy / path).unlink()
                else:
                    (copy / path).write_bytes(changed)
                row.add(*_outcome(do, data, copy, expected, str(path)))
            rows.append(row)
    return rows


def kinds_of_files(run: Path) -> list[Path]:
    """Files of a run relative to it, one of each kind: those of the newest checkpoint,
    and of an older one what says how it scored."""
    newest = max(int(p.name) for p in (run / "checkpoints").iterdir())
    found: dict[str, Path] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        relative = path.relative_to(run)
        parts = relative.parts
        older = parts[0] == "checkpoints" and parts[1] != str(newest)
        if relative.name == ".lock" or (older and "metrics" not in parts):
            continue
        # Names of data are hashes, those of events hold the time.
        kind = re.sub(r"[0-9a-f]{16,}|events.*", "*", str(relative))
        found.setdefault(kind, relative)
    return list(found.values())


def _copied(run: Path, folder: Path) -> Path:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    return copy


def _outcome(
    do: Callable[[Path, Path], tuple[Any, str]],
    data: Path,
    copy: Path,
    expected: Any,
    which: str,
) -> tuple[str, str]:
    try:
        found, said = do(data, copy)
    except (UserError, Unequal):
        return "detected", which
    except BaseException as error:
        return "crashed", f"{which}: {error!r}"[:300]
    if re.search("damaged|taken (in its place|as unscored)", said):
        return "detected", which
    return ("no effect" if _equal(found, expected) else "unnoticed"), which


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return np.array_equal(a, b)


def _train(data: Path, workdir: Path, epochs: int) -> str:
    config = short_dabnet.get_config("folder")
    config.data.dir = str(data)
    config.augment.crop_hw = toy.HW
    config.schedule.warmup_steps = 4
    config.train.update(
        batch_size=2, eval_batch_size=2, log_every_steps=1, eval_every_epochs=2
    )
    config.train.num_epochs = epochs
    said = Console(file=io.StringIO(), width=200)
    train(config, workdir, said)
    return said.file.getvalue()


def _go_on(data: Path, run: Path) -> tuple[Any, str]:
    """The weights and scores at the end; of the journal, only that it can be read."""
    with redirect_stderr(io.StringIO()) as warned:
        said = _train(data, run, toy.EPOCHS)
        found = ending(run)
    return {k: found[k] for k in ("last", "best", "scores")}, said + warned.getvalue()


def _score(data: Path, run: Path) -> tuple[Any, str]:
    with redirect_stderr(io.StringIO()) as warned:
        scores = score_run(run, "val")
    return scores, warned.getvalue()


def _predict(data: Path, run: Path) -> tuple[Any, str]:
    out = run.parent / "predicted"
    shutil.rmtree(out, ignore_errors=True)
    with redirect_stderr(io.StringIO()) as warned:
        predict(run, [data / "images" / "val"], out)
    pictures = {p.name: p.read_bytes() for p in sorted(out.iterdir())}
    return pictures, warned.getvalue()


def _export(data: Path, run: Path) -> tuple[Any, str]:
    """The labels that the exported file computes: its bytes are others every time."""
    out = run.parent / "exported"
    shutil.rmtree(out, ignore_errors=True)
    with redirect_stderr(io.StringIO()) as warned:
        export_run(run, "stablehlo", toy.HW, out)
    noise = np.random.default_rng(0).integers(0, 256, (1, *toy.HW, 3), np.uint8)
    return open_engine(out)(noise), warned.getvalue()


_DO = {"eval": _score, "predict": _predict, "export": _export, "train": _go_on}


def main() -> None:
    """`python -m tools.reliability.damage FOLDER EVERY PROGRAM ...`: rows, as JSON.

    A process of its own: Orbax leaves threads that complain of files it cannot read.
    """
    folder, every, *programs = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = damaged_runs(Path(folder), tuple(programs), int(every))
    print(json.dumps([vars(row) for row in rows]))


if __name__ == "__main__":
    main()
