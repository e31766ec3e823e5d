"""Bilinear resizing and adaptive pooling of maps, as PyTorch computes them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]


def resize_bilinear(x: jax.Array, hw: Pair, *, align_corners: bool) -> jax.Array:
    """Interpolates `(b, h, w, c)` to `(b, *hw, c)`; sizes that fit are left alone.

    Output pixel i looks at `i * (n - 1) / (m - 1)` with `align_corners`, else at
    `(i + 0.5) * n / m - 0.5`, cut to the image; a lone pixel is repeated. Source:
    torch.nn.functional.interpolate.
    """
    for axis, size in ((1, hw[0]), (2, hw[1])):
        if x.shape[axis] != size:
            x = _interpolate((axis, x.shape[axis], size, align_corners), x)
    return x


def _neighbours(size: int, new_size: int, align_corners: bool):
    """Indices of the two neighbours of every output pixel, and the second's share."""
    i = np.arange(new_size)
    if align_corners:
        source = i * ((size - 1) / max(new_size - 1, 1))
    else:
        source = np.clip((i + 0.5) * (size / new_size) - 0.5, 0, size - 1)
    low = np.minimum(source.astype(np.int32), size - 1)
    return low, np.minimum(low + 1, size - 1), (source - low).astype(np.float32)


# Autodiff would scatter, pixel by pixel on a CPU; the gradient is one matrix product.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _interpolate(geometry, x):
    axis, *sizes = geometry
    low, high, share = _neighbours(*sizes)
    share = share.reshape([-1 if a == axis else 1 for a in range(4)]).astype(x.dtype)
    first, second = jnp.take(x, low, axis), jnp.take(x, high, axis)
    return first + (second - first) * share


def _interpolate_fwd(geometry, x):
    return _interpolate(geometry, x), None


def _interpolate_bwd(geometry, _, g):
    axis, size, *_ = geometry
    low, high, share = _neighbours(*geometry[1:])
    matrix = np.zeros((len(low), size), np.float32)
    np.add.at(matrix, (np.arange(len(low)), low), 1 - share)
    np.add.at(matrix, (np.arange(len(low)), high), share)
    return (_along(axis, matrix, g),)


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
