"""Layers that several networks share.

`kernel` is `(kh, kw, in / groups, out)`. What becomes of layers where a network is
deployed, `jaxseg.deploy` knows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypedDict

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jaxseg.ops import (
    Pair,
    conv2d,
    conv2d_transpose,
    depthwise2d,
    hw_of,
    prelu,
    relu,
    relu6,
    resize_bilinear,
)
from jaxseg.ops.batch_norm import batch_norm

Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


# "prelu" has parameters of its own: see `activate`.
ACTIVATIONS: dict[str | None, Callable[[jax.Array], jax.Array]] = {
    None: lambda x: x,
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": partial(nn.leaky_relu, negative_slope=0.1),
}


def torch_uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws U(-b, b) with b = 1 / sqrt(fan_in), PyTorch's default for convolutions.

    `fan_in` is taken from a `(kh, kw, in, out)` shape. Source: torch.nn.Conv2d.
    """
    bound = (shape[0] * shape[1] * shape[2]) ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def kaiming_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws N(0, 2 / fan_in), fan_in as in `torch_uniform`."""
    std = (2 / (shape[0] * shape[1] * shape[2])) ** 0.5
    return std * jax.random.normal(key, shape, dtype)


class Common(TypedDict):
    """The attributes of `Unit`."""

    dtype: DTypeLike
    axis_name: str | None


class Unit(nn.Module, kw_only=True):
    """The attributes that every layer, unit, block and network here has.

    Attributes:
        dtype: compute dtype; parameters and batch statistics stay float32.
        axis_name: the mapped axis over which `jax.pmap` or `shard_map` split the
            batch, so that batch statistics are those of the whole batch; None under
            plain `jax.jit`, where the batch is whole.
    """

    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @property
    def common(self) -> Common:
        """The attributes that a unit hands on to the units inside it."""
        return Common(dtype=self.dtype, axis_name=self.axis_name)


class PReLU(Unit):
    """`x` where positive, else `slope * x`; one slope per channel, initially 0.25."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.constant(0.25)
        slope = self.param("slope", init, (x.shape[-1],), jnp.float32)
        return prelu(x, slope.astype(x.dtype))


def activate(unit: Unit, act: str | None, x: jax.Array) -> jax.Array:
    """Applies `act`, "prelu" or a key of `ACTIVATIONS`, inside a compact `unit`."""
    if act == "prelu":
        return PReLU(**unit.common, name="prelu")(x)
    return ACTIVATIONS[act](x)


class BatchNorm(Unit):
    """Batch norm over all but the last axis, with PyTorch's running statistics.

    Training normalises with the batch's mean and biased variance and moves the running
    values by `momentum` towards the mean and the *unbiased* variance (flax's own layer
    stores the biased one). Source: torch.nn.BatchNorm2d.

    Attributes:
        eps: added to the variance.
        momentum: PyTorch's convention; 0.1 is flax's 0.9.
        initial_scale: what the scale (PyTorch's weight) starts from.
    """

    eps: float
    momentum: float = 0.1
    initial_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        c = x.shape[-1]
        initial_scale = nn.initializers.constant(self.initial_scale)
        scale = self.param("scale", initial_scale, (c,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (c,), jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
        x = x.astype(jnp.float32)
        if train and not self.is_initializing():
            y, m, v, n = batch_norm(self.eps, self.axis_name, x, scale, bias)
            mean.value += self.momentum * (m - mean.value)
            unbiased = v * (n / jnp.maximum(n - 1, 1))
            var.value += self.momentum * (unbiased - var.value)
        else:
            gain = scale * lax.rsqrt(var.value + self.eps)
            y = x * gain + (bias - mean.value * gain)
        return y.astype(self.dtype)


class Conv(Unit):
    """Convolution with symmetric padding: `(b, h, w, ci) -> (b, h / s, w / s, co)`.

    Attributes:
        padding: see `conv2d`.
        kernel_init, bias_init: by default PyTorch's U(+-1/sqrt(fan_in)).
    """

    features: int
    kernel_size: Pair
    stride: int = 1
    dilation: Pair = (1, 1)
    padding: int | None = None
    groups: int = 1
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform
    bias_init: Initializer | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `conv2d`."""
        return dict(
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            groups=self.groups,
        )

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv2d(x.astype(self.dtype), kernel.astype(self.dtype), **self.options)
        if not self.use_bias:
            return y
        bias_init = self.bias_init or _bias_init(shape)
        bias = self.param("bias", bias_init, (self.features,), jnp.float32)
        return y + bias.astype(y.dtype)


class DepthwiseConv(Unit):
    """One kernel per channel, padding on all sides: `(b, h, w, c) -> (b, h/s, w/s, c)`.

    Parameters as those of `nn.Conv(feature_group_count=c)`; initialised as `Conv`.
    """

    kernel_size: Pair
    stride: int = 1
    dilation: Pair = (1, 1)
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        c = x.shape[-1]
        shape = (*self.kernel_size, 1, c)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = depthwise2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            dilation=self.dilation,
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", _bias_init(shape), (c,), jnp.float32)
        return y + bias.astype(y.dtype)


class ConvTranspose(Unit):
    """Transposed convolution, stride 2: `(b, h, w, ci) -> (b, 2h, 2w, co)`.

    Initialised as PyTorch does by default, with its fan_in of `out * kh * kw`.
    """

    features: int
    kernel_size: Pair

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        fan_in_shape = (*self.kernel_size, self.features, x.shape[-1])

        def init(key, shape, dtype):
            return torch_uniform(key, fan_in_shape, dtype).swapaxes(2, 3)

        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param(
            "bias", _bias_init(fan_in_shape), (self.features,), jnp.float32
        )
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        bias = bias.astype(x.dtype)
        return conv2d_transpose(x, kernel, lambda y: y + bias)


class Classifier2x(ConvTranspose):
    """The transposed 2x2 convolution that a network ends with: its output is logits."""

    kernel_size: Pair = (2, 2)


def _bias_init(kernel_shape: tuple[int, ...]):
    """PyTorch draws a bias with the bound of its kernel's fan_in."""
    bound = (kernel_shape[0] * kernel_shape[1] * kernel_shape[2]) ** -0.5
    return lambda key, shape, dtype: jax.random.uniform(
        key, shape, dtype, -bound, bound
    )


class Dropout2d(nn.Module):
    """Zeroes whole channels of a sample and scales the rest by `1 / (1 - rate)`."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return nn.Dropout(self.rate, broadcast_dims=(1, 2))(x, deterministic=not train)


class Network(Unit):
    """The base of the networks.

    Attributes:
        num_classes: k.
    """

    num_classes: int = 19

    @property
    def stride(self) -> int:
        """Pixels of the image from one position of the deepest map to the next."""
        return 8

    def enlarge(
        self, logits: jax.Array, image: jax.Array, *, align_corners: bool
    ) -> jax.Array:
        """Logits at the size of the image: the last step of a network that resizes."""
        return resize_bilinear(logits, hw_of(image), align_corners=align_corners)
