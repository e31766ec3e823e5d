"""Every deployed network against the trained one: results/fold.md.

python -m tools.fold CAMVID results/fold.md [RUN ...]

CAMVID is the folder of the 480x360 pictures. Each network has drawn weights, whose
batch statistics are far from 0 and 1; each RUN is a run's folder, with its own.
"""

import sys
from pathlib import Path

import jax
import numpy as np
from rich.progress import track

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import open_source
from jaxseg.deploy.predictor import Predictor, segment
from jaxseg.runs import Run

PICTURES = 8
# Of CamVid's training pictures: a drawn network sees about -1..1 as a trained one does.
PREPROCESS = Preprocess((104.0, 106.0, 105.0), (77.0, 79.0, 79.0))


def compare(model, variables, preprocess, pictures) -> tuple[float, float]:
    """Largest difference of logits by their magnitude, share of pixels of one class."""

    @jax.jit
    def trained(variables, image):
        return segment(model, variables, preprocess, image, "logits")

    logits_of = Predictor(model, variables, preprocess, "logits")
    labels_of = Predictor(model, variables, preprocess)
    error, largest, equal = 0.0, 0.0, []
    for picture in pictures:
        expected = np.asarray(trained(variables, picture[None]))
        logits = np.asarray(logits_of(picture))
        error = max(error, float(np.abs(logits - expected[0]).max()))
        largest = max(largest, float(np.abs(expected).max()))
        equal.append((np.asarray(labels_of(picture)) == expected[0].argmax(-1)).mean())
    return error / largest, float(np.mean(equal))


def report(camvid: str, runs: list[str]) -> str:
    """`results/fold.md`."""
    source = open_source("camvid", camvid)
    ids = source.ids("val")
    shown = np.linspace(0, len(ids) - 1, PICTURES).astype(int)
    pictures = np.stack([source.read("val", ids[i])[0] for i in shown])
    rows = []
    for name in track(models.names(), "Folding"):
        model = models.create(name, num_classes=11)
        error, equal = compare(model, draw_weights(model), PREPROCESS, pictures)
        rows.append(f"| {name}, drawn weights | {error:.1e} | {100 * equal:.4f} |")
    for folder in runs:
        run = Run(folder)
        variables, step = run.variables()
        error, equal = compare(run.model(), variables, run.preprocess, pictures)
        name = run.record["model"]["name"]
        rows.append(
            f"| {name}, trained on {run.record['config']['data']['name']} to step "
            f"{step} | {error:.1e} | {100 * equal:.4f} |"
        )
    return "\n".join(
        [
            "# Deployed networks against trained ones",
            "",
            f"{PICTURES} pictures of CamVid val, 480x360, jax {jax.__version__} on",
            f"{jax.devices()[0].platform}, float32. Logits and labels of `Predictor` "
            "against those of the",
            "network as it is trained. Drawn weights have batch statistics far from 0 "
            "and 1.",
            "Made by `python -m tools.fold CAMVID results/fold.md [RUN ...]`.",
            "",
            "| network | largest difference / largest magnitude | equal labels, % |",
            "|---|---:|---:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) < 3 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    Path(sys.argv[2]).write_text(report(sys.argv[1], sys.argv[3:]))
