"""A trained network with what its label maps mean: what `jaxseg.load` returns."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from jaxseg.data.pictures import read_rgb, rgb_of
from jaxseg.deploy.predictor import Predictor
from jaxseg.inference.pictures import OPACITY, overlay
from jaxseg.models.sizes import SIZE_MULTIPLE
from jaxseg.runs import Run

Picture = np.ndarray | jax.Array | Image.Image | str | os.PathLike


class Segmenter:
    """Segments pictures of any size with the network of a run, or with one that ships.

    A picture is a path, a PIL image, or uint8 RGB `(h, w, 3)` of NumPy or JAX; arrays
    may be batches, `(b, h, w, 3)`. What comes back are NumPy arrays of its height and
    width. A program is compiled when a size first comes.

    Attributes:
        classes: the names of the classes `0..k-1`.
        palette: their colours, RGB.
        protocol: how the network was scored in training, with the score, or None.
    """

    def __init__(
        self,
        ckpt: str | os.PathLike,
        step: str | int = "best",
        size_step: int = SIZE_MULTIPLE,
    ) -> None:
        """Reads the weights.

        Args:
            ckpt: a run's folder, or the name of weights that ship.
            step: `best` by validation, `last`, or a number.
            size_step: see `Predictor`.

        Raises:
            UserError: there is no such run or checkpoint, or it cannot be read.
        """
        run = Run(Path(ckpt).expanduser())
        variables, _ = run.variables(step)
        self.table = run.table
        self.classes, self.palette = run.table.names, run.table.palette
        best = run.record["scores"].get("best")
        self.protocol = best and f"{best['miou']:.4f} mean IoU, {best['protocol']}"
        self._arguments = run.model(), variables, run.preprocess
        self._size_step = size_step
        self._predictors: dict[str, Predictor] = {}

    def __call__(self, picture: Picture) -> np.ndarray:
        """Classes, uint8 `(h, w)`, or `(b, h, w)` of a batch."""
        return np.asarray(self._predictor("labels")(_pixels(picture)))

    def confidence(self, picture: Picture) -> np.ndarray:
        """The softmax of each pixel's winner, uint8 `(h, w)`: 255 is certain."""
        return self.labels_and_confidence(picture)[1]

    def labels_and_confidence(self, picture: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Both, from one run of the network."""
        labels, confidence = self._predictor("confidence")(_pixels(picture))
        return np.asarray(labels), np.asarray(confidence)

    def overlay(self, picture: Picture, opacity: float = OPACITY) -> np.ndarray:
        """The picture under the colours of its classes, uint8 `(h, w, 3)`."""
        image = np.asarray(_pixels(picture))
        return overlay(image, self(image), self.table, opacity)

    def _predictor(self, output: str) -> Predictor:
        if output not in self._predictors:
            self._predictors[output] = Predictor(
                *self._arguments, output, size_step=self._size_step
            )
        return self._predictors[output]


def _pixels(picture: Picture) -> Any:
    if isinstance(picture, Image.Image):
        return rgb_of(picture)
    if isinstance(picture, str | os.PathLike):
        path = Path(picture).expanduser()
        return read_rgb(path, path)
    return picture
