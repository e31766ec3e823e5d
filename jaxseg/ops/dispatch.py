"""How each operation is computed here.

An operation has the textbook `lax` form and, where one was measured to be faster on a
platform, another arithmetic of the same values and gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxseg.ops import gradients, products, sums, textbook, upsample, winograd
from jaxseg.ops.lowering import current_lowering
from jaxseg.ops.maps import Carrier, Map, Parts, core
from jaxseg.ops.types import Epilogue, Geometry, Pair, same_margin
from jaxseg.ops.winograd import Tiles


def conv2d(
    x: Map,
    kernel: jax.Array | Tiles,
    *,
    stride: int = 1,
    dilation: Pair = (1, 1),
    padding: int | None = None,
    groups: int = 1,
) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `(kh, kw, ci / groups, co)`.

    Padding is symmetric, `padding` pixels a side; None stands for
    `dilation * (k - 1) / 2`, which at stride 1 keeps h and w. The result has the dtype
    of `x`; a bfloat16 kernel lets matrix products read `x` in bfloat16, and nothing
    else. In place of the kernel it takes what `prepared_kernel` made of it.
    """
    taps = kernel.taps if isinstance(kernel, Tiles) else kernel.shape[:2]
    margin = same_margin(taps, dilation) if padding is None else (padding, padding)
    if isinstance(kernel, Tiles):
        return winograd.convolve(core(x), kernel, dilation, margin)
    geometry = Geometry(stride, dilation, margin)
    kh, kw, ci, co = kernel.shape
    how = current_lowering()
    if how.platform == "textbook":
        return textbook.conv2d(geometry, core(x), kernel, groups)
    fast = how.dots or how.platform == "cpu"
    # A lone pixel, a mean, would be computed anew for every pixel that it weights.
    several = groups == 1 and x.shape[1:3] != (1, 1)
    if how.sums and several and _sums_pay(kernel.shape, kernel.dtype):
        return sums.conv2d(geometry, x, kernel)
    if (kh, kw, stride, margin) == (1, 1, 1, (0, 0)) and fast:
        if isinstance(x, Parts) and groups == 1:
            return sum(map(products.dot, map(core, x.maps), x.split(kernel[0, 0])))
        return products.pointwise(core(x), kernel[0, 0], groups)
    if groups > 1:
        return textbook.conv2d(geometry, core(x), kernel, groups)
    if how.dots:
        return products.conv2d_dots(geometry, x, kernel)
    if how.platform == "cpu":
        if way := _products(geometry, kernel):
            return way(geometry, x, kernel)
        if (kh, kw, ci) == (3, 3, 3) and geometry[1:] == ((1, 1), (1, 1)):
            stem = {1: products.conv2d_stem, 2: products.conv2d_stem2}.get(stride)
            if stem:
                return stem(core(x), kernel)
        if ci >= 16:
            # XLA:CPU takes up to twice as long for odd numbers of channels.
            more_ci, more_co = (-ci % 4, -co % 8) if co % 8 else (0, 0)
            x = jnp.pad(core(x), [(0, 0)] * 3 + [(0, more_ci)])
            kernel = jnp.pad(kernel, [(0, 0)] * 2 + [(0, more_ci), (0, more_co)])
            return gradients.conv2d_cpu(geometry, x, kernel.astype(x.dtype))[..., :co]
    return textbook.conv2d(geometry, core(x), kernel)


def prepared_kernel(
    kernel: np.ndarray,
    dtype: DTypeLike,
    *,
    stride: int = 1,
    dilation: Pair = (1, 1),
    padding: int | None = None,
    groups: int = 1,
) -> np.ndarray | Tiles:
    """A kernel whose values will not change, as `conv2d` computes with it fastest.

    Args:
        dtype: of the operands of matrix products.
    """
    how = current_lowering()
    if how.sums and groups == 1 and _sums_pay(kernel.shape, dtype):
        return kernel.astype(np.float32)
    plain = how.platform == "cpu" and not how.dots and (stride, groups) == (1, 1)
    if plain and dtype == np.float32 and winograd.pays(kernel.shape):
        return jax.tree.map(
            lambda v: v.astype(dtype), winograd.transform_kernel(kernel)
        )
    return kernel.astype(dtype)


def _products(geometry, kernel):
    """How XLA:CPU computes a convolution faster as products than by its own, or None.

    Only with bfloat16 operands, which its convolutions do not know.
    """
    kh, kw, ci, co = kernel.shape
    if kh * kw == 1 or kernel.dtype != jnp.bfloat16:
        return None
    if geometry.stride > 1:
        return products.conv2d_stacked if ci >= 32 else None
    if ci < 64:
        return None
    wide = min(kh, kw) > 1 and co >= 128
    return products.conv2d_stacked if wide else products.conv2d_dots


def _sums_pay(shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Whether XLA:CPU computes a convolution fastest as a sum with a term a weight.

    With few channels matrix products reach little of the processor's speed, those of
    bfloat16 too. But what reads a sum computes it anew: not for 1x1 to classes or to
    one weight a pixel, which are read in another order or for a mean.
    """
    kh, kw, ci, co = shape
    if (kh, kw) == (1, 1):
        wide = ci > 16 and co > 32  # enough for products of bfloat16
        if co % 8 or (wide and dtype == jnp.bfloat16):
            return False
    return kh * kw * ci <= 48


def depthwise2d(
    x: Map, kernel: jax.Array, *, stride: int = 1, dilation: Pair = (1, 1)
) -> jax.Array:
    """Convolves each channel of `(b, h, w, c)` with its own of `(kh, kw, 1, c)`.

    Padding as in `conv2d`. kh and kw are odd.
    """
    geometry = Geometry(stride, dilation, same_margin(kernel.shape[:2], dilation))
    how = current_lowering()
    if isinstance(x, Carrier) or (how.dots and how.platform != "cpu"):
        return sums.depthwise2d(geometry, x, kernel)
    if how.platform == "cpu":
        return gradients.depthwise_cpu(geometry, x, kernel)
    return textbook.conv2d(geometry, x, kernel, x.shape[-1])


def conv2d_transpose(
    x: Map, kernel: jax.Array, epilogue: Epilogue = lambda y: y
) -> jax.Array:
    """Doubles `(b, h, w, ci)` to `(b, 2h, 2w, co)` with `(k, k, ci, co)`, k = 2 or 3.

    PyTorch's `ConvTranspose2d(stride=2)`, with `padding=1, output_padding=1` for k = 3
    and neither for k = 2; `kernel` is not flipped (tap `(i, j)` of PyTorch is `[i, j]`
    here). `epilogue` is what each pixel then goes through: `(..., co)` to as many or
    other channels, or where `x` is no `Carrier` or k = 2 to none.
    """
    k = kernel.shape[0]
    if k not in (2, 3):
        raise ValueError(f"conv2d_transpose takes 2x2 or 3x3 kernels, got {k}x{k}.")
    if current_lowering().platform == "textbook":
        return epilogue(textbook.conv2d_transpose(core(x), kernel))
    if k == 2:
        return upsample.double2(core(x), kernel, epilogue)
    if isinstance(x, Carrier):
        phases = upsample.phases(x, kernel)
        return upsample.interleave([epilogue(y) for y in phases])
    return epilogue(gradients.conv2d_transpose(x, kernel))


def max_pool3(x: jax.Array) -> jax.Array:
    """Maximum of 3x3 windows at stride 2: `(b, h, w, c) -> (b, h/2, w/2, c)`, up.

    Windows begin one pixel outside the map, where nothing is.
    """
    if current_lowering().platform != "cpu":
        return textbook.max_pool3(x)
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-jnp.inf)
    for axis in (1, 2):
        last = x.shape[axis] - 2
        first, second, third = (
            lax.slice_in_dim(x, i, i + last, stride=2, axis=axis) for i in range(3)
        )
        x = jnp.where(first >= second, first, second)
        x = jnp.where(x >= third, x, third)
    return x
