"""Prediction of picture files: overlay, palette PNG and legend beside each other."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg.data.pictures import MAKER, SUFFIXES, list_pictures, read_rgb, written_by
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.inference.pictures import legend, overlay, save_indexed, save_png
from jaxseg.models import SIZE_MULTIPLE
from jaxseg.runs import Run

_LABELS, _OVERLAY, _LEGEND = "_labels.png", "_overlay.png", "legend.png"


def predict_files(
    ckpt: str | os.PathLike,
    source: str | os.PathLike,
    output: str | os.PathLike,
    which: str | int = "best",
    progress: Callable[[Iterable[Path]], Iterable[Path]] = lambda paths: paths,
    size_step: int = SIZE_MULTIPLE,
) -> list[Path]:
    """Segments a picture, or every picture of a folder, at its own size.

    For `a.png` it writes to `output`: `a_labels.png`, whose pixels are class ids shown
    in the class colours, and `a_overlay.png`; and once `legend.png`. Files of those
    names are replaced only where this function wrote them, and never segmented.

    Args:
        which: `best`, `last` or a step.
        progress: wraps the pictures, to show a bar.
        size_step: see `Predictor`.

    Returns:
        The pictures that were segmented.

    Raises:
        UserError: no such run or checkpoint, nothing to read, a file of another maker
            where one would be written, a picture that cannot be read (after the others
            were segmented), or `output` cannot be written.
    """
    run = Run(Path(ckpt).expanduser())
    paths = find_pictures(Path(source).expanduser())
    folder, unreadable, present = Path(output).expanduser(), [], set()
    _refuse_to_replace(paths, folder)
    variables, _ = run.variables(which)
    predictor = Predictor(run.model(), variables, run.preprocess, size_step=size_step)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in progress(paths):
            try:
                image = read_rgb(path, path)
            except UserError as error:
                unreadable.append(str(error))
                continue
            label = np.asarray(predictor(image))
            present |= set(np.unique(label).tolist())
            save_indexed(label, run.table, folder / f"{path.stem}{_LABELS}")
            blended = Image.fromarray(overlay(image, label, run.table))
            save_png(blended, folder / f"{path.stem}{_OVERLAY}")
        if present:
            save_png(legend(run.table, sorted(present)), folder / _LEGEND)
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror}).") from error
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(paths)} pictures could not be read, the others "
            f"are in {folder}. {' '.join(unreadable[:5])}"
        )
    return paths


def find_pictures(source: Path) -> list[Path]:
    """The picture `source`, or the pictures in the folder `source`, sorted.

    Raises:
        UserError: there is none, or two of them differ in their suffix alone.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"there is no picture or folder {source}.")
    paths = [path for path in list_pictures(source) if not _is_ours(path)]
    if not paths:
        raise UserError(f"{source} holds no pictures ({', '.join(SUFFIXES)}).")
    stems = [path.stem for path in paths]
    twice = next((stem for stem in stems if stems.count(stem) > 1), None)
    if twice is not None:
        raise UserError(
            f"{source} holds more than one picture called {twice}; their label maps "
            "would have the same name: rename one."
        )
    return paths


def _is_ours(path: Path) -> bool:
    """Whether a file is what `predict_files` wrote."""
    named = path.name.endswith((_LABELS, _OVERLAY, _LEGEND))
    return named and written_by(path) == MAKER


def _refuse_to_replace(paths: list[Path], folder: Path) -> None:
    names = [f"{path.stem}{kind}" for path in paths for kind in (_LABELS, _OVERLAY)]
    for path in (folder / name for name in (*names, _LEGEND)):
        if os.path.lexists(path) and not _is_ours(path):
            raise UserError(
                f"{path} would be replaced, and predict.py did not write it; choose "
                "another --output."
            )
