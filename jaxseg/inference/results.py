"""What is written for a picture that was segmented."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from jaxseg.data.classes import ClassTable
from jaxseg.data.pictures import MAKER, written_by
from jaxseg.errors import UserError
from jaxseg.inference.pictures import (
    OPACITY,
    colourise,
    legend,
    mark_unsure,
    overlay,
    save_indexed,
    save_png,
)

LEGEND = "legend.png"
_KINDS = ("labels", "overlay", "side_by_side", "palette", "ids", "confidence")
_ENDINGS = tuple(f"_{kind}.png" for kind in _KINDS)


@dataclass(frozen=True)
class Wanted:
    """What is written for a picture `a` beside `a_labels.png`.

    Attributes:
        overlay: opacity of the colours in `a_overlay.png`, 0..1; 0 leaves it out.
        side_by_side: `a_side_by_side.png`, the picture and its overlay.
        palette: `a_palette.png`, the colours of the classes in RGB.
        ids: `a_ids.png`, the values of the data set's own label files.
        confidence: `a_confidence.png`, the softmax of the winner, 255 is 1.
        unsure: where it is below this, 0..1, overlays show white stripes.
    """

    overlay: float = OPACITY
    side_by_side: bool = False
    palette: bool = False
    ids: bool = False
    confidence: bool = False
    unsure: float = 0.0

    @property
    def needs_confidence(self) -> bool:
        return self.confidence or self.unsure > 0

    def paths(self, name: PurePath, folder: Path) -> dict[str, Path]:
        """The files of the picture called `name`, by what they are."""
        kinds = [k for k in _KINDS if k == "labels" or getattr(self, k)]
        return {k: folder / name.with_name(f"{name.name}_{k}.png") for k in kinds}

    def looked_at(
        self,
        image: np.ndarray,
        label: np.ndarray,
        confidence: np.ndarray | None,
        table: ClassTable,
    ) -> np.ndarray:
        """The overlay, uint8 `(h, w, 3)`, with the picture on its left if so wanted."""
        shown = overlay(image, label, table, self.overlay or OPACITY)
        if self.unsure and confidence is not None:
            shown = mark_unsure(shown, confidence < 255 * self.unsure)
        return np.concatenate([image, shown], 1) if self.side_by_side else shown

    def write(
        self,
        paths: dict[str, Path],
        image: np.ndarray,
        label: np.ndarray,
        confidence: np.ndarray | None,
        table: ClassTable,
    ) -> None:
        """Writes the files that `paths` names, each of them whole."""
        paths["labels"].parent.mkdir(parents=True, exist_ok=True)
        if "palette" in paths:
            save_png(Image.fromarray(colourise(label, table)), paths["palette"])
        if "ids" in paths:
            save_png(Image.fromarray(table.of_files(label)), paths["ids"])
        if "confidence" in paths and confidence is not None:
            save_png(Image.fromarray(confidence), paths["confidence"])
        if {"overlay", "side_by_side"} & set(paths):
            shown = self.looked_at(image, label, confidence, table)
            if "side_by_side" in paths:
                save_png(Image.fromarray(shown), paths["side_by_side"])
            if "overlay" in paths:
                alone = shown[:, -image.shape[1] :]
                save_png(Image.fromarray(alone), paths["overlay"])
        # Last: where it is, all of them are.
        save_indexed(label, table, paths["labels"])


def write_legend(folder: Path, table: ClassTable, present: Iterable[int]) -> None:
    save_png(legend(table, sorted(present)), folder / LEGEND)


def is_ours(path: Path) -> bool:
    """Whether a file is one that is written here."""
    named = path.name.endswith((*_ENDINGS, LEGEND))
    return named and written_by(path) == MAKER


def refuse_to_replace(paths: Iterable[Path]) -> None:
    """Raises `UserError` if one of `paths` is there, and not ours."""
    for path in paths:
        if os.path.lexists(path) and not is_ours(path):
            raise UserError(
                f"{path} would be replaced, and predict.py did not write it; choose "
                "another --output."
            )
