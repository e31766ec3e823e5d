"""Draws the weights and inputs that the records were made with.

Every entry of an authors' state dict is drawn by a generator that is seeded with the
CRC-32 of its name, so that no weights are stored.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

CONVOLUTIONS = {
    "conv_weight",
    "depthwise_conv_weight",
    "grouped_conv_weight",
    "transposed_conv_weight",
}


def fill(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All entries in the order of the state dict.

    Raises:
        ValueError: this NumPy draws other numbers than the recorded ones.
    """
    weights = {}
    for entry in spec["entries"]:
        name = entry["name"]
        drawn = _draw(name, entry["kind"], tuple(entry["shape"]))
        if drawn.dtype == np.float64:
            drawn = (drawn * entry.get("gain", 1.0)).astype(np.float32)
        weights[name] = drawn
        found = zlib.crc32(drawn.tobytes())
        if found != entry.get("crc32", found):
            raise ValueError(f"{name}: not the numbers that were recorded.")
    return weights


def _draw(name: str, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    if kind == "bn_num_batches_tracked":
        return np.zeros(shape, np.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if kind in CONVOLUTIONS:
        transposed = kind == "transposed_conv_weight"  # (in, out, kh, kw)
        fan_in = np.prod(shape) // shape[1 if transposed else 0]
        return rng.standard_normal(shape) * math.sqrt(2 / fan_in)
    if kind in ("bn_weight", "bn_running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if kind == "prelu_weight":
        return rng.uniform(0.0, 0.5, shape)
    return rng.standard_normal(shape) * 0.1


def make_input(shape: Sequence[int]) -> np.ndarray:
    rng = np.random.default_rng(7)
    return rng.standard_normal(tuple(shape)).astype(np.float32)
