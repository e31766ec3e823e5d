"""FDDWNet: factorised dilated depthwise convolutions with skip branches.

Source: arXiv:1911.00632 and the authors' published network, which ReLU6 (the paper
prints ReLU), the dropout rates, the dilations and the form of the skip branches are
from.
"""

from functools import partial

import flax.linen as nn
import jax

from jaxseg.models.layers import Classifier2x, Dropout2d, Network, Unit, kaiming_normal
from jaxseg.models.sizes import check_input
from jaxseg.models.units import ConvNormAct, DepthwisePair, Downsampler, Upsampler
from jaxseg.ops import relu6

EPS = 1e-3  # of every batch norm, in the authors' code


class EERM(Unit):
    """Extremely efficient residual module: `(b, h, w, c) -> (b, h, w, c)`.

    Twice a factorised depthwise 3x3 and a 1x1 convolution, the second time dilated;
    dropout, and the input added. Source: section 2.2; dropout from the authors' code.

    Attributes:
        dilation: tap spacing of the second depthwise pair, in pixels of `x`.
        dropout: share of the channels dropped in training.
    """

    dilation: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        pair = partial(
            DepthwisePair, use_bias=True, norm_eps=EPS, act=None, **self.common
        )
        mix = partial(
            ConvNormAct,
            x.shape[-1],
            (1, 1),
            kernel_init=kaiming_normal,
            norm_eps=EPS,
            **self.common,
        )
        y = pair(1, name="pair1")(x, train=train)
        y = mix(act="relu6", name="mix1")(y, train=train)
        y = pair(self.dilation, name="pair2")(y, train=train)
        y = mix(name="mix2")(y, train=train)
        y = Dropout2d(self.dropout, name="dropout")(y, train=train)
        return relu6(x + y)


class FDDWNet(Network):
    """Maps `(b, h, w, 3)` to logits `(b, h, w, num_classes)`; h, w multiples of 8.

    807,951 parameters for 19 classes. Convolutions start from N(0, 2 / fan_in), biases
    and transposed convolutions as PyTorch's defaults (the authors' training script).

    Attributes:
        num_classes: see `Network`.
    """

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        check_input(x, multiple=8)
        eerm = partial(EERM, **self.common)
        down = partial(
            Downsampler,
            norm_eps=EPS,
            act="relu6",
            kernel_init=kaiming_normal,
            **self.common,
        )
        up = partial(Upsampler, norm_eps=EPS, act="relu6", **self.common)
        x = down(16, name="down1")(x, train=train)
        x = down(64, name="down2")(x, train=train)
        for i in range(5):
            x = eerm(1, 0.03, name=f"eerm2_{i}")(x, train=train)
        quarter = x
        x = down(128, name="down3")(x, train=train)
        for i, d in enumerate((1, 2, 5, 9, 1, 2, 5, 9, 2, 5, 9, 17, 2, 5, 9, 17)):
            x = eerm(d, 0.3, name=f"eerm3_{i}")(x, train=train)
        x = up(64, name="up4")(x, train=train)
        x = relu6(x + eerm(1, name="skip4")(quarter, train=train))
        for i in range(2):
            x = eerm(1, name=f"eerm4_{i}")(x, train=train)
        x = up(16, name="up5")(x, train=train)
        skip = up(16, name="skip5_up")(quarter, train=train)
        x = relu6(x + eerm(1, name="skip5")(skip, train=train))
        for i in range(2):
            x = eerm(1, name=f"eerm5_{i}")(x, train=train)
        return Classifier2x(self.num_classes, **self.common, name="deconv")(x)
