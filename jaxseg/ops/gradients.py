"""Convolutions whose gradients are written out, for XLA:CPU is slow at its own."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.ops import sums, textbook, winograd
from jaxseg.ops.maps import padded
from jaxseg.ops.products import pixel_products
from jaxseg.ops.taps import side_by_side, tap_views
from jaxseg.ops.types import Geometry
from jaxseg.ops.upsample import interleave, phases


# XLA:CPU computes the weight gradient of a convolution up to 4 times slower than the
# same sum written as one matrix product over the shifted inputs; with few channels the
# two are equal.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def conv2d_cpu(geometry, x, kernel):
    stride, dilation, margin = geometry
    plain = stride == 1 and kernel.dtype == jnp.float32
    if plain and winograd.pays(kernel.shape):
        tiles = winograd.transform_kernel(kernel)
        return winograd.convolve(x, tiles, dilation, margin)
    return textbook.conv2d(geometry, x, kernel)


def _conv2d_cpu_fwd(geometry, x, kernel):
    return conv2d_cpu(geometry, x, kernel), (x, kernel)


def _conv2d_cpu_bwd(geometry, residuals, g):
    x, kernel = residuals
    stride, dilation, _ = geometry
    other = geometry.backward_margin(kernel.shape[:2])
    if stride == 1 and min(other) >= 0:
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        x_gradient = conv2d_cpu(Geometry(1, dilation, other), g, turned)
    else:
        _, pullback = jax.vjp(lambda x: textbook.conv2d(geometry, x, kernel), x)
        (x_gradient,) = pullback(g)
    kernel_gradient = _kernel_gradient(geometry, x, kernel.shape, g)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


def _kernel_gradient(geometry, x, shape, g):
    """Sums over pixels of what each tap saw, times `g`.

    At stride 1 it may as well be `g` that is shifted, the other way: of the two the one
    with fewer channels is copied once a tap.
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


conv2d_cpu.defvjp(_conv2d_cpu_fwd, _conv2d_cpu_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def depthwise_cpu(geometry, x, kernel):
    return sums.depthwise2d(geometry, x, kernel)


def _depthwise_cpu_fwd(geometry, x, kernel):
    return sums.depthwise2d(geometry, x, kernel), (x, kernel)


def _depthwise_cpu_bwd(geometry, residuals, g):
    x, kernel = residuals
    if geometry.stride == 1:
        x_gradient = sums.depthwise2d(geometry, g, kernel[::-1, ::-1])
    else:
        _, pullback = jax.vjp(lambda x: sums.depthwise2d(geometry, x, kernel), x)
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


depthwise_cpu.defvjp(_depthwise_cpu_fwd, _depthwise_cpu_bwd)


# The gradients are written out because XLA:CPU is slow at those of the phases.
@jax.custom_vjp
def conv2d_transpose(x, kernel):
    return interleave(phases(x, kernel))


def _conv2d_transpose_fwd(x, kernel):
    return conv2d_transpose(x, kernel), (x, kernel)


def _conv2d_transpose_bwd(residuals, g):
    x, kernel = residuals
    geometry = Geometry(2, (1, 1), (1, 1))
    x_gradient = textbook.conv2d(geometry, g, kernel.transpose(0, 1, 3, 2))
    taps = tap_views(geometry, (3, 3), x.shape[1:3], padded(g, (1, 1)))
    by_tap = pixel_products(x, side_by_side(taps, 3))
    by_tap = by_tap.reshape(x.shape[-1], 3, 3, -1)
    return x_gradient, by_tap.transpose(1, 2, 0, 3).astype(kernel.dtype)


conv2d_transpose.defvjp(_conv2d_transpose_fwd, _conv2d_transpose_bwd)
