"""Convolutions with fewer multiplications, after Winograd.

Four neighbouring outputs of k taps are a product of k + 3 transformed inputs with as
many transformed weights, transformed back: 6 multiplications for 12 with 3 taps, 36 for
144 with 3x3, 8 for 20 with 5 taps. The transforms are sums of a few shifted maps, and
what is between them is one batched matrix product. Source: Lavin and Gray,
arXiv:1509.09308.
"""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxseg.ops.types import Geometry, Pair, total

TILE = 4  # outputs
# Where the polynomials behind the algorithm are evaluated, beside 0 and infinity: at
# these and their negatives. Of pairs and triples of 12 small fractions the ones with
# the least error in float32: for 3x3 with 512 channels 2.1e-6 of the largest output,
# where the usual 1 and 2 have 9.7e-6 and the plain sum 0.7e-6.
POINTS = {3: (2 / 3, 3 / 2), 5: (1 / 2, 1.0, 2.0)}


@cache
def matrices(taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrices that transform inputs `(t, t)`, weights `(t, taps)`, back `(TILE, t)`.

    float64; t is `TILE + taps - 1`. With x the t inputs, w the taps, and the products
    element by element, outputs are `back @ ((weights @ w) * (inputs @ x))`.
    """
    points = [0.0, *(sign * p for p in POINTS[taps] for sign in (1, -1))]

    def evaluate(coefficients: int) -> np.ndarray:
        at_infinity = np.eye(coefficients)[-1:]
        return np.concatenate([np.vander(points, coefficients, True), at_infinity])

    inputs = np.linalg.inv(evaluate(TILE + taps - 1)).T
    # About half are zeros, which rounding leaves at 1e-16.
    inputs = np.where(abs(inputs) < 1e-9, 0.0, inputs)
    return inputs, evaluate(taps), evaluate(TILE).T


@partial(
    jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["taps"]
)
@dataclass(frozen=True)
class Tiles:
    """A kernel as `convolve` takes it.

    Attributes:
        weights: `(t, ci, co)`, t products for every tile of outputs.
        taps: kh, kw of the kernel; each 1 or a key of `POINTS`.
    """

    weights: np.ndarray | jax.Array
    taps: Pair


def transform_kernel(kernel: np.ndarray | jax.Array) -> Tiles:
    """Transforms `(kh, kw, ci, co)` in its own dtype, on the host if it is NumPy's."""
    taps = kernel.shape[0], kernel.shape[1]
    xp = jnp if isinstance(kernel, jax.Array) else np
    for axis, k in enumerate(taps):
        if k > 1:
            weights = xp.asarray(matrices(k)[1], kernel.dtype)
            kernel = xp.moveaxis(xp.tensordot(weights, kernel, (1, axis)), 0, axis)
    # The columns' transform comes last and makes the first axis.
    return Tiles(kernel.swapaxes(0, 1).reshape(-1, *kernel.shape[2:]), taps)


# Of its own jit, so that convolutions of the same shapes are traced once.
@partial(jax.jit, static_argnums=(2, 3))
def convolve(x: jax.Array, tiles: Tiles, dilation: Pair, margin: Pair) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `margin` zeros a side, stride 1."""
    pads, out_hw = [(0, 0)] * 4, []
    axes = [axis for axis in (1, 2) if tiles.taps[axis - 1] > 1]
    for axis, k, d, before in zip((1, 2), tiles.taps, dilation, margin):
        n = x.shape[axis]
        out_hw.append(n + 2 * before - d * (k - 1))
        # Where an axis is transformed one more tile, for the last ones to read.
        span = TILE * d
        whole = (-(-out_hw[-1] // span) + 1) * span if k > 1 else n + 2 * before
        pads[axis] = before, whole - n - before
    z = lax.optimization_barrier(jnp.pad(x, pads))
    for axis in axes:
        z = _analyse(z, axis - 4, tiles.taps[axis - 1], dilation[axis - 1])
    leading, pixels = z.shape[: len(axes)], z.shape[len(axes) : -1]
    z = lax.dot_general(
        z.reshape(len(tiles.weights), -1, x.shape[-1]),
        tiles.weights,
        (((2,), (1,)), ((0,), (0,))),
    )
    z = z.reshape(*leading, *pixels, -1)
    for axis in reversed(axes):
        z = lax.optimization_barrier(z)
        z = _synthesise(z, axis - 4, tiles.taps[axis - 1], dilation[axis - 1])
    return z[:, : out_hw[0], : out_hw[1]]


def _combine(coefficients: np.ndarray, maps: list[jax.Array]) -> jax.Array:
    return total(float(c) * z for c, z in zip(coefficients, maps) if c)


def _analyse(z: jax.Array, axis: int, taps: int, dilation: int) -> jax.Array:
    """Transforms inputs along `axis`: `(..., n + 4d, ...)` to `(t, ..., n / 4, ...)`.

    The last tile is only there to be read by the one before.
    """
    before, after = z.shape[:axis], z.shape[axis:][1:]
    count = z.shape[axis] // (TILE * dilation) - 1
    z = z.reshape(*before, count + 1, TILE, dilation, *after)
    axis = len(before)
    inputs = matrices(taps)[0]
    seen = [
        lax.index_in_dim(
            lax.slice_in_dim(z, j // TILE, j // TILE + count, axis=axis),
            j % TILE,
            axis + 1,
            keepdims=False,
        )
        for j in range(len(inputs))
    ]
    z = jnp.stack([_combine(row, seen) for row in inputs])
    z = z.reshape(len(inputs), *before, count * dilation, *after)
    return lax.optimization_barrier(z)


def _synthesise(z: jax.Array, axis: int, taps: int, dilation: int) -> jax.Array:
    """Transforms products back: `(t, ..., n / 4, ...)` to `(..., n, ...)`.

    All outputs of a tile by one formula, with the coefficients as arrays: a stack of
    four is computed value by value by XLA:CPU where something follows it.
    """
    before, after = z.shape[1:axis], z.shape[axis:][1:]
    z = z.reshape(len(z), *before, -1, 1, dilation, *after)
    columns = matrices(taps)[2].T.reshape(len(z), TILE, 1, *[1] * len(after))
    outputs = sum(jnp.asarray(c, z.dtype) * x for c, x in zip(columns, z))
    return outputs.reshape(*before, -1, *after)


def convolution(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    tiles = transform_kernel(kernel)
    return convolve(x, tiles, geometry.dilation, geometry.margin)


def tiles_of(kernel: np.ndarray, dtype: DTypeLike) -> Tiles:
    """A constant kernel, transformed in its own precision and then rounded."""
    return jax.tree.map(lambda v: v.astype(dtype), transform_kernel(kernel))
