"""An exported file and the report that lies beside it."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.engines import Engine, find, open_engine
from jaxseg.errors import UserError

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
    """The export in a folder that export.py wrote, or of the exported file in it.

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
            tuple(classes.get("values") or ()),  # null: of a run that did not say
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
