"""ESNet: an efficient symmetric network for real-time semantic segmentation.

Source: arXiv:1906.09826 and the authors' published network, which the layer numbers,
dropout rates and the shared batch norm of PFCU are from.
"""

from functools import partial

import flax.linen as nn
import jax

from jaxseg.models.layers import BatchNorm, Classifier2x, Dropout2d, Network, Unit
from jaxseg.models.sizes import check_input
from jaxseg.models.units import ConvNormAct, Downsampler, Upsampler
from jaxseg.ops import relu

EPS = 1e-3  # of every batch norm, in the authors' code


class FCU(Unit):
    """Factorised convolution unit: `(b, h, w, c) -> (b, h, w, c)`.

    Two K x K convolutions, each as K x 1 then 1 x K over all channels, dropout, and the
    input added. Source: section 3.2; dropout from the authors' code.

    Attributes:
        kernel: K, odd.
        dropout: share of the channels dropped in training.
        zero_init_residual: see `ESNet`.
    """

    kernel: int
    dropout: float = 0.0
    zero_init_residual: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        unit = partial(ConvNormAct, x.shape[-1], **self.common)
        vertical, horizontal = (self.kernel, 1), (1, self.kernel)
        y = unit(vertical, act="relu", name="tall1")(x, train=train)
        y = unit(horizontal, norm_eps=EPS, act="relu", name="wide1")(y, train=train)
        y = unit(vertical, act="relu", name="tall2")(y, train=train)
        last = unit(
            horizontal,
            norm_eps=EPS,
            initial_scale=0.0 if self.zero_init_residual else 1.0,
            name="wide2",
        )
        y = last(y, train=train)
        y = Dropout2d(self.dropout, name="dropout")(y, train=train)
        return relu(x + y)


class PFCU(Unit):
    """Parallel factorised convolution unit: `(b, h, w, c) -> (b, h, w, c)`.

    A factorised 3 x 3 convolution, then three dilated ones side by side, each with
    dropout, whose sum is added to the input. The three branches share one batch norm:
    each is normalised with its own batch statistics, and the running statistics move
    three times a step, in the order of `dilations`. Source: section 3.3; the shared
    norm and the dropout from the authors' code.
    """

    dilations: tuple[int, ...] = (2, 5, 9)
    dropout: float = 0.3
    zero_init_residual: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        unit = partial(ConvNormAct, x.shape[-1], **self.common)
        y = unit((3, 1), act="relu", name="tall")(x, train=train)
        y = unit((1, 3), norm_eps=EPS, act="relu", name="wide")(y, train=train)
        shared = BatchNorm(
            EPS,
            initial_scale=0.0 if self.zero_init_residual else 1.0,
            **self.common,
            name="norm",
        )
        total = x
        for d in self.dilations:
            z = unit((3, 1), dilation=(d, 1), act="relu", name=f"tall_d{d}")(
                y, train=train
            )
            z = unit((1, 3), dilation=(1, d), shared_norm=shared, name=f"wide_d{d}")(
                z, train=train
            )
            total += Dropout2d(self.dropout, name=f"dropout_d{d}")(z, train=train)
        return relu(total)


class ESNet(Network):
    """Maps `(b, h, w, 3)` to logits `(b, h, w, num_classes)`, any h and w.

    A symmetric encoder and decoder without skip connections. 1,659,071 parameters for
    19 classes; the authors' 1,661,522 count an output of the encoder alone, which the
    full network never uses. Weights start as PyTorch's defaults, for the authors
    published no initialisation.

    Attributes:
        num_classes: see `Network`.
        zero_init_residual: start the last batch norm of every FCU and PFCU at scale 0,
            so that each of them begins as the identity (torchvision's option of that
            name; not the authors'). From PyTorch's default the gradient grows
            a hundredfold from the last layer to the first, and a short training hardly
            gets under way.
    """

    zero_init_residual: bool = False

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        check_input(image)
        fcu = partial(FCU, zero_init_residual=self.zero_init_residual, **self.common)
        down = partial(Downsampler, norm_eps=EPS, act="relu", **self.common)
        up = partial(Upsampler, norm_eps=EPS, act="relu", **self.common)
        x = down(16, name="down1")(image, train=train)
        for i in range(3):
            x = fcu(3, 0.03, name=f"fcu1_{i}")(x, train=train)
        x = down(64, name="down2")(x, train=train)
        for i in range(2):
            x = fcu(5, 0.03, name=f"fcu2_{i}")(x, train=train)
        x = down(128, name="down3")(x, train=train)
        for i in range(3):
            pfcu = PFCU(
                zero_init_residual=self.zero_init_residual,
                **self.common,
                name=f"pfcu3_{i}",
            )
            x = pfcu(x, train=train)
        x = up(64, name="up4")(x, train=train)
        for i in range(2):
            x = fcu(5, name=f"fcu4_{i}")(x, train=train)
        x = up(16, name="up5")(x, train=train)
        for i in range(2):
            x = fcu(3, name=f"fcu5_{i}")(x, train=train)
        head = Classifier2x(self.num_classes, **self.common, name="deconv")
        # For sizes that are not multiples of 8 the authors' network returns the next
        # multiple's size.
        return head(x)[:, : image.shape[1], : image.shape[2]]
