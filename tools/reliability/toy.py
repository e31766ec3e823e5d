"""A data set and trainings so small that they can be killed a hundred times."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
HW = (48, 64)
STEPS_PER_EPOCH, EPOCHS = 6, 6
CLASSES = ("ground", "box", "ball")
_COLOURS = np.array([(90, 120, 60), (200, 60, 40), (40, 60, 200)])


def write_pictures(root: Path, train: int = 2 * STEPS_PER_EPOCH, val: int = 3) -> Path:
    """A folder data set of drawn boxes and balls on noise, with void at the edge."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(HW)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            label = np.zeros(HW, np.uint8)
            y, x = rng.integers(4, 24, 2)
            label[y : y + 14, x : x + 16] = 1
            y, x = rng.integers(16, 36, 2)
            label[(rows - y) ** 2 + (columns - x) ** 2 < 81] = 2
            image = _COLOURS[label] + rng.integers(-30, 30, (*HW, 3))
            label[:1] = 255
            for kind, array in (("images", image.astype(np.uint8)), ("labels", label)):
                path = root / kind / split / f"{number:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (root / "dataset.yaml").write_text(f"classes: [{', '.join(CLASSES)}]\n")
    return root


def arguments(data: Path, workdir: Path, *more: str) -> list[str]:
    """train.py's, for a run of `EPOCHS` epochs of `STEPS_PER_EPOCH` steps."""
    return [
        "--config=tools/reliability/short_dabnet.py:folder",
        f"--config.data.dir={data}",
        "--config.augment.crop_hw=(48, 64)",
        "--config.train.batch_size=2",
        "--config.train.eval_batch_size=2",
        "--config.train.log_every_steps=1",
        f"--config.train.num_epochs={EPOCHS}",
        "--config.train.eval_every_epochs=2",
        "--config.train.checkpoint_every_minutes=0.01",
        "--config.schedule.warmup_steps=4",
        f"--workdir={workdir}",
        *more,
    ]


def start(
    script: str, given: Sequence[str], log: Path, cache: Path
) -> subprocess.Popen[bytes]:
    """A script in a process group of its own; what it prints goes to `log`."""
    environment = {**os.environ, "JAXSEG_CACHE": str(cache), "PYTHONUNBUFFERED": "1"}
    # Programs are kept that compile quickly too: most of the time goes there.
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, script, *given],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def run(script: str, given: Sequence[str], log: Path, cache: Path) -> tuple[int, str]:
    """The exit code of a script, and what it printed."""
    code = start(script, given, log, cache).wait(timeout=600)
    return code, log.read_text(errors="replace")
