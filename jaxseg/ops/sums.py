"""Convolutions as sums with one term per weight, without matrix products."""

import jax.numpy as jnp

from jaxseg.ops.maps import Parts, padded
from jaxseg.ops.taps import tap_views


def convolution(geometry, x, kernel, groups):
    """Multiply-adds over taps and input channels.

    In two accumulators, so that consecutive additions do not wait for each other.
    """
    margin = geometry.margin
    out_hw = geometry.output_hw(x.shape[1:3], kernel.shape[:2])
    maps = [padded(part, margin) for part in (x.maps if isinstance(x, Parts) else [x])]
    taps = zip(*(tap_views(geometry, kernel.shape[:2], out_hw, wide) for wide in maps))
    seen = [
        part[..., i : i + 1]
        for tap in taps
        for part in tap
        for i in range(part.shape[-1])
    ]
    shares = list(map(jnp.multiply, seen, kernel.reshape(-1, kernel.shape[-1])))
    return sum(shares[::2]) + sum(shares[1::2])


# XLA:CPU's grouped convolution is a naive loop, 40 times slower than these sums.
def depthwise(geometry, x, kernel):
    stride, _, margin = geometry
    wide = padded(x, margin)
    out_hw = tuple(-(-(n - 2 * m) // stride) for n, m in zip(wide.shape[1:3], margin))
    taps = tap_views(geometry, kernel.shape[:2], out_hw, wide)
    weights = kernel.reshape(-1, wide.shape[-1]).astype(wide.dtype)
    return sum(tap * weight for tap, weight in zip(taps, weights))
