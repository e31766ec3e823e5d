"""Maxima over windows as maxima of slices."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.types import Map, as_array


def max_pool3(x: Map) -> jax.Array:
    x = jnp.pad(as_array(x), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-jnp.inf)
    for axis in (1, 2):
        last = x.shape[axis] - 2
        first, second, third = (
            lax.slice_in_dim(x, i, i + last, stride=2, axis=axis) for i in range(3)
        )
        x = jnp.where(first >= second, first, second)
        x = jnp.where(x >= third, x, third)
    return x
