"""Convolutions whose gradients are written out, for XLA:CPU is slow at its own."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops import sums, textbook
from jaxseg.ops.maps import padded
from jaxseg.ops.products import pixel_products
from jaxseg.ops.taps import side_by_side, tap_views
from jaxseg.ops.types import Geometry, as_array
from jaxseg.ops.upsample import interleave, phases


def convolution(geometry, x, kernel, groups):
    # XLA:CPU takes up to twice as long for odd numbers of channels.
    ci, co = kernel.shape[2:]
    more_ci, more_co = (-ci % 4, -co % 8) if co % 8 else (0, 0)
    x = jnp.pad(as_array(x), [(0, 0)] * 3 + [(0, more_ci)])
    kernel = jnp.pad(kernel, [(0, 0)] * 2 + [(0, more_ci), (0, more_co)])
    return _convolution(geometry, x, kernel.astype(x.dtype))[..., :co]


# XLA:CPU computes the weight gradient of a convolution up to 4 times slower than the
# same sum written as one matrix product over the shifted inputs; with few channels the
# two are equal.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolution(geometry, x, kernel):
    return textbook.forward_convolution(geometry, x, kernel)


def _convolution_fwd(geometry, x, kernel):
    return _convolution(geometry, x, kernel), (x, kernel)


def _convolution_bwd(geometry, residuals, g):
    x, kernel = residuals
    stride, dilation, _ = geometry
    other = geometry.backward_margin(kernel.shape[:2])
    if stride == 1 and min(other) >= 0:
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        x_gradient = _convolution(Geometry(1, dilation, other), g, turned)
    else:
        _, pullback = jax.vjp(
            lambda x: textbook.lax_convolution(geometry, x, kernel), x
        )
        (x_gradient,) = pullback(g)
    kernel_gradient = _kernel_gradient(geometry, x, kernel.shape, g)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


def _kernel_gradient(geometry, x, shape, g):
    """Sums over pixels of what each tap saw, times `g`.

    At stride 1 either `x` or `g` can be shifted: the one with fewer channels is,
    because it is copied once a tap.
    """
    kh, kw, ci, co = shape
    stride, margin = geometry.stride, geometry.margin
    other = geometry.backward_margin((kh, kw))
    if stride == 1 and co <= ci and min(other) >= 0:
        seen = tap_views(geometry, (kh, kw), x.shape[1:3], padded(g, other))[::-1]
        by_input = pixel_products(x, side_by_side(seen, kw))
        return by_input.reshape(ci, kh, kw, co).transpose(1, 2, 0, 3)
    seen = tap_views(geometry, (kh, kw), g.shape[1:3], padded(x, margin))
    return pixel_products(side_by_side(seen, kw), g).reshape(shape)


_convolution.defvjp(_convolution_fwd, _convolution_bwd)


def depthwise(geometry, x, kernel):
    return _depthwise(geometry, as_array(x), kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _depthwise(geometry, x, kernel):
    return sums.depthwise(geometry, x, kernel)


def _depthwise_fwd(geometry, x, kernel):
    return sums.depthwise(geometry, x, kernel), (x, kernel)


def _depthwise_bwd(geometry, residuals, g):
    x, kernel = residuals
    if geometry.stride == 1:
        x_gradient = sums.depthwise(geometry, g, kernel[::-1, ::-1])
    else:
        _, pullback = jax.vjp(lambda x: sums.depthwise(geometry, x, kernel), x)
        (x_gradient,) = pullback(g)
    by_tap = _depthwise_kernel_gradient(geometry, x, kernel.shape[:2], g)
    return x_gradient, by_tap.reshape(kernel.shape).astype(kernel.dtype)


def _depthwise_kernel_gradient(geometry, x, kernel_hw, g):
    """Sums over pixels of what each tap saw, times `g`: `(taps, c)`.

    Eight rows at a time, so that for all taps they come from the processor's caches.
    """
    stride, dilation, margin = geometry
    b, h, w, c = g.shape
    rows, bands = 8, -(-h // 8)
    more = rows * bands - h
    g = jnp.pad(g, [(0, 0), (0, more), (0, 0), (0, 0)])
    below = margin[0] + stride * more
    wide = jnp.pad(x, [(0, 0), (margin[0], below), (margin[1], margin[1]), (0, 0)])
    seen = stride * (rows - 1) + dilation[0] * (kernel_hw[0] - 1) + 1

    def add_band(i, totals):
        of_x = lax.dynamic_slice_in_dim(wide, stride * rows * i, seen, 1)
        of_g = lax.dynamic_slice_in_dim(g, rows * i, rows, 1).astype(jnp.float32)
        taps = tap_views(geometry, kernel_hw, (rows, w), of_x.astype(jnp.float32))
        return [
            total + sum(tap[:, row] * of_g[:, row] for row in range(rows))
            for total, tap in zip(totals, taps)
        ]

    zeros = [jnp.zeros((b, w, c), jnp.float32)] * (kernel_hw[0] * kernel_hw[1])
    totals = lax.fori_loop(0, bands, add_band, zeros)
    return jnp.stack([total.sum((0, 1)) for total in totals])


_depthwise.defvjp(_depthwise_fwd, _depthwise_bwd)


def transposed(x, kernel, epilogue):
    return epilogue(_transposed(as_array(x), kernel))


# The gradients are written out because XLA:CPU is slow at those of the phases.
@jax.custom_vjp
def _transposed(x, kernel):
    return interleave(phases(x, kernel))


def _transposed_fwd(x, kernel):
    return _transposed(x, kernel), (x, kernel)


def _transposed_bwd(residuals, g):
    x, kernel = residuals
    geometry = Geometry(2, (1, 1), (1, 1))
    x_gradient = textbook.lax_convolution(geometry, g, kernel.transpose(0, 1, 3, 2))
    taps = tap_views(geometry, (3, 3), x.shape[1:3], padded(g, (1, 1)))
    by_tap = pixel_products(x, side_by_side(taps, 3))
    by_tap = by_tap.reshape(x.shape[-1], 3, 3, -1)
    return x_gradient, by_tap.transpose(1, 2, 0, 3).astype(kernel.dtype)


_transposed.defvjp(_transposed_fwd, _transposed_bwd)
