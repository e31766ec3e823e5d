"""What all runtimes are given: weights drawn or loaded, and pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from streets import draw_scene

_INPUTS = 4
_RANGES = {"scale": (0.5, 1.5), "var": (0.2, 3.0), "slope": (-0.2, 1.2)}


def draw_weights(model: nn.Module, seed: int = 0) -> dict[str, Any]:
    """Variables drawn at random, with batch statistics far from 0 and 1.

    Kernels have unit gain: with 1.5 times the variance FDDWNet's residual modules
    amplify the rounding of float32 to 6e-5 of the output by themselves.
    """
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    rng, values = np.random.default_rng(seed), {}
    for path, leaf in flatten_dict(shapes).items():
        if path[-1] == "kernel":
            value = rng.normal(0, np.prod(leaf.shape[:3]) ** -0.5, leaf.shape)
        elif path[-1] in _RANGES:
            value = rng.uniform(*_RANGES[path[-1]], leaf.shape)
        else:
            value = rng.normal(0, 0.3, leaf.shape)
        values[path] = value.astype(np.float32)
    return unflatten_dict(values)


def save_weights(folder: str, variables: Mapping[str, Any]) -> None:
    """Writes `weights.npz`, which `load_weights` reads."""
    np.savez(Path(folder) / "weights.npz", **flatten_dict(variables, sep="/"))


def load_weights(folder: str) -> dict[str, Any]:
    """The variables in `weights.npz`."""
    with np.load(Path(folder) / "weights.npz") as arrays:
        return unflatten_dict(dict(arrays), sep="/")


def draw_images(hw: tuple[int, int], batch: int) -> np.ndarray:
    """Batches of street scenes, uint8 `(4, batch, h, w, 3)`, all different."""
    h, w = hw
    drawn = max(64, h + -h % 8), max(128, w + -w % 8)  # what can be drawn
    scenes = [draw_scene(seed, drawn)[0][:h, :w] for seed in range(_INPUTS)]
    order = np.add.outer(np.arange(_INPUTS), np.arange(batch)) % _INPUTS
    return np.stack(scenes)[order]
