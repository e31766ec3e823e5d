"""Layers and units of `jaxseg.models` as they are deployed.

A form is two functions of a block's attributes: `fold` makes its weights from those
that were trained, `run` computes with them. Most units need no `run`: their own code
runs, and a layer whose weights went into another's passes its input on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.deploy.weights import Weights, affine, then_norm
from jaxseg.models.layers import (
    ACTIVATIONS,
    BatchNorm,
    Conv,
    ConvTranspose,
    DepthwiseConv,
)
from jaxseg.models.units import (
    ConvNormAct,
    DepthwiseNormAct,
    DepthwisePair,
    Downsampler,
    Upsampler,
)
from jaxseg.ops import (
    Map,
    Pair,
    as_array,
    conv2d,
    conv2d_transpose,
    depthwise2d,
    joins_pairs,
    max_pool2,
    prelu,
    store,
)

WeightsOf = Callable[[tuple[str, ...]], Weights]  # parameters and statistics at a path


@dataclass(frozen=True)
class Form:
    """The deployed form of a block.

    Attributes:
        fold: `(unit, weights, hw)` to the weights of this form, or None if each part is
            folded by itself; `hw` is the size of the block's input.
        run: `(unit, weights, x)` to what the block returns; None runs its own code.
    """

    fold: Callable[[Any, WeightsOf, Pair], Weights | None]
    run: Callable[[Any, Weights, Map], Map] | None = None


# Layers: what runs in their place, once their weights are folded.


def convolve(weights: Weights, x: Map, **options: Any) -> jax.Array:
    """A convolution with bias, if there is one; `x` keeps its dtype."""
    return _plus(weights, conv2d(x, weights["kernel"], **options))


def convolve_depthwise(weights: Weights, x: Map, **options: Any) -> jax.Array:
    return _plus(weights, depthwise2d(x, weights["kernel"], **options))


def _plus(weights: Weights, y: jax.Array) -> jax.Array:
    return y + weights["bias"].astype(y.dtype) if "bias" in weights else y


def convolve_transposed(
    weights: Weights, x: Map, finish: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    bias = weights["bias"].astype(x.dtype)
    return conv2d_transpose(x, weights["kernel"], lambda y: finish(y + bias))


def activate(act: str | None, weights: Weights, x: jax.Array) -> jax.Array:
    """`act` of a unit whose weights these are."""
    if act == "prelu":
        return prelu(x, weights["prelu"]["slope"].astype(x.dtype))
    return ACTIVATIONS[act](x)


def classes(logits: jax.Array) -> jax.Array:
    """The class of the largest logit of each pixel, uint8."""
    return jnp.argmax(logits, -1).astype(jnp.uint8)


def _conv(unit: Conv, weights: Weights, x: Map) -> jax.Array:
    return convolve(weights, x, **unit.options)


def _depthwise(unit: DepthwiseConv, weights: Weights, x: Map) -> jax.Array:
    return convolve_depthwise(weights, x, stride=unit.stride, dilation=unit.dilation)


def _transposed(unit: ConvTranspose, weights: Weights, x: Map) -> jax.Array:
    return convolve_transposed(weights, x, lambda y: y)


def _norm(unit: nn.Module, weights: Weights, x: Map) -> jax.Array:
    x = as_array(x)
    return x * weights["scale"].astype(x.dtype) + weights["bias"].astype(x.dtype)


LAYERS: dict[type[nn.Module], Callable[[Any, Weights, Map], jax.Array]] = {
    Conv: _conv,
    DepthwiseConv: _depthwise,
    ConvTranspose: _transposed,
    BatchNorm: _norm,
}


# Units.


def _fold_norm(unit: BatchNorm, weights: WeightsOf, hw: Pair) -> Weights:
    gain, shift = affine(weights(unit.path), unit.eps)
    return {"scale": gain, "bias": shift}


def _fold_conv(unit: ConvNormAct, weights: WeightsOf, hw: Pair) -> Weights | None:
    own = dict(weights(unit.path))
    if unit.shared_norm is not None:
        norm, eps = weights(unit.shared_norm.path), unit.shared_norm.eps
    elif unit.norm_eps is not None:
        norm, eps = own.pop("norm"), unit.norm_eps
    else:
        return None
    return {**own, "conv": then_norm(own["conv"], norm, eps)}


def _fold_depthwise(unit: DepthwiseNormAct, weights: WeightsOf, hw: Pair) -> Weights:
    own = dict(weights(unit.path))
    conv = then_norm(own["depthwise"], own.pop("norm"), unit.norm_eps)
    return {**own, "depthwise": conv}


def _fold_pair(unit: DepthwisePair, weights: WeightsOf, hw: Pair) -> Weights | None:
    """Without an activation between its halves a pair is one 3x3 convolution.

    The first norm's shift does not reach the second convolution's zero padding, so the
    fused bias differs near the left and right border.
    """
    if unit.act is not None or not joins_pairs():
        return None
    own = weights(unit.path)
    first, second = (
        then_norm(own[half]["depthwise"], own[half]["norm"], unit.norm_eps)
        for half in ("tall", "wide")
    )
    column, d = np.arange(hw[1])[:, None], unit.dilation
    tap = column + np.array([-d, 0, d])
    inside = np.float64((tap >= 0) & (tap < hw[1]))
    bias = inside @ second["kernel"][0, :, 0] * first["bias"] + second["bias"]
    return {"kernel": first["kernel"] * second["kernel"], "bias": bias}


def _pair(unit: DepthwisePair, weights: Weights, x: Map) -> jax.Array:
    return convolve_depthwise(weights, x, dilation=(unit.dilation, unit.dilation))


def _fold_downsampler(unit: Downsampler, weights: WeightsOf, hw: Pair) -> Weights:
    """The norm's part for the convolution goes into its kernel; the pooled channels
    keep theirs."""
    own = dict(weights(unit.path))
    gain, shift = affine(own["norm"], unit.norm_eps)
    kernel, bias = own["conv"]["kernel"], own["conv"].get("bias", 0.0)
    n = kernel.shape[-1]
    own["conv"] = {"kernel": kernel * gain[:n], "bias": bias * gain[:n] + shift[:n]}
    return {**own, "norm": {"scale": gain[n:], "bias": shift[n:]}}


def _downsampler(unit: Downsampler, weights: Weights, x: Map) -> jax.Array:
    x = store(x)
    pooled = unit.padded_to_even(max_pool2(x), x.shape)
    convolved = convolve(weights["conv"], x, stride=2)
    maps = [convolved, _norm(unit, weights["norm"], pooled)]
    return activate(unit.act, weights, jnp.concatenate(maps, -1))


def _fold_upsampler(unit: Upsampler, weights: WeightsOf, hw: Pair) -> Weights:
    own = weights(unit.path)
    return {"deconv": then_norm(own["deconv"], own["norm"], unit.norm_eps)}


def _upsampler(unit: Upsampler, weights: Weights, x: Map) -> jax.Array:
    return convolve_transposed(
        weights["deconv"], store(x, (1, 1)), ACTIVATIONS[unit.act]
    )


FORMS: dict[type[nn.Module], Form] = {
    BatchNorm: Form(_fold_norm),
    ConvNormAct: Form(_fold_conv),
    DepthwiseNormAct: Form(_fold_depthwise),
    DepthwisePair: Form(_fold_pair, _pair),
    Downsampler: Form(_fold_downsampler, _downsampler),
    Upsampler: Form(_fold_upsampler, _upsampler),
}
