"""Units that several networks share, which the papers' blocks are composed of.

A unit is a convolution with its batch norm and activation, a down-sampling
concatenation, or a transposed convolution with batch norm.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.models.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    DepthwiseConv,
    Initializer,
    Unit,
    activate,
    kaiming_normal,
    torch_uniform,
)
from jaxseg.ops import Pair, max_pool2


class ConvNormAct(Unit):
    """Convolution, batch norm, activation: `(b, h, w, ci) -> (b, h / s, w / s, co)`.

    Attributes:
        padding, groups, use_bias, kernel_init: see `Conv`.
        norm_eps: of the batch norm; None for none.
        momentum: of that batch norm.
        initial_scale: what the scale of that batch norm starts from.
        shared_norm: a batch norm that belongs to the caller, in place of an own one.
        act: see `activate`.
    """

    features: int
    kernel_size: Pair
    stride: int = 1
    dilation: Pair = (1, 1)
    padding: int | None = None
    groups: int = 1
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform
    norm_eps: float | None = None
    momentum: float = 0.1
    initial_scale: float = 1.0
    shared_norm: BatchNorm | None = None
    act: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.dilation,
            self.padding,
            self.groups,
            self.use_bias,
            self.kernel_init,
            **self.common,
            name="conv",
        )(x)
        norm = self.shared_norm
        if norm is None and self.norm_eps is not None:
            norm = BatchNorm(
                self.norm_eps,
                self.momentum,
                self.initial_scale,
                **self.common,
                name="norm",
            )
        if norm is not None:
            x = norm(x, train=train)
        return activate(self, self.act, x)


class DepthwiseNormAct(Unit):
    """Depthwise convolution, batch norm, activation; attributes of `ConvNormAct`."""

    kernel_size: Pair
    norm_eps: float
    stride: int = 1
    dilation: Pair = (1, 1)
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform
    act: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = DepthwiseConv(
            self.kernel_size,
            self.stride,
            self.dilation,
            self.use_bias,
            self.kernel_init,
            **self.common,
            name="depthwise",
        )(x)
        x = BatchNorm(self.norm_eps, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class DepthwisePair(Unit):
    """A depthwise 3x3 convolution as 3x1, then 1x3: `(b, h, w, c) -> (b, h, w, c)`.

    Batch norm and activation follow each of the two. Source: DABNet's and FDDWNet's
    code, whose modules are built of such pairs.
    """

    dilation: int
    use_bias: bool
    norm_eps: float
    act: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        d = self.dilation
        half = partial(
            DepthwiseNormAct,
            use_bias=self.use_bias,
            kernel_init=kaiming_normal,
            norm_eps=self.norm_eps,
            act=self.act,
            **self.common,
        )
        x = half((3, 1), dilation=(d, 1), name="tall")(x, train=train)
        return half((1, 3), dilation=(1, d), name="wide")(x, train=train)


class Downsampler(Unit):
    """Halves the size, rounded up: `(b, h, w, ci) -> (b, h / 2, w / 2, features)`.

    Concatenates a 3x3 stride-2 convolution (`features - ci` channels) with the 2x2
    maximum of the input, then batch norm and activation. Source: ERFNet's code, which
    ESNet's, FDDWNet's and DABNet's follow. Where a size is odd, the maximum of what has
    no partner is 0, as in ESNet's; the others refuse such sizes.
    """

    features: int
    norm_eps: float
    act: str
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        conv = Conv(
            self.features - x.shape[-1],
            (3, 3),
            2,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            **self.common,
            name="conv",
        )
        pooled = self.padded_to_even(max_pool2(x), x.shape).astype(self.dtype)
        norm = BatchNorm(self.norm_eps, **self.common, name="norm")
        x = norm(jnp.concatenate([conv(x), pooled], -1), train=train)
        return activate(self, self.act, x)

    @nn.nowrap
    def padded_to_even(self, pooled: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The maxima of a map of `shape`, with zeros where it has an odd size."""
        odd = [(0, n % 2) for n in shape[1:3]]
        return jnp.pad(pooled, [(0, 0), *odd, (0, 0)])


class Upsampler(Unit):
    """Doubles the size: `(b, h, w, ci) -> (b, 2h, 2w, features)`.

    Transposed 3x3 convolution, batch norm, activation. Source: ERFNet's code.

    Attributes:
        act: a key of `ACTIVATIONS`.
    """

    features: int
    norm_eps: float
    act: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = ConvTranspose(self.features, (3, 3), **self.common, name="deconv")(x)
        x = BatchNorm(self.norm_eps, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)
