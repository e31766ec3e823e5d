"""Label maps for the Cityscapes server: predicted, zipped, and checked once more."""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from jaxseg.data.pictures import read_indices
from jaxseg.data.sources import Cityscapes, check_split
from jaxseg.data.sources.cityscapes import LABEL_IDS
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.evaluation.data import source_of
from jaxseg.runs import Run

_SERVER_WANTS = {"test": 1525}  # pictures


def shortfall(split: str, count: int) -> str | None:
    """A sentence where `count` pictures of `split` are not what the server takes."""
    if count == _SERVER_WANTS.get(split):
        return None
    wanted = " or ".join(f"all {n} pictures of {s}" for s, n in _SERVER_WANTS.items())
    return f"This is no submission: the server wants {wanted}."


def write_submission(
    ckpt: str | os.PathLike,
    split: str,
    which: str | int,
    data_dir: str | None,
    path: str | os.PathLike,
) -> int:
    """Writes label ids of every picture of `split` to the zip file `path`.

    One 8-bit PNG of 2048x1024 a picture, `<city>_<sequence>_<frame>_labelIds.png`. The
    file is opened again and checked before it has its name.

    Returns:
        The number of pictures.

    Raises:
        UserError: the run was not trained on Cityscapes; no such run, checkpoint, split
            or data; `path` cannot be written.
    """
    run = Run(ckpt)
    data = run.record["config"]["data"]
    if data["name"] != Cityscapes.name:
        raise UserError(
            f"{ckpt} was trained on {data['name']}; the server takes Cityscapes alone."
        )
    source = source_of(run, data_dir)
    check_split(source, split, labelled=False)
    predict = Predictor(run.model(), run.variables(which)[0], run.preprocess)
    names = source.ids(split)
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    to_label_id = np.array(LABEL_IDS, np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # PNG compresses by itself.
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for name in track(names, f"Predicting {split}", transient=True):
                image, _ = source.read(split, name)
                png = io.BytesIO()
                label = to_label_id[np.asarray(predict(image))]
                Image.fromarray(label).save(png, "PNG")
                archive.writestr(f"{name}_labelIds.png", png.getvalue())
        check_submission(unfinished, names, source.hw)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error
    return len(names)


def check_submission(path: Path, names: Sequence[str], hw: tuple[int, int]) -> None:
    """Raises `UserError` unless the zip holds what the server takes, and all of it."""
    known = set(LABEL_IDS)
    with zipfile.ZipFile(path) as archive:
        members = sorted(archive.namelist())
        if members != sorted(f"{name}_labelIds.png" for name in names):
            raise UserError(
                f"{path} holds {len(members)} files that are not one a picture."
            )
        for member in track(members, "Checking", transient=True):
            with archive.open(member) as file:
                label = read_indices(file, member)
            if label.shape != hw or label.dtype != np.uint8:
                raise UserError(f"{path}: {member} is {label.dtype} {label.shape}.")
            wrong = set(np.unique(label).tolist()) - known
            if wrong:
                raise UserError(f"{path}: {member} holds {sorted(wrong)}, no label id.")
