"""Convolutions as matrix products."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxseg.ops.maps import Parts, computed_once, padded
from jaxseg.ops.taps import side_by_side, tap_views
from jaxseg.ops.textbook import NHWC
from jaxseg.ops.types import Pair, as_array


def operand(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`x` as a matrix product reads it.

    Integer arithmetic rounds float32 to bfloat16 twice as fast as XLA:CPU's own
    conversion. It ignores NaN, and rounds ties up.
    """
    if x.dtype != jnp.float32 or dtype != jnp.bfloat16:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x, jnp.uint32) + jnp.uint32(0x8000)
    upper = lax.shift_right_logical(bits, jnp.uint32(16)).astype(jnp.uint16)
    return lax.bitcast_convert_type(upper, jnp.bfloat16)


def dot(x: jax.Array, matrix: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Products of `(..., ci)` with `(ci, co)`, summed in float32, by default as `x`."""
    y = lax.dot_general(
        operand(x, matrix.dtype).reshape(-1, x.shape[-1]),
        matrix,
        (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return y.reshape(*x.shape[:-1], -1).astype(dtype or x.dtype)


def pointwise(geometry, x, kernel, groups):
    matrix = kernel[0, 0]
    if isinstance(x, Parts) and groups == 1:
        return sum(map(dot, map(as_array, x.maps), x.split(matrix)))
    x = as_array(x)
    if groups == 1:
        return dot(x, matrix)
    b, h, w, ci = x.shape
    matrix = matrix.reshape(ci // groups, groups, -1).swapaxes(0, 1)
    y = lax.dot_general(
        operand(x, matrix.dtype).reshape(-1, groups, ci // groups),
        matrix,
        (((2,), (1,)), ((1,), (0,))),
        preferred_element_type=jnp.float32,
    )
    return y.swapaxes(0, 1).reshape(b, h, w, -1).astype(x.dtype)


def product_a_tap(geometry, x, kernel, groups):
    """One product computes each pixel's contribution to every tap.

    The contributions are shifted and added. With a stride there is one product for each
    phase (at stride 2: even and odd rows and columns) and the taps that read it.
    """
    stride, dilation, margin = geometry
    kh, kw, ci, co = kernel.shape
    wide = padded(x, margin)
    h, w = geometry.output_hw(x.shape[1:3], (kh, kw))
    taps: dict[Pair, list[tuple[int, int, jax.Array]]] = {}  # of each phase
    for i, j in np.ndindex(kh, kw):
        (top, py), (left, px) = (
            divmod(at * d, stride) for at, d in zip((i, j), dilation)
        )
        taps.setdefault((py, px), []).append((top, left, kernel[i, j]))
    total: jax.Array | int = 0
    for (py, px), group in taps.items():
        matrix = jnp.concatenate([weight for *_, weight in group], -1)
        shares = dot(wide[:, py::stride, px::stride], matrix)
        for n, (top, left, _) in enumerate(group):
            start = (0, top, left, n * co)
            stop = (shares.shape[0], top + h, left + w, (n + 1) * co)
            total += lax.slice(shares, start, stop)
    return total


def stacked(geometry, x, kernel, groups):
    """Taps are copied beside each other, as operands of one product.

    With a stride all taps are; without one the taps of a row, and the rows' results are
    added.
    """
    stride, dilation, margin = geometry
    kh, kw, ci, co = kernel.shape
    wide = computed_once(operand(padded(x, margin), kernel.dtype))
    h, w = geometry.output_hw(x.shape[1:3], (kh, kw))
    if stride > 1:
        seen = side_by_side(tap_views(geometry, (kh, kw), (h, w), wide), kw)
        return dot(computed_once(seen), kernel.reshape(-1, co), x.dtype)
    row_taps = tap_views(geometry, (1, kw), (wide.shape[1], w), wide)
    matrix = kernel.transpose(1, 2, 0, 3).reshape(-1, kh * co)
    shares = dot(computed_once(side_by_side(row_taps, kw)), matrix, x.dtype)
    rows = jnp.split(shares, kh, -1)
    starts = range(0, kh * dilation[0], dilation[0])
    return sum(row[:, top : top + h] for top, row in zip(starts, rows))


def stem(geometry, x, kernel, groups):
    """3x3 of few channels, as one product for four neighbouring pixels."""
    x = as_array(x)
    b, h, w, c = x.shape
    n, groups = 4, -(-w // 4)
    wide = jnp.pad(x, [(0, 0), (1, 1), (1, (groups + 1) * n - w - 1), (0, 0)])
    wide = computed_once(wide.reshape(b, h + 2, groups + 1, n * c))
    seen = [
        part
        for row in (wide[:, i : i + h] for i in range(3))
        for part in (row[:, :, :-1], row[:, :, 1:, : 2 * c])
    ]
    shifted = [
        jnp.pad(kernel, [(0, 0), (i, n - 1 - i), (0, 0), (0, 0)]) for i in range(n)
    ]
    matrix = jnp.stack(shifted, 3).reshape(3 * (n + 2) * c, -1)
    y = dot(jnp.concatenate(seen, -1), matrix)
    return y.reshape(b, h, groups * n, -1)[:, :, :w]


def stem_stride2(geometry, x, kernel, groups):
    """3x3 at stride 2 of few channels, as 2x2 of the four pixels of each 2x2 block."""
    x = as_array(x)
    b, h, w, c = x.shape
    x = jnp.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)])
    blocks = x.reshape(b, -(-h // 2), 2, -(-w // 2), 2, c).transpose(0, 1, 3, 2, 4, 5)
    blocks = computed_once(blocks.reshape(*blocks.shape[:3], 4 * c))
    kernel = jnp.pad(kernel, [(1, 0), (1, 0), (0, 0), (0, 0)])
    kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5)
    return lax.conv_general_dilated(
        blocks,
        kernel.reshape(2, 2, 4 * c, -1).astype(x.dtype),
        (1, 1),
        [(1, 0), (1, 0)],
        dimension_numbers=NHWC,
    )


def pixel_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Outer products summed over pixels: `(..., c)`, `(..., d)` to float32 `(c, d)`."""
    return lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        y.reshape(-1, y.shape[-1]),
        (((0,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
