"""Memory of processes that go on for long: flat after the first tenth."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.predictor import Predictor
from tools.reliability import toy
from tools.reliability.storm import last_entry
from tools.reliability.table import Row

_GROWTH_MB = 30  # and a tenth of what there was: allocators keep what they had once


def resident_mb(pid: int | str = "self") -> float:
    """What a process has in memory now."""
    with open(f"/proc/{pid}/status") as file:
        (line,) = (line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _judged(row: Row, begin: float, end: float) -> Row:
    flat = end - begin < _GROWTH_MB + begin / 10
    row.note = f"{begin:.0f} MB after a tenth, {end:.0f} MB at the end"
    row.add("no effect" if flat else "unnoticed", row.note)
    return row


def calls(count: int, sizes: int = 30) -> Row:
    """The predictor, over pictures of many sizes."""
    row, rng = Row(f"{count} calls over {sizes} sizes"), np.random.default_rng(0)
    model = models.create("dabnet", num_classes=3, dilations1=(2,), dilations2=(4,))
    plain = Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
    predictor = Predictor(model, draw_weights(model), plain, size_step=32)
    hws = rng.integers(20, 130, (sizes, 2))
    pictures = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in hws]
    begin = 0.0
    for number in range(count):
        np.asarray(predictor(pictures[number % sizes]))
        if number == max(count // 10, sizes):
            begin = resident_mb()
    return _judged(row, begin, resident_mb())


def pictures(folder: Path, count: int) -> Row:
    """predict.py over a folder."""
    data, cache = toy.write_pictures(folder / "data"), folder / "cache"
    trained, many = folder / "trained", folder / "many"
    code, text = toy.run(
        "train.py", toy.arguments(data, trained), folder / "log", cache
    )
    if code:
        raise RuntimeError(text[-2000:])
    many.mkdir()
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*toy.HW, 3), dtype=np.uint8)
    Image.fromarray(picture).save(many / "0.png")
    for number in range(1, count):
        shutil.copy(many / "0.png", many / f"{number}.png")
    out = folder / "out"
    given = [f"--ckpt={trained}", f"--input={many}", f"--output={out}"]
    process = toy.start("predict.py", given, folder / "log", cache)

    def done() -> int:
        return len(list(out.iterdir())) // 2 if out.is_dir() else 0

    row = Row(f"predict.py over {count} pictures")
    return _watched(row, process, folder / "log", done, count)


def steps(folder: Path, count: int) -> Row:
    """A training of many steps, with ten validations."""
    data, run = toy.write_pictures(folder / "data"), folder / "run"
    epochs = count // toy.STEPS_PER_EPOCH
    given = toy.arguments(
        data,
        run,
        f"--config.train.num_epochs={epochs}",
        f"--config.train.eval_every_epochs={max(epochs // 10, 1)}",
        "--config.train.checkpoint_every_minutes=1.0",
    )
    process = toy.start("train.py", given, folder / "log", folder / "cache")
    row = Row(f"{count} training steps")
    return _watched(
        row, process, folder / "log", lambda: last_entry(run)["step"], count
    )


def _watched(
    row: Row,
    process: subprocess.Popen,
    log: Path,
    done: Callable[[], int],
    count: int,
) -> Row:
    begin = end = 0.0
    while process.poll() is None:
        try:
            end = resident_mb(process.pid)
        except (OSError, ValueError):  # it has just ended
            break
        begin = begin if begin or done() < count // 10 else end
        time.sleep(0.2)
    if process.wait():
        row.add("crashed", log.read_text()[-300:])
        return row
    return _judged(row, begin, end)


PARTS: dict[str, Callable[[Path, int], Row]] = {
    "calls": lambda folder, count: calls(count),
    "pictures": pictures,
    "steps": steps,
}


def main() -> None:
    """`python -m tools.reliability.memory PART FOLDER COUNT`, a process per part."""
    part, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    print(json.dumps(vars(PARTS[part](folder, count))))


if __name__ == "__main__":
    main()
