"""The weights of several layers, combined into those of one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Weights = Mapping[str, Any]  # of a block: name -> float64 array, or the same of a part


def affine(norm: Weights, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Gain and shift of a batch norm in evaluation: `x * gain + shift`."""
    gain = norm["scale"] / np.sqrt(norm["var"] + eps)
    return gain, norm["bias"] - norm["mean"] * gain


def then_norm(conv: Weights, norm: Weights, eps: float) -> Weights:
    """A convolution and the batch norm behind it, as one convolution."""
    gain, shift = affine(norm, eps)
    bias = conv.get("bias", 0.0) * gain + shift
    return {"kernel": conv["kernel"] * gain, "bias": bias}


def block_diagonal(kernel: np.ndarray, groups: int) -> np.ndarray:
    """The matrix `(ci, co)` of a 1x1 convolution in groups, `(ci / groups, co)`."""
    ci, co = kernel.shape
    rows, columns = np.arange(ci * groups) // ci, np.arange(co) // (co // groups)
    return np.tile(kernel, (groups, 1)) * (rows[:, None] == columns)
