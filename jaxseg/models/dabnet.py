"""DABNet: depth-wise asymmetric bottlenecks for real-time semantic segmentation.

Source: arXiv:1907.11357 and the authors' published network, which the norms between
the asymmetric convolutions, the pooled image and its concatenations are from.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.esnet import FCU
from jaxseg.models.layers import (
    BatchNorm,
    Classifier2x,
    Conv,
    Network,
    Unit,
    activate,
    kaiming_normal,
)
from jaxseg.models.sizes import check_input
from jaxseg.models.units import ConvNormAct, DepthwisePair, Downsampler, Upsampler
from jaxseg.ops import adaptive_avg_pool, avg_pool3, hw_of, resize_bilinear

EPS = 1e-3  # of every batch norm, in the authors' code
HEADS = ("bilinear", "erf", "spp")


class NormAct(Unit):
    """Batch norm and activation, before a convolution or after a concatenation."""

    norm_eps: float
    act: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = BatchNorm(self.norm_eps, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class DABModule(Unit):
    """Depth-wise asymmetric bottleneck: `(b, h, w, c) -> (b, h, w, c)`, c even.

    A 3x3 convolution halves the channels; a plain and a dilated depthwise pair run side
    by side; their sum is expanded back and added to the input. Source: section 3.1.

    Attributes:
        dilation: tap spacing of the dilated pair, in pixels of `x`.
        squeeze_dilation: of the 3x3 convolution; 2 in one row of Table 2.
    """

    dilation: int
    squeeze_dilation: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        c = x.shape[-1]
        if c % 2:
            raise ValueError(f"DABModule halves c: c must be even, got {x.shape}.")
        kwargs: dict[str, Any] = dict(norm_eps=EPS, act="prelu", **self.common)
        conv: dict[str, Any] = dict(use_bias=False, kernel_init=kaiming_normal)
        squeeze = ConvNormAct(
            c // 2,
            (3, 3),
            dilation=(self.squeeze_dilation,) * 2,
            **conv,
            **kwargs,
            name="squeeze",
        )
        pair = partial(DepthwisePair, use_bias=False, **kwargs)
        y = NormAct(**kwargs, name="norm_in")(x, train=train)
        y = squeeze(y, train=train)
        plain = pair(dilation=1, name="plain")(y, train=train)
        dilated = pair(dilation=self.dilation, name="dilated")(y, train=train)
        y = NormAct(**kwargs, name="norm_sum")(plain + dilated, train=train)
        return x + Conv(c, (1, 1), **conv, **self.common, name="expand")(y)


class ERFDecoder(Unit):
    """ERFNet's decoder: `(b, h, w, c)` to logits `(b, 8h, 8w, num_classes)`.

    Its non-bottleneck-1D with 3 taps is ESNet's `FCU(3)`. Source: Table 2, "ERF".
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        for c in (64, 16):
            up = Upsampler(c, EPS, "relu", **self.common, name=f"up{c}")
            x = up(x, train=train)
            for i in range(2):
                x = FCU(3, **self.common, name=f"fcu{c}_{i}")(x, train=train)
        return Classifier2x(self.num_classes, **self.common, name="deconv")(x)


class SPPHead(Unit):
    """PSPNet's pyramid pooling: `(b, h, w, c)` to logits `(b, h, w, num_classes)`.

    The map is averaged over 1, 4, 9 and 36 tiles, each reduced to c / 4 channels.
    Source: Table 2, "SPP"; the paper states no widths, ours are PSPNet's: c / 4 rounded
    up (65) has Table 2's 3.22 M parameters.
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        unit = partial(
            ConvNormAct,
            use_bias=False,
            kernel_init=kaiming_normal,
            norm_eps=EPS,
            act="relu",
            **self.common,
        )
        maps = [x]
        for bins in (1, 2, 3, 6):
            reduce = unit(-(-x.shape[-1] // 4), (1, 1), name=f"pool{bins}")
            y = reduce(adaptive_avg_pool(x, bins), train=train)
            maps.append(resize_bilinear(y, hw_of(x), align_corners=False))
        x = unit(512, (3, 3), name="mix")(jnp.concatenate(maps, -1), train=train)
        return Conv(
            self.num_classes,
            (1, 1),
            kernel_init=kaiming_normal,
            **self.common,
            name="classifier",
        )(x)


class DABNet(Network):
    """Maps `(b, h, w, 3)` to logits `(b, h, w, num_classes)`.

    Takes h, w that are multiples of 4 or one less. 756,643 parameters for 19 classes.
    Convolutions start from N(0, 2 / fan_in), slopes of PReLU from 0.25 (the authors'
    training script).

    Attributes:
        num_classes: see `Network`.
        dilations1, dilations2: of the modules of DAB blocks 1 and 2.
        squeeze_dilation: of the 3x3 convolution that every module begins with.
        head: "bilinear", or Table 2's "erf" (a decoder; h, w multiples of 8) or "spp".
    """

    dilations1: tuple[int, ...] = (2, 2, 2)
    dilations2: tuple[int, ...] = (4, 4, 8, 8, 16, 16)
    squeeze_dilation: int = 1
    head: str = "bilinear"

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        if self.head not in HEADS:
            raise ValueError(f"head must be one of {HEADS}, got {self.head!r}.")
        if self.head == "erf":
            check_input(image, multiple=8)
        else:
            check_input(image, multiple=4, short=1)
        kwargs: dict[str, Any] = dict(norm_eps=EPS, act="prelu", **self.common)
        conv: dict[str, Any] = dict(use_bias=False, kernel_init=kaiming_normal)
        unit = partial(ConvNormAct, kernel_size=(3, 3), **conv, **kwargs)
        dab = partial(DABModule, squeeze_dilation=self.squeeze_dilation, **self.common)
        # The authors shrink the image by repeated 3x3 averages, one a stage.
        pooled = [avg_pool3(image.astype(self.dtype))]
        for _ in range(2):
            pooled.append(avg_pool3(pooled[-1]))

        x = image
        for i in range(3):
            stride = 2 if i == 0 else 1
            x = unit(features=32, stride=stride, name=f"stem{i}")(x, train=train)
        x = jnp.concatenate([x, pooled[0]], -1)
        x = NormAct(**kwargs, name="norm1")(x, train=train)
        first = Downsampler(64, **conv, **kwargs, name="down1")(x, train=train)
        x = first
        for i, d in enumerate(self.dilations1):
            x = dab(d, name=f"dab1_{i}")(x, train=train)
        x = jnp.concatenate([x, first, pooled[1]], -1)
        x = NormAct(**kwargs, name="norm2")(x, train=train)
        # 131 channels in, 128 out: no room for the pooled half of a `Downsampler`.
        second = unit(features=128, stride=2, name="down2")(x, train=train)
        x = second
        for i, d in enumerate(self.dilations2):
            x = dab(d, name=f"dab2_{i}")(x, train=train)
        x = jnp.concatenate([x, second, pooled[2]], -1)
        x = NormAct(**kwargs, name="norm3")(x, train=train)
        if self.head == "erf":
            decoder = ERFDecoder(self.num_classes, **self.common, name="erf")
            return decoder(x, train=train)
        if self.head == "spp":
            spp = SPPHead(self.num_classes, **self.common, name="spp")
            x = spp(x, train=train)
        else:
            head = Conv(self.num_classes, (1, 1), **conv, **self.common, name="head")
            x = head(x)
        return self.enlarge(x, image, align_corners=False)
