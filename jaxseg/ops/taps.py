"""The pixels that each tap of a kernel is multiplied with."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.types import Geometry, Pair


def tap_views(
    geometry: Geometry, kernel_hw: Pair, out_hw: Pair, wide: jax.Array
) -> list[jax.Array]:
    """The part of a padded map that each tap reads: a list of `(b, *out_hw, c)`."""
    stride, dilation, _ = geometry
    b, c = wide.shape[0], wide.shape[-1]

    def tap(i, j):
        top, left = i * dilation[0], j * dilation[1]
        bottom, right = (
            first + (n - 1) * stride + 1 for first, n in zip((top, left), out_hw)
        )
        window = (0, top, left, 0), (b, bottom, right, c), (1, stride, stride, 1)
        return lax.slice(wide, *window)

    return [tap(i, j) for i in range(kernel_hw[0]) for j in range(kernel_hw[1])]


def side_by_side(taps: list[jax.Array], kw: int) -> jax.Array:
    """The taps of a kernel kw wide along the channels.

    XLA:CPU computes a stack in one pass and a concatenation in two, as it does a stack
    of more than eight.
    """
    rows = [jnp.stack(taps[i : i + kw], -2) for i in range(0, len(taps), kw)]
    return jnp.stack(rows, -3).reshape(*taps[0].shape[:3], -1)
