"""Exported networks scored: the same table, from the file that others are given."""

import os
from typing import Any

import numpy as np
from rich.progress import track

from jaxseg.data.pictures import resized
from jaxseg.data.sources import check_split
from jaxseg.deploy.exported import open_export
from jaxseg.evaluation.data import open_trained_on
from jaxseg.evaluation.evaluate import count_at_size_of, protocol, true_labels
from jaxseg.evaluation.scores import Scores


def score_export(
    path: str | os.PathLike,
    split: str = "val",
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Scores an exported network on a split of the data that it was made for.

    Pictures of another size than it takes are resized for it, and its labels are
    brought to the size of the truth.

    Args:
        data_dir: where the data lie.

    Returns:
        As `score_run`.

    Raises:
        UserError: no export, split or data, or data of other classes.
    """
    exported = open_export(path)
    report = exported.report
    source = open_trained_on(
        exported.file, report["data"], "", exported.table, data_dir
    )
    check_split(source, split)
    engine, truth = exported.engine(), true_labels(source, split)
    k = len(exported.table)
    total, ids = np.zeros((k, k), np.int64), source.ids(split)
    for name in track(ids, f"Scoring {source.name} {split}", transient=True):
        image, label = source.read(split, name)
        found = engine(resized(image, engine.hw or image.shape[:2])[None])[0]
        if engine.output == "logits":
            found = found.argmax(-1).astype(np.uint8)
        total += count_at_size_of(truth(name) if truth else label, found, k)
    resized_hw = engine.hw if engine.hw != source.hw else None
    line = protocol(
        source,
        split,
        report["step"],
        report["train_split"],
        1 if resized_hw else report.get("multiple") or 1,
        exported.preprocess,
    )
    if resized_hw:
        line += f", pictures resized to {resized_hw[1]}x{resized_hw[0]}"
    int8 = " int8" if report.get("dtype") == "int8" else ""
    line += f", {report['format']}{int8} by {engine.name}"
    scores = Scores(total, exported.table).as_dict()
    return {"step": report["step"], "protocol": line, **scores}
