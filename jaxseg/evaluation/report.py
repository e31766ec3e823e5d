"""A run's scores on a split, as a table for people and as JSON for programs."""

import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from jaxseg.data.loaders import load_split
from jaxseg.data.sources import check_split
from jaxseg.errors import UserError
from jaxseg.evaluation.averaging import Views
from jaxseg.evaluation.data import source_of
from jaxseg.evaluation.evaluate import SINGLE, Evaluator, protocol, true_labels
from jaxseg.files import write_whole
from jaxseg.models.sizes import size_multiple
from jaxseg.runs import Run


def score_run(
    ckpt: str | os.PathLike,
    split: str = "val",
    which: str | int = "best",
    data_dir: str | None = None,
    views: Views = SINGLE,
) -> dict[str, Any]:
    """Scores a checkpoint of the run in `ckpt` on a split of the data it was made for.

    Args:
        which: `best`, `last` or a step.
        data_dir: where the data lie, if not where they lay in training.
        views: how often the network sees a picture.

    Returns:
        `step`, `protocol`, `miou`, `pixel_accuracy`, `class_iou` (None: never seen),
        `pixels`, and where classes have categories `category_miou`, `category_iou`;
        shares in 0..1.

    Raises:
        UserError: no such run, checkpoint, split or data, or data of other classes.
    """
    run = Run(ckpt)
    config = run.record["config"]
    data = config["data"]
    source = source_of(run, data_dir)
    check_split(source, split)
    variables, step = run.variables(which)
    loader = load_split(source, split, data["loader"])
    batch_size = config["train"]["eval_batch_size"]
    evaluator = Evaluator(run.model(), run.preprocess, run.table, batch_size, views)
    scores = evaluator(
        variables,
        loader,
        lambda batches, total: track(
            batches, f"Scoring {source.name} {split}", total, transient=True
        ),
        true_labels(source, split),
    )
    multiple, train_split = size_multiple(run.model()), data["train_split"]
    line = protocol(source, split, step, train_split, multiple, run.preprocess, views)
    return {"step": step, "protocol": line, **scores.as_dict()}


def print_scores(result: dict[str, Any], console: Console) -> None:
    """Prints the protocol, IoU by class, mean IoU and pixel accuracy in percent."""

    def percent(share: float | None) -> str:
        return "n/a" if share is None else f"{100 * share:.2f}"

    table = Table(show_footer=True)
    table.add_column("class", footer="mean IoU\npixel accuracy")
    totals = f"{percent(result['miou'])}\n{percent(result['pixel_accuracy'])}"
    table.add_column("IoU %", footer=totals, justify="right")
    for name, iou in result["class_iou"].items():
        table.add_row(escape(name), percent(iou))
    console.print(table)
    if "category_iou" in result:
        table = Table(show_footer=True)
        table.add_column("category", footer="mean IoU")
        footer = percent(result["category_miou"])
        table.add_column("IoU %", footer=footer, justify="right")
        for name, iou in result["category_iou"].items():
            table.add_row(escape(name), percent(iou))
        console.print(table)
    console.print(result["protocol"], soft_wrap=True, highlight=False, markup=False)


def write_json(result: dict[str, Any], path: str | os.PathLike) -> None:
    """Writes the result; raises `UserError` where that cannot be done."""
    try:
        write_whole(Path(path), json.dumps(result, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error
