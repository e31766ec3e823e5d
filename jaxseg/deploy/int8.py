"""ONNX graphs with convolutions of 8-bit integers, by onnxruntime's quantiser."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.deploy.engines import require


def quantize(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Replaces the ONNX file at `path` by its quantised form.

    Weights have a scale per channel; the ranges of maps are those that occur on
    `pictures`. What is no convolution stays float32, so that the choice of the class is
    made of logits that are not rounded.

    Args:
        pictures: uint8 `(h, w, 3)` each, of the size that the graph takes.

    Raises:
        UserError: a package is missing.
    """
    quantization = require("onnxruntime.quantization", "onnx")
    shape_inference = require("onnxruntime.quantization.shape_inference", "onnx")

    base: Any = quantization.CalibrationDataReader

    class Reader(base):
        def __init__(self) -> None:
            self._inputs: Iterator[np.ndarray] = iter(pictures)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._inputs, None)
            return None if image is None else {"image": image[None]}

    prepared = path.with_suffix(".prepared")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # of nodes that it leaves as they are it warns
    try:
        shape_inference.quant_pre_process(
            str(path), str(prepared), skip_symbolic_shape=True
        )
        quantization.quantize_static(
            str(prepared),
            str(path),
            Reader(),
            per_channel=True,
            op_types_to_quantize=["Conv"],
        )
    finally:
        root.setLevel(level)
        prepared.unlink(missing_ok=True)
