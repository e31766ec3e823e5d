"""Bilinear resizing and adaptive pooling of maps, as PyTorch computes them."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.ops.dispatch import named, operation
from jaxseg.ops.maps import computed_once
from jaxseg.ops.types import Pair, as_array


def resize_bilinear(x: jax.Array, hw: Pair, *, align_corners: bool) -> jax.Array:
    """Interpolates `(b, h, w, c)` to `(b, *hw, c)`; sizes that fit are left alone.

    Output pixel i reads position `i * (n - 1) / (m - 1)` with `align_corners`, else
    `(i + 0.5) * n / m - 0.5`, clipped to the image; a single pixel is repeated. Source:
    torch.nn.functional.interpolate.
    """

    @named("resize_align_corners" if align_corners else "resize_half_pixel")
    def resize(x):
        for axis, size in ((1, hw[0]), (2, hw[1])):
            if x.shape[axis] != size:
                spec = Interpolation(axis, x.shape[axis], size, align_corners)
                x = _interpolate(spec, x)
        return x

    return resize(as_array(x))


@operation
def resize_labels(logits: jax.Array, hw: Pair, align_corners: bool) -> jax.Array:
    """The classes of the largest of the resized logits: uint8 `(b, *hw)`."""
    logits = resize_bilinear(logits, hw, align_corners=align_corners)
    return jnp.argmax(logits, -1).astype(jnp.uint8)


class Interpolation(NamedTuple):
    """One axis of a map, brought from one size to another."""

    axis: int
    size: int
    new_size: int
    align_corners: bool


def is_near_to_whole(spec: Interpolation, x: jax.Array) -> bool:
    """True if `shifted` can interpolate so: see `_steps`."""
    return bool(_steps(*spec[1:]))


def shifted(spec: Interpolation, x: jax.Array) -> jax.Array:
    """Interpolates by slices, where XLA:CPU would gather by pixel."""
    steps, axis, size, m = _steps(*spec[1:]), spec.axis, spec.size, _FARTHEST
    wide = jnp.pad(x, [(m, m) if a == axis else (0, 0) for a in range(4)], "edge")
    wide = computed_once(wide)
    phases = [
        sum(
            lax.slice_in_dim(wide, m + o, m + o + size, axis=axis)
            * _spread(share, 3 - axis, x.dtype)
            for o, share in step
        )
        for step in steps
    ]
    shape = (*x.shape[:axis], -1, *x.shape[axis + 1 :])
    y = jnp.stack(phases, axis + 1).reshape(shape)
    return lax.slice_in_dim(y, 0, spec.new_size, axis=axis)


# For each of the pixels that a pixel becomes, which neighbours it is interpolated from:
# `[(offset, share of every source pixel)]`.
Steps = list[list[tuple[int, np.ndarray]]]
_FARTHEST = 2  # beyond which the shifts are too many to be fast


@cache
def _steps(size: int, new_size: int, align_corners: bool) -> Steps:
    """Interpolation as shifts: new pixel `q * factor + p` looks at `q + offset`.

    Empty where the sizes are in no ratio near to a whole one.
    """
    factor = -(-new_size // size)
    steps = []
    for p in range(factor):
        # What is beyond the last new pixel will be cut off.
        new = np.minimum(np.arange(size) * factor + p, new_size - 1)
        source = _sources(new, size, new_size, align_corners)
        low = np.floor(source)
        shares: dict[int, np.ndarray] = {}
        for q, (at, t) in enumerate(zip(low.astype(int), source - low)):
            for offset, part in ((at - q, 1 - t), (at + 1 - q, t)):
                if part:
                    row = shares.setdefault(int(offset), np.zeros(size, np.float32))
                    row[q] += part
        if max(map(abs, shares)) > _FARTHEST:
            return []
        steps.append(sorted(shares.items()))
    return steps


def labels_are_near_to_whole(logits: jax.Array, hw: Pair, align_corners: bool) -> bool:
    """True if `labels_by_phases` can resize so: see `_steps`."""
    sizes = zip(logits.shape[1:3], hw)
    return all(_steps(n, new, align_corners) for n, new in sizes)


def labels_by_phases(logits: jax.Array, hw: Pair, align_corners: bool) -> jax.Array:
    """Rows first, then columns and the running maximum, one phase after the other."""
    b, h, w, k = logits.shape
    down = _steps(h, hw[0], align_corners)
    across = _steps(w, hw[1], align_corners)
    m = _FARTHEST
    z = logits.transpose(0, 3, 1, 2)
    z = jnp.pad(z, [(0, 0), (0, 0), (m, m), (m, m)], "edge")
    rows = [
        sum(
            z[:, :, m + o : m + o + h] * _spread(share, 1, z.dtype) for o, share in step
        )
        for step in down
    ]
    z = jnp.stack(rows, 3).reshape(b, k, -1, w + 2 * m)[:, :, : hw[0]]
    z = computed_once(z)

    def phase(step):
        shares = [(o, _spread(share, 0, z.dtype)) for o, share in step]

        def logit(i):
            return sum(z[:, i, :, m + o : m + o + w] * share for o, share in shares)

        best = logit(0)
        label = jnp.zeros(best.shape, jnp.int32)
        for i in range(1, k):
            value = logit(i)
            label = jnp.where(value > best, i, label)
            best = jnp.maximum(value, best)
        return label.astype(jnp.uint8)

    columns = jnp.stack([phase(step) for step in across], -1)
    return columns.reshape(b, hw[0], -1)[:, :, : hw[1]]


def _spread(share: np.ndarray, more_axes: int, dtype: Any) -> jax.Array:
    """A share as a factor: one number if all pixels have the same."""
    if (share == share[0]).all():
        return jnp.asarray(share[0], dtype)
    return jnp.asarray(share.reshape(-1, *[1] * more_axes), dtype)


def _sources(i: np.ndarray, size: int, new_size: int, align_corners: bool):
    """The positions that output pixels look at; off the image, at its edge."""
    if align_corners:
        return i * ((size - 1) / max(new_size - 1, 1))
    return (i + 0.5) * (size / new_size) - 0.5


def _neighbours(size: int, new_size: int, align_corners: bool):
    """Indices of the two neighbours of every output pixel, and the second's share."""
    source = _sources(np.arange(new_size), size, new_size, align_corners)
    source = np.clip(source, 0, size - 1)
    low = np.minimum(source.astype(np.int32), size - 1)
    return low, np.minimum(low + 1, size - 1), (source - low).astype(np.float32)


@operation
def interpolate(spec: Interpolation, x: jax.Array) -> jax.Array:
    low, high, share = _neighbours(*spec[1:])
    share = share.reshape([-1 if a == spec.axis else 1 for a in range(4)])
    first, second = jnp.take(x, low, spec.axis), jnp.take(x, high, spec.axis)
    return first + (second - first) * share.astype(x.dtype)


# Autodiff would scatter, pixel by pixel on a CPU; the gradient is one matrix product.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _interpolate(spec, x):
    return interpolate(spec, x)


def _interpolate_fwd(spec, x):
    return _interpolate(spec, x), None


def _interpolate_bwd(spec, _, g):
    low, high, share = _neighbours(*spec[1:])
    matrix = np.zeros((len(low), spec.size), np.float32)
    np.add.at(matrix, (np.arange(len(low)), low), 1 - share)
    np.add.at(matrix, (np.arange(len(low)), high), share)
    return (_along(spec.axis, matrix, g),)


_interpolate.defvjp(_interpolate_fwd, _interpolate_bwd)


def _along(axis: int, matrix: np.ndarray, x: jax.Array) -> jax.Array:
    """Contracts rows (axis 1) or columns (2) of `x` with the rows of `matrix`."""
    terms = "bmwc,mn->bnwc" if axis == 1 else "bhmc,mn->bhnc"
    return jnp.einsum(terms, x, jnp.asarray(matrix, x.dtype))


def adaptive_avg_pool(x: jax.Array, bins: int) -> jax.Array:
    """Means of `bins` x `bins` overlapping tiles: `(b, h, w, c) -> (b, n, n, c)`.

    Tile i covers pixels `floor(i * size / n)` to `ceil((i + 1) * size / n)`. Source:
    torch.nn.AdaptiveAvgPool2d.
    """
    for axis in (1, 2):
        size, matrix = x.shape[axis], np.zeros((x.shape[axis], bins), np.float32)
        for i in range(bins):
            start, stop = i * size // bins, -(-(i + 1) * size // bins)
            matrix[start:stop, i] = 1 / (stop - start)
        x = _along(axis, matrix, x)
    return x
