"""Draws a run's curves: python tools/curve.py RUN PICTURE.png (needs matplotlib)."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def main(run: str, picture: str) -> None:
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").open()]
    train = [line for line in lines if line["kind"] == "train"]
    val = [line for line in lines if line["kind"] == "val"]
    figure, left = plt.subplots(figsize=(7, 4), layout="constrained")
    left.plot([t["step"] for t in train], [t["loss"] for t in train], color="0.7")
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    right = left.twinx()
    right.plot([v["step"] for v in val], [100 * v["miou"] for v in val], "o-")
    right.set(ylabel="validation mean IoU, %", ylim=(0, None))
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
