"""Transposed convolutions without the zeros that their definition inserts."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.dispatch import operation
from jaxseg.ops.maps import padded
from jaxseg.ops.products import dot
from jaxseg.ops.types import Epilogue, Map, as_array, total


def blocks(x: Map, kernel: jax.Array, epilogue: Epilogue) -> jax.Array:
    """2x2: every pixel becomes a block, which one product gives."""
    x = as_array(x)
    b, h, w, ci = x.shape
    four = dot(x, kernel.transpose(2, 0, 1, 3).reshape(ci, -1))
    y = epilogue(four.reshape(b, h, w, 2, 2, -1)).swapaxes(2, 3)
    return y.reshape(b, 2 * h, 2 * w, *y.shape[5:])


def as_4x4(x: jax.Array, kernel: jax.Array, epilogue: Epilogue) -> jax.Array:
    """3x3, with a row and a column of zeros more in its kernel.

    The margins before and behind the map are then equal. TensorFlow 2.21 writes those
    of the definition, which are not, to TFLite as if they were the other way round.
    """
    more = (1, 0), (1, 0), (0, 0), (0, 0)
    y = lax.conv_general_dilated(
        x,
        jnp.pad(kernel[::-1, ::-1], more).astype(x.dtype),
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return epilogue(y)


def phases(x: Map, kernel: jax.Array) -> list[jax.Array]:
    """3x3's outputs at even and odd rows and columns: four of `(b, h, w, co)`.

    One matrix product computes what each pixel contributes to every tap; the phases are
    sums of shifted slices of it, so no zero that was inserted is ever multiplied.
    """
    b, h, w, ci = as_array(x).shape
    co = kernel.shape[-1]
    matrix = kernel.transpose(2, 0, 1, 3).reshape(ci, -1)
    shares = dot(padded(x, (1, 1)), matrix)

    def share(ky, kx, dy, dx):
        start = (0, 1 + dy, 1 + dx, (3 * ky + kx) * co)
        return lax.slice(shares, start, (b, start[1] + h, start[2] + w, start[3] + co))

    # Output row 2y takes tap 1 of row y; row 2y + 1 takes 2 of y and 0 of y + 1.
    taps = {0: [(1, 0)], 1: [(2, 0), (0, 1)]}
    return [
        sum(share(ky, kx, dy, dx) for ky, dy in taps[py] for kx, dx in taps[px])
        for py in (0, 1)
        for px in (0, 1)
    ]


@operation
def interleave(phases: list[jax.Array]) -> jax.Array:
    """The map `(b, 2h, 2w, c)` whose even and odd rows and columns are the phases."""
    b, h, w, c = phases[0].shape
    rows = [jnp.stack(phases[2 * i : 2 * i + 2], 3) for i in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, c)


def interleave_by_addition(phases: list[jax.Array]) -> jax.Array:
    zero = jnp.zeros((), phases[0].dtype)
    still = (0, 0, 0)
    return total(
        lax.pad(y, zero, (still, (i, 1 - i, 1), (j, 1 - j, 1), still))
        for y, (i, j) in zip(phases, ((0, 0), (0, 1), (1, 0), (1, 1)))
    )


def phased(x: Map, kernel: jax.Array, epilogue: Epilogue) -> jax.Array:
    """3x3, the epilogue before the phases are brought together."""
    return interleave([epilogue(y) for y in phases(x, kernel)])
