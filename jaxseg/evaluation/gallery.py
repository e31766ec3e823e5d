"""A page of what a network gets wrong:

  python -m jaxseg.evaluation.gallery --ckpt runs/esnet --output gallery.html

One HTML file, without a server: scores, confusion matrix, the most confused pairs, IoU
along boundaries, regions found by size, and of each class the pictures where it is
worst.
"""

import argparse
import base64
import io
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from jaxseg import runtime
from jaxseg.data.sources import Source, check_split
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.evaluation.data import source_of
from jaxseg.evaluation.details import BANDS, SIZES, Details
from jaxseg.evaluation.evaluate import protocol
from jaxseg.evaluation.scores import Scores
from jaxseg.files import write_whole
from jaxseg.inference.pictures import colourise
from jaxseg.models.sizes import size_multiple
from jaxseg.runs import Run

_WORST, _PAIRS = 3, 12
_WIDTH = 360  # of each of the three pictures in a row, pixels

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1180px;
  padding: 0 1em; color: #1b1f24; }
table { border-collapse: collapse; margin: 0.6em 0 1.6em; }
th, td { padding: 0.15em 0.6em; text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr + tr { border-top: 1px solid #e3e6ea; }
i { display: inline-block; width: 0.9em; height: 0.9em; margin-right: 0.5em;
  border: 1px solid #0003; vertical-align: -0.1em; }
.matrix th { writing-mode: vertical-rl; text-align: left; font-weight: normal; }
.matrix td { padding: 0.15em 0.35em; font-size: 13px; }
img { display: block; max-width: 100%; margin: 0.2em 0 1em; }
small { color: #59636e; }
"""


def gallery(
    ckpt: str | Path,
    split: str,
    which: str | int,
    data_dir: str | None,
    output: str | Path,
) -> Scores:
    """Writes the page, and returns the scores on it.

    Raises:
        UserError: no such run, checkpoint, split or data, or `output` cannot be
            written.
    """
    run = Run(Path(ckpt).expanduser())
    source = source_of(run, data_dir)
    check_split(source, split)
    variables, step = run.variables(which)
    predict = Predictor(run.model(), variables, run.preprocess)
    details = Details(run.table)
    for name in track(source.ids(split), f"Scoring {split}", transient=True):
        image, truth = source.read(split, name)
        details.add(name, truth, np.asarray(predict(image)))
    train_split = run.record["config"]["data"]["train_split"]
    multiple = size_multiple(run.model())
    line = protocol(source, split, step, train_split, multiple, run.preprocess)

    def shown(name: str) -> str:
        image, truth = source.read(split, name)
        return _row(image, truth, np.asarray(predict(image)), details)

    title = f"{run.record['model']['name']} on {source.name} {split}"
    page = "".join(_page(title, line, details, source, split, shown))
    try:
        write_whole(Path(output).expanduser(), page)
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror}).") from error
    return details.scores


def _page(title, line, details: Details, source: Source, split, shown) -> Iterable[str]:
    names, scores = details.table.names, details.scores
    yield "<!doctype html><html lang='en'><meta charset='utf-8'>"
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    yield f"<h1>{escape(title)}</h1><p>{100 * scores.miou:.2f} % mean IoU, "
    yield f"{100 * scores.pixel_accuracy:.2f} % of the pixels.<br>"
    yield f"<small>{escape(line)}</small></p>"
    yield "<h2>Classes</h2>"
    shares = scores.matrix.sum(1) / max(scores.matrix.sum(), 1)
    yield _table(
        ("class", "IoU %", "share of the truth %", *(f"found, {s}" for s in SIZES)),
        (
            (
                _swatch(details, c),
                _percent(scores.class_iou[c]),
                _percent(shares[c]),
                *(
                    f"{found} of {count}" if count else ""
                    for found, count in zip(details.found[c], details.regions[c])
                ),
            )
            for c in range(len(names))
        ),
    )
    yield "<p><small>A connected region of the truth is found if more than half of its "
    yield "pixels were given its class.</small></p><h2>Along boundaries</h2>"
    yield _table(
        ("pixels at most this far from another class", "mean IoU %"),
        (
            (f"{width}", _percent(Scores(matrix, details.table).miou))
            for width, matrix in zip(BANDS, details.bands)
        ),
    )
    yield "<h2>Most confused</h2>"
    yield _table(
        ("truth", "taken for", "% of the truth"),
        (
            (_swatch(details, truth), _swatch(details, found), _percent(share))
            for truth, found, share in details.most_confused(_PAIRS)
        ),
    )
    yield "<h2>Confusion matrix</h2><p><small>Rows are the truth, % of it.</small></p>"
    yield _matrix(details)
    yield "<h2>Where a class is worst</h2><p><small>Image, truth, prediction.</small>"
    for c in range(len(names)):
        worst = details.worst(c, _WORST)
        if worst:
            yield f"<h3>{_swatch(details, c)}</h3>"
        for name in worst:
            iou = Scores(details.matrices[name], details.table).class_iou[c]
            yield f"<small>{escape(name)}: {_percent(iou)} %</small>{shown(name)}"
    yield "</html>\n"


def _percent(share: float) -> str:
    return "n/a" if np.isnan(share) else f"{100 * share:.1f}"


def _swatch(details: Details, c: int) -> str:
    r, g, b = details.table.palette[c]
    name = escape(details.table.names[c])
    return f"<i style='background:rgb({r},{g},{b})'></i>{name}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _matrix(details: Details) -> str:
    matrix, names = details.scores.matrix, details.table.names
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = [f"<tr><th></th>{head}</tr>"]
    for t, row in enumerate(shares):
        cells = "".join(
            f"<td title='{escape(names[t])} taken for {escape(names[p])}' "
            f"style='background:rgba({'30,120,60' if p == t else '190,40,30'},"
            f"{share:.3f})'>{100 * share:.1f}</td>"
            for p, share in enumerate(row)
        )
        rows.append(f"<tr><td>{_swatch(details, t)}</td>{cells}</tr>")
    return f"<table class='matrix'>{''.join(rows)}</table>"


def _row(image, truth, predicted, details: Details) -> str:
    """Image, truth and prediction beside each other, inside the page."""
    height = max(image.shape[0] * _WIDTH // image.shape[1], 1)
    whole = Image.new("RGB", (3 * _WIDTH, height))
    maps = (image, colourise(truth, details.table), colourise(predicted, details.table))
    for column, cell in enumerate(maps):
        how = Image.Resampling.NEAREST if column else Image.Resampling.BOX
        small = Image.fromarray(cell).resize((_WIDTH, height), how)
        whole.paste(small, (column * _WIDTH, 0))
    file = io.BytesIO()
    whole.save(file, "WEBP", quality=85)
    coded = base64.b64encode(file.getvalue()).decode()
    return f"<img alt='' src='data:image/webp;base64,{coded}'>"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m jaxseg.evaluation.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ckpt", required=True, help="a run's folder, or shipped")
    parser.add_argument("--split", default="val")
    parser.add_argument("--step", default="best", help="best, last or a number")
    parser.add_argument("--data-dir", help="where the data lie, if they were moved")
    parser.add_argument("--output", default="gallery.html")
    given = parser.parse_args(arguments)
    runtime.setup()
    step = int(given.step) if given.step.isdigit() else given.step
    try:
        scores = gallery(given.ckpt, given.split, step, given.data_dir, given.output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.output}: {100 * scores.miou:.2f} % mean IoU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
