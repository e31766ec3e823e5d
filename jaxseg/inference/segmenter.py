"""A trained network with what its label maps mean: what `jaxseg.load` returns."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from PIL import Image

from jaxseg.data.pictures import read_rgb, resized, rgb_of
from jaxseg.deploy.engines import Engine, is_exported
from jaxseg.deploy.exported import open_export
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.inference.pictures import OPACITY, overlay
from jaxseg.inference.runtimes import AUTO, RUNTIMES, fastest, predictor_of
from jaxseg.models.sizes import SIZE_MULTIPLE
from jaxseg.runs import Run

Picture = np.ndarray | jax.Array | Image.Image | str | os.PathLike


class Segmenter:
    """Segments pictures of any size with a trained network.

    A picture is a path, a PIL image, or uint8 RGB `(h, w, 3)` of NumPy or JAX; arrays
    may be batches, `(b, h, w, 3)`. What comes back are NumPy arrays of its height and
    width. A program is compiled when a size first comes.

    Attributes:
        classes: the names of the classes `0..k-1`.
        palette: their colours, RGB.
        protocol: how the network was scored in training, with the score, or None.
        runtime: what computes labels, and of `auto` how long the others took.
    """

    def __init__(
        self,
        ckpt: str | os.PathLike,
        step: str | int = "best",
        size_step: int = SIZE_MULTIPLE,
        runtime: str = "xla",
    ) -> None:
        """Reads the weights.

        Args:
            ckpt: a run's folder, the name of weights that ship, or what export.py
                wrote. An export of one size sees every picture resized to that size.
            step: `best` by validation, `last`, or a number; of a run.
            size_step: see `Predictor`; of a run.
            runtime: `xla`, `onnxruntime`, `openvino`, or `auto`: the fastest one of
                those that are installed, for the first picture; of a run.

        Raises:
            UserError: there is no such run, checkpoint, export or runtime, or it cannot
                be read.
        """
        if runtime not in (*RUNTIMES, AUTO):
            known = ", ".join((*RUNTIMES, AUTO))
            raise UserError(f"there is no runtime {runtime!r}; there are: {known}.")
        self._size_step, self._network = size_step, None
        self._confident: Predictor | None = None
        self._find: Callable[[Any], Any] | None = None
        if is_exported(ckpt):
            exported = open_export(ckpt)
            engine = exported.engine()
            self.table, self.runtime = exported.table, engine.name
            self.protocol = None
            self._find = _whole(engine)
        else:
            run = Run(Path(ckpt).expanduser())
            variables, _ = run.variables(step)
            self.table, self.runtime = run.table, runtime
            best, self.protocol = run.record["scores"].get("best", {}), None
            if best.get("miou") is not None:  # converted weights have no score
                self.protocol = f"{best['miou']:.4f} mean IoU, {best['protocol']}"
            self._network = run.model(), variables, run.preprocess
            if runtime != AUTO:
                self._find = predictor_of(runtime, *self._network, size_step=size_step)
        self.classes, self.palette = self.table.names, self.table.palette

    def __call__(self, picture: Picture) -> np.ndarray:
        """Classes, uint8 `(h, w)`, or `(b, h, w)` of a batch."""
        image = _pixels(picture)
        if self._find is None:
            network = cast(tuple, self._network)
            self._find, took = fastest(
                np.asarray(image), *network, size_step=self._size_step
            )
            if took:
                times = [f"{name} {ms:.1f} ms" for name, ms in took.items()]
                self.runtime = f"{min(took, key=took.__getitem__)} ({', '.join(times)})"
            else:
                self.runtime = "xla, alone installed"
        return np.asarray(self._find(image))

    def confidence(self, picture: Picture) -> np.ndarray:
        """The softmax of each pixel's winner, uint8 `(h, w)`: 255 is certain.

        Raises:
            UserError: the network is an export, which has no confidence.
        """
        return self.labels_and_confidence(picture)[1]

    def labels_and_confidence(self, picture: Picture) -> tuple[np.ndarray, np.ndarray]:
        """Both, from one run of the network, by XLA; see `confidence`."""
        if self._network is None:
            raise UserError(
                "an export has no confidence; give the run that it was made of."
            )
        if self._confident is None:
            self._confident = Predictor(
                *self._network, "confidence", size_step=self._size_step
            )
        labels, confidence = self._confident(_pixels(picture))
        return np.asarray(labels), np.asarray(confidence)

    def overlay(self, picture: Picture, opacity: float = OPACITY) -> np.ndarray:
        """The picture under the colours of its classes, uint8 `(h, w, 3)`."""
        image = np.asarray(_pixels(picture))
        return overlay(image, self(image), self.table, opacity)


def _whole(engine: Engine) -> Callable[[Any], np.ndarray]:
    """Labels of pictures of any size, by an engine that may take one alone."""

    def find(image: np.ndarray | jax.Array) -> np.ndarray:
        image = np.asarray(image)
        if image.ndim == 4:
            return np.stack([find(one) for one in image])
        found = engine(resized(image, engine.hw or image.shape[:2])[None])[0]
        if engine.output == "logits":
            found = found.argmax(-1).astype(np.uint8)
        return resized(found, image.shape[:2], Image.Resampling.NEAREST)

    return find


def _pixels(picture: Picture) -> Any:
    if isinstance(picture, Image.Image):
        return rgb_of(picture)
    if isinstance(picture, str | os.PathLike):
        path = Path(picture).expanduser()
        return read_rgb(path, path)
    return picture
