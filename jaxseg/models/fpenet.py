"""FPENet: feature pyramid encoding blocks and mutual embedding upsampling.

Source: arXiv:1909.08599. There is no code by the authors. What the paper leaves open
(how long skips join, where biases and norms are) is our reading: the one whose
parameter and operation counts are those of the paper's Tables 4 and 7.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.layers import Conv, Network, Unit
from jaxseg.models.sizes import check_input
from jaxseg.models.units import ConvNormAct, DepthwiseNormAct
from jaxseg.ops import (
    concatenate,
    hw_of,
    mean_over_channels,
    mean_over_pixels,
    relu,
    resize_bilinear,
)

EPS = 1e-5  # of every batch norm
DECODERS = ("meu", "channel", "naive")


class FPEBlock(Unit):
    """Feature pyramid encoding: `(b, h, w, ci) -> (b, h / s, w / s, features)`.

    A 1x1 convolution expands the channels; each of as many groups as there are rates
    goes through a dilated depthwise 3x3, the result is added to the next group before
    its own; a linear 1x1 fuses them. The input is added where shapes agree. With stride
    2 the groups are not chained, for they are larger than what would be added. Source:
    section 3.1.

    Attributes:
        rates: dilation of each group's convolution.
        expansion: expanded channels, in multiples of `features`.
        chain: add each group's result to the next group.
    """

    features: int
    rates: tuple[int, ...] = (1, 2, 4, 8)
    expansion: int = 4
    stride: int = 1
    chain: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        hidden = self.expansion * self.features
        if hidden % len(self.rates):
            raise ValueError(
                f"FPEBlock splits its {hidden} channels into {len(self.rates)} groups, "
                "one a rate: give it a number of rates that divides them."
            )
        kwargs: dict[str, Any] = dict(use_bias=False, norm_eps=EPS, **self.common)
        conv = partial(ConvNormAct, kernel_size=(1, 1), **kwargs)
        y = conv(features=hidden, act="relu", name="expand")(x, train=train)
        groups = jnp.split(y, len(self.rates), -1)
        results: list[jax.Array] = []
        for i, group in enumerate(groups):
            if self.chain and self.stride == 1 and i > 0:
                group = group + results[-1]
            branch = DepthwiseNormAct(
                (3, 3),
                stride=self.stride,
                dilation=(self.rates[i],) * 2,
                act="relu",
                **kwargs,
                name=f"branch{i}",
            )
            results.append(branch(group, train=train))
        project = conv(features=self.features, name="project")
        y = project(concatenate(results), train=train)
        return x + y if x.shape == y.shape else y


class MEU(Unit):
    """Mutual embedding upsampling: two maps to one, `(b, h, w, features)` like `low`.

    The deep map's mean weights the channels of the low-level map, whose own mean over
    channels weights the pixels of the deep one. Source: section 3.2; without norms and
    with biases, our reading. The biases of both attentions start at 1, so that MEU
    starts close to a plain sum; from a random start a ReLU can be dead for a whole map.

    Attributes:
        spatial: False leaves out the weights of pixels (Table 6, "CA" alone).
    """

    features: int
    spatial: bool = True

    @nn.compact
    def __call__(self, high: jax.Array, low: jax.Array) -> jax.Array:
        conv = partial(Conv, kernel_size=(1, 1), **self.common)
        weight = partial(conv, bias_init=nn.initializers.ones)
        high = conv(self.features, name="high")(high)
        low = conv(self.features, name="low")(low)
        mean = mean_over_pixels(high)
        channels = relu(weight(self.features, name="channel")(mean))
        high = resize_bilinear(high, hw_of(low), align_corners=False)
        if self.spatial:
            pixels = weight(1, name="spatial")(mean_over_channels(low))
            high = high * relu(pixels)
        return low * channels + high


class FPENet(Network):
    """Maps `(b, h, w, 3)` to logits `(b, h, w, num_classes)`, any h and w.

    378,391 parameters for 19 classes. Weights start as PyTorch's defaults (the paper
    states no initialisation), but see `MEU`.

    Attributes:
        num_classes: see `Network`.
        p, q: number of blocks of stages 2 and 3.
        rates, chain: see `FPEBlock`; of stages 2 and 3.
        long_skip: the first block's output of a stage joins the last one's, and so
            does the stem's that of stage 1.
        decoder: "meu", "channel" (MEU without the weights of pixels) or "naive" (1x1
            convolutions and resizing, without low-level maps).
    """

    p: int = 3
    q: int = 9
    rates: tuple[int, ...] = (1, 2, 4, 8)
    chain: bool = True
    long_skip: bool = True
    decoder: str = "meu"

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        if self.decoder not in DECODERS:
            raise ValueError(
                f"decoder must be one of {DECODERS}, got {self.decoder!r}."
            )
        check_input(image)
        block = partial(FPEBlock, chain=self.chain, **self.common)
        stem = ConvNormAct(
            16,
            (3, 3),
            2,
            use_bias=False,
            norm_eps=EPS,
            act="relu",
            **self.common,
            name="stem",
        )
        first = stem(image, train=train)
        x = block(16, (1,), expansion=1, name="fpe1_0")(first, train=train)
        stages = [self._join(first, x)]
        for stage, features, blocks in ((2, 32, self.p), (3, 64, self.q)):
            x = stages[-1]
            for i in range(blocks):
                stride = 2 if i == 0 else 1
                fpe = block(features, self.rates, stride=stride, name=f"fpe{stage}_{i}")
                x = fpe(x, train=train)
                first = x if i == 0 else first
            stages.append(self._join(first, x))
        half, quarter, x = stages
        for stage, features, low in ((2, 64, quarter), (1, 32, half)):
            if self.decoder == "naive":
                x = Conv(features, (1, 1), **self.common, name=f"up{stage}")(x)
                x = resize_bilinear(x, hw_of(low), align_corners=False)
            else:
                spatial = self.decoder == "meu"
                x = MEU(features, spatial, **self.common, name=f"meu{stage}")(x, low)
        head = Conv(self.num_classes, (1, 1), **self.common, name="classifier")
        return self.enlarge(head(x), image, align_corners=False)

    def _join(self, first: jax.Array, last: jax.Array) -> jax.Array:
        return concatenate([first, last]) if self.long_skip else last
