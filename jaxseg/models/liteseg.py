"""LiteSeg: a deeper atrous pyramid and a light decoder on a choice of backbones.

Source: arXiv:1912.06683 and the authors' published network; the activations within the
pyramid, its 1x1 depthwise convolutions and the resizing are in the code alone.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.backbones import EPS, Darknet19, MobileNetV2, ShuffleNet
from jaxseg.models.layers import (
    Conv,
    DepthwiseConv,
    Initializer,
    Network,
    Unit,
    kaiming_normal,
    torch_uniform,
)
from jaxseg.models.sizes import check_input
from jaxseg.models.units import ConvNormAct
from jaxseg.ops import concatenate, hw_of, mean_over_pixels, resize_bilinear

WIDTH = 96  # of the pyramid's branches and of the decoder
# Channels that the low-level map is reduced to; None leaves it as it is.
LOW_FEATURES = {"mobilenet_v2": None, "shufflenet": 48, "darknet19": 32}


class SeparableUnit(Unit):
    """k x k convolution, batch norm, activation: `(b, h, w, ci) -> (b, h, w, co)`.

    The convolution is a depthwise one, then a 1x1 with nothing between them (so for
    k = 1 a factor per channel comes first), or with `separable=False` an ordinary one.
    """

    features: int
    kernel: int
    dilation: int = 1
    act: str | None = None
    separable: bool = True
    kernel_init: Initializer = torch_uniform

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        kernel, dilation = (self.kernel, self.kernel), (self.dilation, self.dilation)
        kwargs: dict[str, Any] = dict(
            use_bias=False, kernel_init=self.kernel_init, **self.common
        )
        if self.separable:
            depthwise = DepthwiseConv(kernel, 1, dilation, **kwargs, name="depthwise")
            x, kernel, dilation = depthwise(x), (1, 1), (1, 1)
        unit = partial(ConvNormAct, self.features, kernel, dilation=dilation, **kwargs)
        return unit(norm_eps=EPS, act=self.act, name="mix")(x, train=train)


class DASPP(Unit):
    """Deeper atrous spatial pyramid pooling: `(b, h, w, c) -> (b, h, w, c + 480)`.

    Concatenates the input, a 1x1 branch, 3x3 branches dilated by 3, 6 and 9 with
    another 3x3 behind each, and the mean over the image. Source: section II-D.

    Attributes:
        deeper: False leaves out the second 3x3 convolutions and the input, which makes
            it the ASPP of Table I's first row, `(b, h, w, 480)`.
        separable: see `SeparableUnit`.
    """

    deeper: bool = True
    separable: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        unit = partial(
            SeparableUnit,
            WIDTH,
            separable=self.separable,
            kernel_init=kaiming_normal,
            **self.common,
        )
        maps = [x] if self.deeper else []
        maps.append(unit(1, name="branch1")(x, train=train))
        for rate in (3, 6, 9):
            y = unit(3, rate, name=f"branch{rate}")(x, train=train)
            if self.deeper:
                y = unit(3, act="relu", name=f"refine{rate}")(y, train=train)
            maps.append(y)
        pool = partial(
            ConvNormAct, WIDTH, (1, 1), use_bias=False, norm_eps=EPS, act="relu"
        )
        mean = mean_over_pixels(x)
        mean = pool(**self.common, name="pool")(mean, train=train)
        maps.append(jnp.broadcast_to(mean, (*x.shape[:3], WIDTH)))
        return concatenate(maps)


class LiteSeg(Network):
    """Maps `(b, h, w, 3)` to logits `(b, h, w, num_classes)`.

    Takes any h, w; with Darknet19 multiples of 4, 16 at least. Parameters for 19
    classes: 3,101,707 (MobileNetV2), 1,971,451 (ShuffleNet), 20,545,459 (Darknet19);
    the papers' 4.38 M and 3.51 M count ImageNet classifiers that are never used. The
    pyramid starts from N(0, 2 / fan_in), the rest as PyTorch's defaults (the authors'
    code).

    Attributes:
        num_classes: see `Network`.
        backbone: "mobilenet_v2", "shufflenet" or "darknet19".
        deeper: False is Table I's baseline, ASPP in place of DASPP.
        separable: False is Table I's ordinary convolutions.
        output_stride: of Darknet19, 16 or Table I's 32; the others have 32.
    """

    backbone: str = "mobilenet_v2"
    deeper: bool = True
    separable: bool = True
    output_stride: int | None = None

    @property
    def stride(self) -> int:
        """16 for Darknet19 (Table I: or 32), 32 for the others."""
        return self.output_stride or (16 if self.backbone == "darknet19" else 32)

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        x, low = self._backbone(image)(image.astype(self.dtype), train=train)
        unit = partial(SeparableUnit, separable=self.separable, **self.common)
        daspp = DASPP(self.deeper, self.separable, **self.common, name="daspp")
        x = daspp(x, train=train)
        x = unit(WIDTH, 1, act="relu", name="reduce")(x, train=train)
        x = resize_bilinear(x, hw_of(low), align_corners=True)
        low_features = LOW_FEATURES[self.backbone]
        if low_features is not None:
            low = unit(low_features, 1, act="relu", name="low")(low, train=train)
        x = jnp.concatenate([x, low], -1)
        for i in range(2):
            x = unit(WIDTH, 3, act="relu", name=f"decode{i}")(x, train=train)
        head = Conv(self.num_classes, (1, 1), **self.common, name="classifier")
        return self.enlarge(head(x), image, align_corners=True)

    def _backbone(self, image: jax.Array) -> nn.Module:
        if self.backbone not in LOW_FEATURES:
            raise ValueError(
                f"backbone must be one of {list(LOW_FEATURES)}, got {self.backbone!r}."
            )
        if self.backbone == "darknet19":
            check_input(image, multiple=4, least=16)
            return Darknet19(self.stride, **self.common, name="backbone")
        check_input(image)
        if self.output_stride not in (None, 32):
            raise ValueError(
                f"{self.backbone}'s output_stride is 32, got {self.output_stride}."
            )
        network = MobileNetV2 if self.backbone == "mobilenet_v2" else ShuffleNet
        return network(**self.common, name="backbone")
