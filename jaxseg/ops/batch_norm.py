"""Batch norm in training, with its gradient."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


# Autodiff would keep and re-read several full-size intermediates; written out, the
# forward and the backward pass are one affine map each beside two channel sums.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def batch_norm(eps, axis_name, x, scale, bias):
    """Normalised `x`, and the batch's mean, biased variance and count per channel."""
    return batch_norm_fwd(eps, axis_name, x, scale, bias)[0]


def batch_norm_fwd(eps, axis_name, x, scale, bias):
    count = jnp.float32(x.size // x.shape[-1])
    sums = _whole_batch(axis_name, (_channel_sum(x), _channel_sum(x * x), count))
    mean, n = sums[0] / sums[2], sums[2]
    var = jnp.maximum(sums[1] / n - mean * mean, 0.0)
    inverse_std = lax.rsqrt(var + eps)
    gain = scale * inverse_std
    outputs = (x * gain + (bias - mean * gain), mean, var, n)
    return outputs, (x, gain, mean, inverse_std, n)


def batch_norm_bwd(eps, axis_name, residuals, cotangents):
    x, gain, mean, inverse_std, n = residuals
    g = cotangents[0]  # the statistics only feed running averages: no gradient
    own = _channel_sum(g), _channel_sum(g * x)
    sum_g, sum_gx = _whole_batch(axis_name, own)
    slope = -gain * inverse_std**2 * (sum_gx - mean * sum_g) / n
    offset = -gain * sum_g / n - slope * mean
    scale_gradient = (own[1] - mean * own[0]) * inverse_std
    return g * gain + x * slope + offset, scale_gradient, own[0]


batch_norm.defvjp(batch_norm_fwd, batch_norm_bwd)


def _channel_sum(x):
    return x.sum(range(x.ndim - 1))


def _whole_batch(axis_name, sums):
    return sums if axis_name is None else lax.psum(sums, axis_name)
