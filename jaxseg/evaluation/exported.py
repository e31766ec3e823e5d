"""Exported networks scored: the same table, from the file that others are given."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import check_split
from jaxseg.deploy.engines import Engine, find, open_engine
from jaxseg.errors import UserError
from jaxseg.evaluation.agreement import resized
from jaxseg.evaluation.data import open_trained_on
from jaxseg.evaluation.evaluate import count_at_size_of, protocol, true_labels
from jaxseg.evaluation.scores import Scores

REPORT, REPORT_FORMAT = "report.json", 1


@dataclass(frozen=True)
class Exported:
    """An exported network and the report that lies beside it.

    Attributes:
        file: the exported file, or the folder of a SavedModel.
        report: see `jaxseg.evaluation.export`.
        table, preprocess: of the network that was exported.
    """

    file: Path
    report: dict[str, Any]
    table: ClassTable
    preprocess: Preprocess

    def engine(self) -> Engine:
        """The file, opened.

        Raises:
            UserError: it is not the file that the report tells of, or cannot be opened.
        """
        for name, was in self.report["sha256"].items():
            path = self.file.parent / name
            whole = path.is_file()
            if not whole or hashlib.sha256(path.read_bytes()).hexdigest() != was:
                raise UserError(
                    f"{path} is not the file that {REPORT} beside it tells of: it is "
                    "missing, damaged or was changed; export the run again."
                )
        return open_engine(self.file)


def open_export(path: str | os.PathLike) -> Exported:
    """What export.py wrote: its folder, or the exported file in it.

    Raises:
        UserError: it is none, or there is no report beside it that can be read.
    """
    _, file = find(path)
    place = file.parent / REPORT
    if not place.is_file():
        raise UserError(
            f"{file} has no {REPORT} beside it, so what its classes are and what it "
            "was trained on is not known; give a folder that export.py wrote."
        )
    try:
        report = json.loads(place.read_text(encoding="utf-8"))
        classes, preprocess = report["classes"], report["preprocess"]
        table = ClassTable(
            tuple(classes["names"]),
            tuple(map(tuple, classes["palette"])),
            tuple(classes.get("categories", ())),
            tuple(classes.get("values", ())),
        )
        seen = Preprocess(
            tuple(preprocess["mean"]),
            tuple(preprocess["std"]),
            preprocess.get("input_scale", 1.0),
        )
        known = report["report_format"] == REPORT_FORMAT
        for key in ("data", "train_split", "step", "sha256"):
            report[key]
    except (
        *(ValueError, KeyError, TypeError, AttributeError),
        *(OSError, RecursionError),
    ) as error:
        raise UserError(
            f"{place} is damaged ({error!r}); export the run again."
        ) from error
    if not known:
        raise UserError(
            f"{place} has format {report['report_format']}, this jaxseg reads "
            f"{REPORT_FORMAT}; use the version that wrote it."
        )
    return Exported(file, report, table, seen)


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
    hw = engine.hw or source.hw
    for name in track(ids, f"Scoring {source.name} {split}", transient=True):
        image, label = source.read(split, name)
        found = engine(resized(image, hw)[None])[0]
        if engine.output == "logits":
            found = found.argmax(-1).astype(np.uint8)
        total += count_at_size_of(truth(name) if truth else label, found, k)
    line = protocol(
        source, split, report["step"], report["train_split"], exported.preprocess
    )
    if hw != source.hw:
        line += f", pictures resized to {hw[1]}x{hw[0]}"
    line += f", {report['format']} by {engine.name}"
    scores = Scores(total, exported.table).as_dict()
    return {"step": report["step"], "protocol": line, **scores}
