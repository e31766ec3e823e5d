"""Draws the worst and the median pictures of a split, by their own mean IoU.

python -m tools.frames --ckpt runs/x --split test --data-dir PATH --output frames.jpg
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg import runtime
from jaxseg.evaluation.data import source_of
from jaxseg.evaluation.evaluate import count_at_size_of
from jaxseg.evaluation.scores import Scores
from jaxseg.inference.pictures import grid
from jaxseg.inference.segmenter import Segmenter
from jaxseg.runs import Run

EACH = 3


def frames(ckpt: str, split: str, data_dir: str | None) -> tuple[list[str], np.ndarray]:
    """A line for each picture that is shown, and the pictures under each other."""
    source, segment = source_of(Run(Path(ckpt)), data_dir), Segmenter(ckpt)
    k, mious = len(segment.table), {}
    for name in source.ids(split):
        image, truth = source.read(split, name)
        matrix = count_at_size_of(truth, segment(image), k)
        mious[name] = Scores(matrix, segment.table).miou
    names = sorted(mious, key=mious.__getitem__)
    middle = (len(names) - EACH) // 2
    shown = names[:EACH] + names[middle : middle + EACH]
    images, truths = zip(*(source.read(split, name) for name in shown))
    found = np.stack([segment(image) for image in images])
    lines = [f"{name}: {100 * mious[name]:.1f} % mean IoU" for name in shown]
    return lines, grid(np.stack(images), np.stack(truths), found, segment.table)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.frames",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--data-dir")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    runtime.setup()
    lines, picture = frames(given.ckpt, given.split, given.data_dir)
    Image.fromarray(picture).save(given.output, quality=80)
    print(*lines, sep="\n")


if __name__ == "__main__":
    main()
