"""Prediction of picture files: overlay, palette PNG and legend beside each other."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg.errors import UserError
from jaxseg.inference.pictures import legend, overlay, save_indexed
from jaxseg.inference.predictor import Predictor
from jaxseg.runs import Run

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def predict_files(
    ckpt: str | os.PathLike,
    source: str | os.PathLike,
    output: str | os.PathLike,
    which: str | int = "best",
    progress: Callable[[Iterable[Path]], Iterable[Path]] = lambda paths: paths,
) -> list[Path]:
    """Segments a picture, or every picture of a folder, at its own size.

    For `a.png` it writes to `output`: `a_labels.png`, whose pixels are class ids shown
    in the class colours, and `a_overlay.png`; and once `legend.png`.

    Returns:
        The pictures that were segmented.

    Raises:
        UserError: no such run or checkpoint, nothing to read, a picture that cannot be
            read (after the others were segmented), or `output` cannot be written.
    """
    run = Run(ckpt)
    paths = find_pictures(Path(source))
    variables, _ = run.variables(which)
    predictor = Predictor(run.model(), variables, run.preprocess)
    folder, unreadable, present = Path(output), [], set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in progress(paths):
            try:
                image = np.asarray(Image.open(path).convert("RGB"))
            except (OSError, SyntaxError, ValueError) as error:
                unreadable.append(f"{path} ({error})")
                continue
            label = np.asarray(predictor(image))
            present |= set(np.unique(label).tolist())
            save_indexed(label, run.table, folder / f"{path.stem}_labels.png")
            blended = Image.fromarray(overlay(image, label, run.table))
            blended.save(folder / f"{path.stem}_overlay.png")
        if present:
            legend(run.table, sorted(present)).save(folder / "legend.png")
    except OSError as error:
        raise UserError(f"{folder} cannot be written to ({error.strerror}).") from error
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(paths)} pictures could not be read, the others "
            f"are in {folder}: {'; '.join(unreadable[:5])}."
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
    paths = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES)
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
