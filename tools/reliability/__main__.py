"""python -m tools.reliability [PART ...] [--small]: makes results/reliability.md.

Parts are done one after the other, by default all: storm, disk, damage, hostile, sizes,
memory, numbers. With --small each takes a minute or so, and nothing is written to
results/. The whole takes about two hours on two cores. The exit code is 1 if anything
crashed or went unnoticed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from jaxseg import models
from jaxseg.benchmark.latency import header_of_machine
from tools.reliability import damage, disk, numbers, sizes, storm, toy
from tools.reliability.table import OUTCOMES, Row, markdown, save

TITLES = {
    "storm": "Kill storm",
    "disk": "Full disk",
    "damage": "Damaged runs",
    "hostile": "Hostile files",
    "sizes": "Sizes",
    "memory": "Memory",
    "numbers": "Numbers",
}
RESULT = toy.ROOT / "results" / "reliability.json"


def rows_of(part: str, folder: Path, small: bool) -> list[Row]:
    """What a part finds; `folder` is an empty one for what it writes."""
    short = ("dabnet",)
    parts: dict[str, Callable[[], list[Row]]] = {
        "storm": lambda: storm.storm(
            folder,
            4 if small else 100,
            ("resident",) if small else tuple(storm.VARIANTS),
            seed=0,
        ),
        "disk": lambda: disk.full_disks(folder),
        "damage": lambda: _damage(folder, 12 if small else 1),
        "hostile": lambda: _hostile(folder, 5 if small else 100),
        "sizes": lambda: (
            sizes.all_sizes(short if small else models.names(), 9 if small else 1)
            + sizes.exact_sizes(short, [(13, 21), (1, 70)])
            + sizes.places(short if small else models.names(), (230, 345), 4)
            + ([] if small else sizes.exact_sizes(short, [(719, 1283)]))
        ),
        "memory": lambda: [
            _memory("calls", folder, 300 if small else 10_000),
            _memory("pictures", folder, 100 if small else 5_000),
            _memory("steps", folder, 60 if small else 5_000),
        ],
        "numbers": numbers.finite_numbers,
    }
    return parts[part]()


def _damage(folder: Path, every: int) -> list[Row]:
    found = _process("damage", folder, str(every), *damage.PROGRAMS)
    return [Row(**row) for row in found]


def _hostile(folder: Path, count: int) -> list[Row]:
    return [Row(**row) for row in _process("hostile", folder / "files", str(count))]


def _memory(part: str, folder: Path, count: int) -> Row:
    return Row(**_process("memory", part, folder / part, str(count)))


def _process(module: str, *arguments: object):
    """The JSON that a module of its own process prints last."""
    command = [sys.executable, "-m", f"tools.reliability.{module}"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=toy.ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(TITLES))
    parser.add_argument("--small", action="store_true", help="a look at each part")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(TITLES):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    survived = True
    for part in options.parts or TITLES:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            rows = rows_of(part, Path(folder), options.small)
        for row in rows:
            counts = ", ".join(
                f"{row.counts[outcome]} {outcome}" for outcome in OUTCOMES
            )
            print(
                f"{part}: {row.what}: {counts}. {row.note}", *row.failures, sep="\n  "
            )
            survived &= row.survived
        if not options.small:
            save(RESULT, part, rows, _about(part, time.perf_counter() - begin))
            RESULT.with_suffix(".md").write_text(markdown(RESULT, TITLES))
    return 0 if survived else 1


def _about(part: str, seconds: float) -> dict[str, object]:
    commit = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(commit, cwd=toy.ROOT, capture_output=True, text=True)
    versions = {name: metadata.version(name) for name in ("jax", "orbax-checkpoint")}
    return {
        "command": f"python -m tools.reliability {part}",
        "seconds": seconds,
        "device": "{cpu}, {cores} cores".format(**header_of_machine()),
        "versions": ", ".join(
            f"{name} {version}" for name, version in versions.items()
        ),
        "commit": found.stdout.strip() or "unknown",
    }


if __name__ == "__main__":
    sys.exit(main())
