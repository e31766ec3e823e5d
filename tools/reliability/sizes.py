"""Pictures of all sizes through the predictor, and what the sizes cost."""

from itertools import product

import jax
import numpy as np

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.predictor import Predictor
from tools.reliability.table import Row

PLAIN = Preprocess(mean=(127.5,) * 3, std=(127.5,) * 3)
LARGEST = 70


def all_sizes(names: tuple[str, ...], step: int = 1) -> list[Row]:
    """Every `step`-th h and w in 1..70: the size comes back, and what moves in the
    logits when a pixel is changed is where that pixel is.

    All sizes are padded to the same one, so that a network is compiled once.
    """
    rows = []
    for name in names:
        row, rng = Row(f"sizes 1 to {LARGEST}: {name}"), np.random.default_rng(0)
        model = models.create(name, num_classes=3)
        give = model, draw_weights(model), PLAIN, "logits"
        predictor = Predictor(*give, size_step=LARGEST + -LARGEST % 8)
        picture = rng.integers(0, 256, (LARGEST, LARGEST, 3), dtype=np.uint8)
        sizes = list(product(range(1, LARGEST + 1, step), repeat=2))
        for h, w in sizes:
            image = picture[:h, :w]
            try:
                logits = np.asarray(predictor(image))
            except Exception as error:
                row.add("crashed", f"{h}x{w}: {error!r}"[:200])
                continue
            fine = logits.shape == (h, w, 3) and np.isfinite(logits).all()
            row.add("no effect" if fine else "unnoticed", f"{h}x{w}: {logits.shape}")
        misses = predictor.program.cache_info().misses
        row.note = f"{misses} program, {len(sizes)} sizes"
        rows.append(row)
    return rows


def places(names: tuple[str, ...], hw: tuple[int, int], count: int) -> list[Row]:
    """A change of some pixels shows where they are, at a size that has to be padded."""
    rows = []
    for name in names:
        row, rng = Row(f"place, {hw[0]}x{hw[1]}: {name}"), np.random.default_rng(1)
        model = models.create(name, num_classes=3)
        predictor = Predictor(model, draw_weights(model), PLAIN, "logits")
        image = np.full((*hw, 3), 120, np.uint8)
        before = np.asarray(predictor(image))
        for _ in range(count):
            y, x = (int(rng.integers(0, n)) for n in hw)
            changed = image.copy()
            changed[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5] = 255
            moved = np.abs(np.asarray(predictor(changed)) - before).sum(-1)
            # Centre of the strongest tenth of a percent: of a map at a sixteenth of the
            # size it may be a cell and a half away.
            strong = moved >= np.quantile(moved, 0.999)
            found = np.argwhere(strong).mean(0)
            near = np.abs(found - (y, x)).max() <= 24
            row.add("no effect" if near else "unnoticed", f"{(y, x)} at {found}")
        rows.append(row)
    return rows


def exact_sizes(names: tuple[str, ...], sizes: list[tuple[int, int]]) -> list[Row]:
    """Labels of a size are those of the picture padded by hand to the next multiple
    of 8, cropped, whatever padding was done where."""
    rows = []
    for name in names:
        row, rng = Row(f"padding: {name}"), np.random.default_rng(2)
        model = models.create(name, num_classes=3)
        predictor = Predictor(model, draw_weights(model), PLAIN)
        for h, w in sizes:
            image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
            more = [(0, max(-n % 8, 16 - n)) for n in (h, w)]
            padded = np.pad(image, [*more, (0, 0)], "edge")
            found, expected = predictor(image), predictor(padded)[:h, :w]
            same = found.shape == (h, w) and np.array_equal(found, expected)
            row.add("no effect" if same else "unnoticed", f"{h}x{w}")
        jax.clear_caches()
        rows.append(row)
    return rows
