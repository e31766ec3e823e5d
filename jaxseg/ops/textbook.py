"""Every operation of a map `(b, h, w, c)` by its definition."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops.dispatch import named, operation
from jaxseg.ops.types import Epilogue, Geometry, total

NHWC = ("NHWC", "HWIO", "NHWC")


def lax_convolution(
    geometry: Geometry, x: jax.Array, kernel: jax.Array, groups: int = 1
) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `(kh, kw, ci / groups, co)`."""
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (geometry.stride, geometry.stride),
        [(m, m) for m in geometry.margin],
        rhs_dilation=geometry.dilation,
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


@operation
def convolution(
    geometry: Geometry, x: jax.Array, kernel: jax.Array, groups: int
) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `(kh, kw, ci / groups, co)`."""
    return lax_convolution(geometry, x, kernel, groups)


@operation
def forward_convolution(
    geometry: Geometry, x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """`convolution` without groups where the gradient is not taken from its form."""
    return lax_convolution(geometry, x, kernel)


@operation
def depthwise(geometry: Geometry, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves each channel of `(b, h, w, c)` with its own of `(kh, kw, 1, c)`."""
    return lax_convolution(geometry, x, kernel, x.shape[-1])


@operation
def transposed(x: jax.Array, kernel: jax.Array, epilogue: Epilogue) -> jax.Array:
    """Convolves with a zero inserted behind every row and column, then `epilogue`.

    The result has twice the height and width of `x`.
    """
    k = kernel.shape[0]
    pads = ((k - 1 - k // 3, k - 1),) * 2
    return epilogue(
        lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1].astype(x.dtype),
            (1, 1),
            pads,
            lhs_dilation=(2, 2),
            dimension_numbers=NHWC,
        )
    )


# XLA:CPU fuses an operation of one operand into every consumer, and computes it again
# there. A selection has two operands and is not duplicated, so ReLU is written with it.
@named("relu")
def relu(x: jax.Array) -> jax.Array:
    """Cuts to 0 and up; the gradient at 0 is 0."""
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


@named("relu6")
def relu6(x: jax.Array) -> jax.Array:
    """Cuts to 0..6; there and outside the gradient is 0."""
    six = jnp.full((), 6, x.dtype)
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), jnp.where(x >= 6, six, x))


@named("prelu")
def prelu(x: jax.Array, slope: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, x * slope)


@named("max_pool2")
def max_pool2(x: jax.Array) -> jax.Array:
    """Takes the maximum of 2x2 blocks: `(b, h, w, c) -> (b, h // 2, w // 2, c)`.

    An odd last row or column is left out. The gradient goes to the first of equal
    values, as in PyTorch; `jnp.maximum` would split it.
    """
    h, w = x.shape[1:3]
    x = x[:, : h - h % 2, : w - w % 2]
    rows = jnp.where(x[:, ::2] >= x[:, 1::2], x[:, ::2], x[:, 1::2])
    left, right = rows[:, :, ::2], rows[:, :, 1::2]
    return jnp.where(left >= right, left, right)


@operation
def max_pool3(x: jax.Array) -> jax.Array:
    """Maximum of 3x3 windows at stride 2: `(b, h, w, c) -> (b, h/2, w/2, c)`, up.

    Windows begin one pixel outside the map, where nothing is.
    """
    window = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, *window)


@named("avg_pool3")
def avg_pool3(x: jax.Array) -> jax.Array:
    """Averages 3x3 windows at stride 2: `(b, h, w, c) -> (b, ceil(h/2), ceil(w/2), c)`.

    One row and column of zeros a side count as values: always a ninth of the sum.
    """
    h, w = (-(-n // 2) for n in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = total(x[:, i : i + 2 * h - 1 : 2] for i in range(3))
    return total(x[:, :, i : i + 2 * w - 1 : 2] for i in range(3)) * (1 / 9)


@named("mean_over_pixels")
def mean_over_pixels(x: jax.Array) -> jax.Array:
    """`(b, h, w, c) -> (b, 1, 1, c)`."""
    return x.mean((1, 2), keepdims=True)


@named("mean_over_channels")
def mean_over_channels(x: jax.Array) -> jax.Array:
    """`(b, h, w, c) -> (b, h, w, 1)`."""
    return x.mean(-1, keepdims=True)
