"""A trained network made a folder that others run: exported, checked, explained."""

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import __version__, card, models
from jaxseg.data.pictures import list_pictures, read_rgb, resized
from jaxseg.deploy.engines import FILES
from jaxseg.deploy.exported import REPORT, REPORT_FORMAT
from jaxseg.deploy.formats import FORMATS, Job, check_format, write
from jaxseg.deploy.predictor import OUTPUTS
from jaxseg.deploy.script import script
from jaxseg.errors import UserError
from jaxseg.evaluation.agreement import (
    EQUAL_LEAST,
    EQUAL_LEAST_INT8,
    as_trained,
    compare,
    pictures_for,
)
from jaxseg.files import whole_folder
from jaxseg.models.sizes import SIZE_LEAST, size_multiple
from jaxseg.ops import Pair
from jaxseg.runs import Run

_CALIBRATION = 64  # pictures at most: more change the ranges little


def export_run(
    ckpt: str | os.PathLike,
    kind: str,
    hw: Pair | None,
    to: str | os.PathLike,
    batch: int | None = 1,
    output: str = "labels",
    which: str | int = "best",
    overwrite: bool = False,
    calibrate: str | os.PathLike | None = None,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Exports a run's network to the folder `to`, once it was seen to be right.

    The folder holds the exported file, `labels.txt`, `palette.json`, `report.json`, a
    model card `README.md` and `run_model.py`, which needs NumPy, Pillow and the engine
    alone. It appears whole or not at all.

    Args:
        kind: one of `FORMATS`.
        hw: height and width of the pictures; None leaves them open.
        batch: pictures in a call; None leaves their number open.
        output: "labels" or "logits".
        which: `best`, `last` or a step.
        overwrite: replace an older export, when the new one is whole.
        calibrate: a folder of pictures as those that will come: convolutions become
            8-bit integers, with the ranges that they have on these.
        data_dir: where the data that it is compared on lie, if they were moved.

    Returns:
        What `report.json` holds.

    Raises:
        UserError: no such run, checkpoint or format; a package is missing; the network
            has no form in it; `to` is there already or cannot be written.
        Unequal: the export does not compute what the network does; nothing is left.
    """
    check_format(kind, batch, calibrate is not None, hw is not None)
    if output not in OUTPUTS:
        raise UserError(f"--output is {output!r}; it can be {' or '.join(OUTPUTS)}.")
    target = _target(to, overwrite)
    run = Run(Path(ckpt).expanduser())
    variables, step = run.variables(which)
    model = models.create(**{**run.record["model"], "dtype": "float32"})
    calibration = _calibration(calibrate, hw)
    least = EQUAL_LEAST_INT8 if calibration else EQUAL_LEAST
    network = model, variables, run.preprocess
    size = hw or _open(kind, *network)
    job = Job(*network, size, batch, output, calibration)
    try:
        with whole_folder(target) as folder:
            file = _written(kind, job, folder)
            pictures = pictures_for(run, hw, data_dir)
            wanted = as_trained(*network, size if isinstance(size, int) else 1)
            check = compare(file, wanted, pictures, run.table, least)
            report = _report(kind, job, run, step, file, check)
            _explain(folder, report)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}).") from error
    return report


def parse_size(text: str) -> Pair:
    """Height and width of "512x1024".

    Raises:
        UserError: it is no size, or one that the networks cannot take.
    """
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise UserError(f"--size is {text!r}; give height x width, such as 512x1024.")
    h, w = int(found[1]), int(found[2])
    if min(h, w) < SIZE_LEAST:
        raise UserError(
            f"--size is {text}; the networks take {SIZE_LEAST} pixels at least, in "
            "height and in width."
        )
    return h, w


def _open(kind: str, *network: Any) -> int:
    from jaxseg.deploy.onnx import open_multiple

    try:
        return open_multiple(*network)
    except ValueError as error:
        raise UserError(f"{kind} of any size: {error}") from error


def _calibration(
    calibrate: str | os.PathLike | None, hw: Pair | None
) -> tuple[np.ndarray, ...]:
    """Pictures from a folder, spread over it, at the size of the export; or none."""
    if calibrate is None or hw is None:
        return ()
    folder = Path(calibrate).expanduser()
    found = list_pictures(folder) if folder.is_dir() else []
    if not found:
        raise UserError(f"--calibrate {folder}: there is no picture in it.")
    chosen = sorted(set(np.linspace(0, len(found) - 1, _CALIBRATION).astype(int)))
    return tuple(resized(read_rgb(found[i], found[i]), hw) for i in chosen)


def _target(to: str | os.PathLike, overwrite: bool) -> Path:
    target = Path(to).expanduser().resolve()
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return target
    if not (target / REPORT).is_file():
        raise UserError(
            f"{target} is there already, and is no export; choose another --to."
        )
    if not overwrite:
        raise UserError(
            f"{target} holds an export already; choose another --to, or replace it "
            "with --overwrite."
        )
    return target


def _written(kind: str, job: Job, folder: Path) -> Path:
    try:
        return write(kind, job, folder)
    except (UserError, OSError):
        raise
    except ValueError as error:
        raise UserError(
            f"this network cannot be exported as {kind}: {error}"
        ) from error
    except Exception as error:
        # TensorFlow and OpenVINO tell of a full disk in their own ways.
        if shutil.disk_usage(folder).free < 2**20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


def _report(
    kind: str, job: Job, run: Run, step: int, file: Path, check: dict[str, Any]
) -> dict[str, Any]:
    record, scores = run.record, run.record.get("scores", {}).get("best", {})
    data = record["config"]["data"]
    note = record.get("weights", {}).get("note")
    versions = {"jaxseg": __version__, "python": platform.python_version()}
    for package in ("jax", "numpy", *FORMATS[kind].packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # tensorflow-cpu has several names
            continue
    report = {
        "format": kind,
        "report_format": REPORT_FORMAT,
        "file": FILES[kind],
        "network": record["model"],
        "dtype": "int8" if job.calibration else "float32",
        "hw": None if isinstance(job.hw, int) else list(job.hw),
        "multiple": job.hw if isinstance(job.hw, int) else size_multiple(job.model),
        "batch": job.batch,
        "output": job.output,
        "bytes": _size(file.parent),
        "sha256": _checksums(file.parent),
        "versions": versions,
        "check": check,
        "step": step,
        "scores": scores if scores.get("step") == step else {},
        "data": data["name"],
        "train_split": data["train_split"],
        "classes": record["classes"],
        "preprocess": record["preprocess"],
        "note": card.terms(note, data["name"]),
    }
    if kind == "onnx":
        from jaxseg.deploy.onnx_graph import OPSET

        report["opset"] = OPSET
    return report


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _explain(folder: Path, report: dict[str, Any]) -> None:
    """Writes what lies beside the exported file."""
    classes = report["classes"]
    texts = {
        "labels.txt": "\n".join(classes["names"]) + "\n",
        "palette.json": json.dumps(classes["palette"]) + "\n",
        REPORT: json.dumps(report, indent=1) + "\n",
        "README.md": card.card_of_export(report),
        "run_model.py": script(report["format"], report["hw"], report["output"]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
