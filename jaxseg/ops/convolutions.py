"""Convolutions as networks call them; `textbook.py` says what they compute."""

import jax
import numpy as np
from jax.typing import DTypeLike

from jaxseg.ops import textbook, winograd
from jaxseg.ops.dispatch import operation
from jaxseg.ops.types import Epilogue, Geometry, Map, Pair, as_array, same_margin
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
    if isinstance(kernel, Tiles):
        geometry = _geometry(kernel.taps, stride, dilation, padding)
        return winograd.convolve(as_array(x), kernel, dilation, geometry.margin)
    geometry = _geometry(kernel.shape[:2], stride, dilation, padding)
    return textbook.convolution(geometry, x, kernel, groups)


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
    geometry = _geometry(kernel.shape[:2], stride, dilation, padding)
    return constant_kernel(geometry, kernel, dtype, groups)


@operation
def constant_kernel(geometry, kernel, dtype, groups):
    return kernel.astype(dtype)


def _geometry(kernel_hw, stride, dilation, padding) -> Geometry:
    if padding is None:
        return Geometry(stride, dilation, same_margin(kernel_hw, dilation))
    return Geometry(stride, dilation, (padding, padding))


def depthwise2d(
    x: Map, kernel: jax.Array, *, stride: int = 1, dilation: Pair = (1, 1)
) -> jax.Array:
    """Convolves each channel of `(b, h, w, c)` with its own of `(kh, kw, 1, c)`.

    Padding as in `conv2d`. kh and kw are odd.
    """
    geometry = _geometry(kernel.shape[:2], stride, dilation, None)
    return textbook.depthwise(geometry, x, kernel)


def conv2d_transpose(
    x: Map, kernel: jax.Array, epilogue: Epilogue = lambda y: y
) -> jax.Array:
    """Doubles `(b, h, w, ci)` to `(b, 2h, 2w, co)` with `(k, k, ci, co)`, k = 2 or 3.

    PyTorch's `ConvTranspose2d(stride=2)`, with `padding=1, output_padding=1` for k = 3
    and neither for k = 2; `kernel` is not flipped (tap `(i, j)` of PyTorch is `[i, j]`
    here). `epilogue` is applied to every output pixel: `(..., co)` to as many or other
    channels. Where `x` has no zeros around it, or with k = 2, it may also drop the axis
    of channels.
    """
    k = kernel.shape[0]
    if k not in (2, 3):
        raise ValueError(f"conv2d_transpose takes 2x2 or 3x3 kernels, got {k}x{k}.")
    return textbook.transposed(x, kernel, epilogue)
