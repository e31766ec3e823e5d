"""Pixels to label map, in one XLA program."""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.folding import Deployed, fold
from jaxseg.models import pad_to_multiple
from jaxseg.models.sizes import SIZE_MULTIPLE, padded_hw, size_multiple
from jaxseg.ops import (
    Lowering,
    Pair,
    compiler_options,
    deployed_lowering,
    hw_of,
    lowering,
    map_dtype,
    resize_bilinear,
)

OUTPUTS = ("labels", "logits")  # of graphs too
_OUTPUTS = (*OUTPUTS, "confidence")
_PROGRAMS_KEPT = 32  # most of their weights are shared, and are on the device once


def deploy(
    model: nn.Module, variables: Any, preprocess: Preprocess, hw: Pair
) -> tuple[Deployed, Any]:
    """`fold` for pictures of `hw`, which the network sees resized and padded."""
    seen = padded_hw(preprocess.network_hw(*hw), size_multiple(model))
    return fold(model, variables, seen)


def segment(
    model: Deployed | nn.Module,
    variables: Any,
    preprocess: Preprocess,
    image: jax.Array,
    output: str = "labels",
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """Classes, uint8 `(b, h, w)`, or logits `(b, h, w, k)` of uint8 `(b, h, w, 3)`.

    With `confidence` both classes and the softmax of the winner, uint8: 255 is 1.

    The picture is resized as `preprocess.input_scale` says. Height and width are padded
    at the bottom and right to multiples of the network's stride, and what comes out is
    cropped again. Where the picture was resized, the logits are enlarged to its size.

    Args:
        model, variables: from `deploy`, or the network that was trained.
        output: "labels", "logits" or "confidence".
    """
    image_hw = hw_of(image)
    hw = h, w = preprocess.network_hw(*image_hw)
    seen, resized = image, hw != image_hw
    if resized:
        seen = resize_bilinear(image.astype(jnp.float32), hw, align_corners=False)
    network = model.network if isinstance(model, Deployed) else model
    x = preprocess(pad_to_multiple(seen, size_multiple(network)))
    x = x.astype(map_dtype(model.dtype))
    labels = output == "labels"
    if isinstance(model, Deployed):
        model = model.clone(labels=labels and not resized)
    y = cast(jax.Array, model.apply(variables, x, train=False))[:, :h, :w]
    if resized:
        y = resize_bilinear(y, image_hw, align_corners=False)
    if output == "confidence":
        return jnp.argmax(y, -1).astype(jnp.uint8), _confidence(y)
    return jnp.argmax(y, -1).astype(jnp.uint8) if labels and y.ndim == 4 else y


def _confidence(logits: jax.Array) -> jax.Array:
    logits = logits.astype(jnp.float32)
    below = logits - logits.max(-1, keepdims=True)
    return jnp.round(255 / jnp.exp(below).sum(-1)).astype(jnp.uint8)


class Predictor:
    """Maps uint8 RGB pictures to uint8 class ids of the same height and width.

    Called with `(h, w, 3)` it returns `(h, w)`, with `(b, h, w, 3)` `(b, h, w)`. The
    network is folded and compiled when a size first comes; `program` does so before.
    Sizes that are the same once padded have one program.

    Args:
        output: "labels"; "logits" for float logits `(..., h, w, k)`; "confidence" for
            labels and the softmax of each pixel's winner, uint8 where 255 is 1.
        how: the lowering; None is `deployed_lowering`'s.
        size_step: h and w are padded to multiples of it, a multiple of 8, and of the
            network's stride (LiteSeg: 32, with Darknet19 16; the others: 8). With more
            than the stride there are fewer programs for pictures of many sizes, and
            labels that differ: near the bottom and right edges, and all over in
            networks that average the whole map (FPENet, LiteSeg). Of no effect where
            `preprocess` resizes pictures.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Any,
        preprocess: Preprocess,
        output: str = "labels",
        how: Lowering | None = None,
        size_step: int = SIZE_MULTIPLE,
    ) -> None:
        if output not in _OUTPUTS:
            raise ValueError(f"output must be one of {_OUTPUTS}, got {output!r}.")
        if size_step < SIZE_MULTIPLE or size_step % SIZE_MULTIPLE:
            raise ValueError(
                f"size_step must be a multiple of {SIZE_MULTIPLE}, got {size_step}."
            )
        self.output, self.how = output, how or deployed_lowering()
        self._model, self._preprocess = model, preprocess
        self._size_step = math.lcm(size_step, size_multiple(model))
        self._variables = jax.device_get(variables)
        self._weights: dict[Any, jax.Array] = {}  # of the last size, on the device
        self.program = lru_cache(_PROGRAMS_KEPT)(self._program)

    def _program(self, b: int, h: int, w: int) -> Callable[[jax.Array], jax.Array]:
        """The compiled program for `b` pictures of `h` x `w`, from device to device."""

        def run(variables, image):
            return segment(model, variables, self._preprocess, image, self.output)

        image = jax.ShapeDtypeStruct((b, h, w, 3), jnp.uint8)
        with lowering(self.how):
            model, variables = deploy(
                self._model, self._variables, self._preprocess, (h, w)
            )
            lowered = jax.jit(run).lower(variables, image)
        options = compiler_options(self._model.dtype)
        weights = jax.tree_util.tree_map_with_path(self._on_device, variables)
        return partial(lowered.compile(options), weights)

    def _on_device(self, path: Any, weight: np.ndarray) -> jax.Array:
        """The weight on the device, put there once for all sizes that share it."""
        kept = self._weights.get(path)
        if kept is None or not np.array_equal(kept, weight):
            kept = self._weights[path] = jax.device_put(weight)
        return kept

    def __call__(self, image: np.ndarray | jax.Array) -> Any:
        """The label map; raises `ValueError` for anything but uint8 RGB.

        A JAX array; of NumPy, for a picture of NumPy whose size is padded.
        """
        return call_padded(self.program, self._preprocess, self._size_step, image)


def call_padded(
    program: Callable[[int, int, int], Callable[[Any], Any]],
    preprocess: Preprocess,
    size_step: int,
    image: np.ndarray | jax.Array,
) -> Any:
    """Calls `program(b, h, w)` with `image`, padded, and crops what it returns.

    Pictures that `preprocess` resizes are not padded here: their size matters.
    """
    fits = image.ndim in (3, 4) and image.shape[-1] == 3 and image.size
    if image.dtype != np.uint8 or not fits:
        raise ValueError(
            "a picture must be uint8 (h, w, 3) or (b, h, w, 3) with at least one "
            f"pixel, got {image.dtype} {image.shape}."
        )
    batch = image[None] if image.ndim == 3 else image
    hw = h, w = batch.shape[1:3]
    seen = hw
    if preprocess.network_hw(h, w) == hw:
        seen = padded_hw(hw, size_step)
    if seen != hw:
        pad = np.pad if isinstance(batch, np.ndarray) else jnp.pad
        more = [(0, to - n) for n, to in zip(hw, seen)]
        batch = pad(batch, [(0, 0), *more, (0, 0)], "edge")
    y = program(len(batch), *seen)(batch)
    if seen != hw:
        if isinstance(batch, np.ndarray):  # JAX would compile a slice for each size
            y = jax.tree.map(np.asarray, y)
        y = jax.tree.map(lambda part: part[:, :h, :w], y)
    return jax.tree.map(lambda part: part[0], y) if image.ndim == 3 else y
