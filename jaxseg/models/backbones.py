"""LiteSeg's three backbones: an image to a deep map and a low-level map beside it.

Source: the code that LiteSeg's authors published, without the ImageNet classifiers,
which their network never uses. Weights start as PyTorch's defaults where a class does
not say otherwise; the authors began from ImageNet's.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.layers import Conv, Unit
from jaxseg.models.units import ConvNormAct, DepthwiseNormAct
from jaxseg.ops import avg_pool3, max_pool2, max_pool3, relu

EPS = 1e-5  # of every batch norm


def fan_out_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws N(0, 2 / (kh * kw * out)); `out` is c for a depthwise kernel."""
    std = (2 / (shape[0] * shape[1] * shape[3])) ** 0.5
    return std * jax.random.normal(key, shape, dtype)


class InvertedResidual(Unit):
    """MobileNetV2's block: `(b, h, w, ci) -> (b, h / s, w / s, features)`.

    A 1x1 convolution to `expansion * ci` channels (left out at 1), a depthwise 3x3, a
    linear 1x1; the input is added where shapes agree. Source: arXiv:1801.04381.
    """

    features: int
    expansion: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        kwargs: dict[str, Any] = dict(
            use_bias=False, kernel_init=fan_out_normal, norm_eps=EPS
        )
        conv = partial(ConvNormAct, kernel_size=(1, 1), **kwargs, **self.common)
        ci, y = x.shape[-1], x
        if self.expansion > 1:
            expand = conv(features=self.expansion * ci, act="relu6", name="expand")
            y = expand(y, train=train)
        depthwise = partial(DepthwiseNormAct, (3, 3), stride=self.stride, act="relu6")
        y = depthwise(**kwargs, **self.common, name="depthwise")(y, train=train)
        y = conv(features=self.features, name="project")(y, train=train)
        return x + y if self.stride == 1 and ci == self.features else y


class MobileNetV2(Unit):
    """`(b, h, w, 3)` to 1280 channels at 1/32 and 24 at 1/4, sizes rounded up.

    Width 1. Weights start from N(0, 2 / (kh * kw * out)), as in the authors' code.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        conv = partial(
            ConvNormAct,
            use_bias=False,
            kernel_init=fan_out_normal,
            norm_eps=EPS,
            act="relu6",
            **self.common,
        )
        # (channels, blocks, stride of the first); all but the first expand six times.
        stages = [(16, 1, 1), (24, 2, 2), (32, 3, 2), (64, 4, 2)]
        stages += [(96, 3, 1), (160, 3, 2), (320, 1, 1)]
        x = conv(32, (3, 3), 2, name="stem")(x, train=train)
        number = 1
        for features, blocks, first_stride in stages:
            for i in range(blocks):
                block = InvertedResidual(
                    features,
                    expansion=1 if number == 1 else 6,
                    stride=first_stride if i == 0 else 1,
                    **self.common,
                    name=f"block{number}",
                )
                x = block(x, train=train)
                number += 1
            if features == 24:
                low = x
        return conv(1280, (1, 1), name="head")(x, train=train), low


class ShuffleUnit(Unit):
    """ShuffleNet's unit: `(b, h, w, ci) -> (b, h / s, w / s, features)`.

    1x1 convolution in groups, channel shuffle, depthwise 3x3, 1x1 in groups; the input
    is added, or where the unit halves the size concatenated. Source: arXiv:1707.01083;
    widths from the code, which takes a quarter of `features` in every unit.

    Attributes:
        first_groups: of the first convolution; the others have 8.
        halve: stride 2, and concatenation with the averaged input.
    """

    features: int
    first_groups: int = 8
    halve: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = partial(ConvNormAct, kernel_size=(1, 1), norm_eps=EPS, **self.common)
        compress = conv(
            self.features // 4, groups=self.first_groups, act="relu", name="compress"
        )
        y = compress(x, train=train)
        b, h, w, c = y.shape
        y = y.reshape(b, h, w, 8, c // 8).swapaxes(3, 4).reshape(b, h, w, c)
        depthwise = DepthwiseNormAct(
            (3, 3), EPS, 2 if self.halve else 1, **self.common, name="depthwise"
        )
        y = depthwise(y, train=train)
        added = self.features - x.shape[-1] if self.halve else self.features
        y = conv(added, groups=8, name="expand")(y, train=train)
        if self.halve:
            return relu(jnp.concatenate([avg_pool3(x).astype(y.dtype), y], -1))
        return relu(x + y)


class ShuffleNet(Unit):
    """`(b, h, w, 3)` to 1536 channels at 1/32 and 384 at 1/8, sizes rounded up.

    ShuffleNet v1 with 8 groups. All convolutions have a bias, and the first has neither
    norm nor activation.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        x = Conv(24, (3, 3), 2, **self.common, name="stem")(x)
        x = max_pool3(x)
        for stage, features, units in ((2, 384, 4), (3, 768, 8), (4, 1536, 4)):
            for i in range(units):
                unit = ShuffleUnit(
                    features,
                    first_groups=1 if (stage, i) == (2, 0) else 8,
                    halve=i == 0,
                    **self.common,
                    name=f"unit{stage}_{i}",
                )
                x = unit(x, train=train)
            if stage == 2:
                low = x
        return x, low


class Darknet19(Unit):
    """`(b, h, w, 3)` to 1024 channels at 1/16 and 128 at 1/4; h, w multiples of 4.

    With `output_stride=32`, Table I's first row, the last pool is back and nothing is
    dilated. At 16 the authors' paddings are kept: 1x1 convolutions 14, 16 and 20 pad by
    1 and grow the map by 2, the dilated 3x3 ones 19, 21 and 23 shrink it by 2 again.
    Source: arXiv:1612.08242 and the authors' code, which the norm's momentum is from.
    """

    output_stride: int = 16

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        if self.output_stride not in (16, 32):
            raise ValueError(
                f"Darknet19's output_stride is 16 or 32, got {self.output_stride}."
            )

        def layer(number: int, features: int, k: int, x: jax.Array) -> jax.Array:
            dilation, padding = 1, None
            if self.output_stride == 16:
                dilation = 2 if number in (19, 21, 23) else 1
                padding = 1 if number in (14, 16, 19, 20, 21, 23) else None
            unit = ConvNormAct(
                features,
                (k, k),
                dilation=(dilation, dilation),
                padding=padding,
                use_bias=False,
                norm_eps=EPS,
                momentum=0.01,
                act="leaky_relu",
                **self.common,
                name=f"layer{number}",
            )
            return unit(x, train=train)

        x = max_pool2(layer(1, 32, 3, x))
        x = max_pool2(layer(3, 64, 3, x))
        x = layer(6, 64, 1, layer(5, 128, 3, x))
        low = x = layer(7, 128, 3, x)
        x = layer(9, 256, 3, max_pool2(x))
        x = layer(11, 256, 3, layer(10, 128, 1, x))
        x = layer(13, 512, 3, max_pool2(x))
        for number in (14, 16):
            x = layer(number + 1, 512, 3, layer(number, 256, 1, x))
        if self.output_stride == 32:
            x = max_pool2(x)
        x = layer(19, 1024, 3, x)
        for number in (20, 22):
            x = layer(number + 1, 1024, 3, layer(number, 512, 1, x))
        return x, low
