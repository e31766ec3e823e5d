"""Layers and units that several networks share.

A *unit* is what the papers' blocks are composed of: a convolution with its batch norm
and activation, a down-sampling concatenation, a transposed convolution with batch
norm. It has the form in which it is trained and, beside it, the folded one that is
deployed: see `jaxseg.models.fold`. `kernel` is `(kh, kw, in / groups, out)`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from jaxseg.ops import (
    Map,
    Pair,
    carry,
    concatenate,
    conv2d,
    conv2d_transpose,
    core,
    current_lowering,
    depthwise2d,
    max_pool2,
    prelu,
    relu,
    relu6,
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


Weights = Mapping[str, Any]  # of a unit: name -> float64 array, or the same of a part


class Unit(nn.Module, kw_only=True):
    """What every layer, unit, block and network here has in common.

    Attributes:
        dtype: compute dtype; parameters and batch statistics stay float32.
        axis_name: the mapped axis over which `jax.pmap` or `shard_map` split the
            batch, so that batch statistics are those of the whole batch; None under
            plain `jax.jit`, where the batch is whole.
        folded: the form that `jaxseg.models.fold` makes: batch norms are part of the
            kernels, and maps keep the dtype of the image whatever `dtype` is.
    """

    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    folded: bool = False

    @property
    def common(self) -> dict[str, Any]:
        """The attributes that a unit hands on to the units inside it."""
        return dict(dtype=self.dtype, axis_name=self.axis_name, folded=self.folded)

    def cast(self, x: Map) -> Map:
        """A map in the dtype that the unit computes in."""
        return x if self.folded else x.astype(self.dtype)

    def beside(self, maps: Sequence[Map]) -> Map:
        """Maps as one, side by side along the channels.

        In training they are copied into one array: a step gained nothing without it.
        """
        return concatenate(maps) if self.folded else core(concatenate(maps))

    def carry(self, x: Map, margin: Pair = (0, 0)) -> Map:
        """What several parts of a unit read, in the folded form in memory once.

        See `ops.carry`; in training `x` as it is.
        """
        return carry(x, margin) if self.folded else x

    def fold(
        self, weights: Callable[[tuple[str, ...]], Weights], hw: Pair
    ) -> Weights | None:
        """The weights of the folded form; None: those of the parts, each folded.

        Args:
            weights: parameters and statistics below a path, as float64.
            hw: size of the unit's input.
        """


def affine(norm: Weights, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Gain and shift of a batch norm in evaluation: `x * gain + shift`."""
    gain = norm["scale"] / np.sqrt(norm["var"] + eps)
    return gain, norm["bias"] - norm["mean"] * gain


def then_norm(conv: Weights, norm: Weights, eps: float) -> Weights:
    """A convolution and the batch norm behind it, as one convolution."""
    gain, shift = affine(norm, eps)
    bias = conv.get("bias", 0.0) * gain + shift
    return {"kernel": conv["kernel"] * gain, "bias": bias}


class PReLU(Unit):
    """`x` where positive, else `slope * x`; one slope a channel, initially 0.25."""

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
        if self.folded:
            return x * scale.astype(x.dtype) + bias.astype(x.dtype)
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

    def fold(self, weights, hw):
        gain, shift = affine(weights(self.path), self.eps)
        return {"scale": gain, "bias": shift}


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
    def geometry(self) -> dict[str, Any]:
        """The arguments of `conv2d`."""
        return dict(
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            groups=self.groups,
        )

    @nn.compact
    def __call__(self, x: Map) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
        if self.folded:
            kernel = self.get_variable("params", "kernel")
        else:
            kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv2d(self.cast(x), self.cast(kernel), **self.geometry)
        if not self.use_bias:
            return y
        bias_init = self.bias_init or _bias_init(shape)
        bias = self.param("bias", bias_init, (self.features,), jnp.float32)
        return y + bias.astype(y.dtype)


class DepthwiseConv(Unit):
    """One kernel a channel, symmetric padding: `(b, h, w, c) -> (b, h / s, w / s, c)`.

    Parameters as those of `nn.Conv(feature_group_count=c)`; initialised as `Conv`.
    """

    kernel_size: Pair
    stride: int = 1
    dilation: Pair = (1, 1)
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform

    @nn.compact
    def __call__(self, x: Map) -> jax.Array:
        c = x.shape[-1]
        shape = (*self.kernel_size, 1, c)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = depthwise2d(
            self.cast(x),
            self.cast(kernel),
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

    Attributes:
        act: what each pixel of the folded form goes through, see `ACTIVATIONS`.
        labels: return the classes of the largest of the co logits, uint8
            `(b, 2h, 2w)`.
    """

    features: int
    kernel_size: Pair
    act: str | None = None
    labels: bool = False

    @nn.compact
    def __call__(self, x: Map) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1], self.features)
        fan_in_shape = (*self.kernel_size, self.features, x.shape[-1])

        def init(key, shape, dtype):
            return torch_uniform(key, fan_in_shape, dtype).swapaxes(2, 3)

        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param(
            "bias", _bias_init(fan_in_shape), (self.features,), jnp.float32
        )
        x, kernel = self.cast(x), self.cast(kernel)
        bias = bias.astype(x.dtype)
        act = ACTIVATIONS[self.act]

        def finish(y):
            y = act(y + bias)
            return jnp.argmax(y, -1).astype(jnp.uint8) if self.labels else y

        return conv2d_transpose(x, kernel, finish)


def _bias_init(kernel_shape: tuple[int, ...]):
    """PyTorch draws a bias with the bound of its kernel's fan_in."""
    bound = (kernel_shape[0] * kernel_shape[1] * kernel_shape[2]) ** -0.5
    return lambda key, shape, dtype: jax.random.uniform(
        key, shape, dtype, -bound, bound
    )


class NormAct(Unit):
    """Batch norm and activation, before a convolution or after a concatenation."""

    norm: float
    act: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class ConvNormAct(Unit):
    """Convolution, batch norm, activation: `(b, h, w, ci) -> (b, h / s, w / s, co)`.

    Attributes:
        padding, groups, use_bias, kernel_init: see `Conv`.
        norm: eps of the batch norm; None for none.
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
    norm: float | None = None
    momentum: float = 0.1
    initial_scale: float = 1.0
    shared_norm: BatchNorm | None = None
    act: str | None = None

    @property
    def _normed(self) -> bool:
        return self.norm is not None or self.shared_norm is not None

    @nn.compact
    def __call__(self, x: Map, *, train: bool) -> jax.Array:
        x = Conv(
            self.features,
            self.kernel_size,
            self.stride,
            self.dilation,
            self.padding,
            self.groups,
            self.use_bias or (self.folded and self._normed),
            self.kernel_init,
            **self.common,
            name="conv",
        )(x)
        if self._normed and not self.folded:
            norm = self.shared_norm or BatchNorm(
                self.norm,
                self.momentum,
                self.initial_scale,
                **self.common,
                name="norm",
            )
            x = norm(x, train=train)
        return activate(self, self.act, x)

    def fold(self, weights, hw):
        if not self._normed:
            return None
        own = dict(weights(self.path))
        if self.shared_norm is not None:
            norm, eps = weights(self.shared_norm.path), self.shared_norm.eps
        else:
            norm, eps = own.pop("norm"), self.norm
        return {**own, "conv": then_norm(own["conv"], norm, eps)}


class DepthwiseNormAct(Unit):
    """Depthwise convolution, batch norm, activation; attributes of `ConvNormAct`."""

    kernel_size: Pair
    norm: float
    stride: int = 1
    dilation: Pair = (1, 1)
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform
    act: str | None = None

    @nn.compact
    def __call__(self, x: Map, *, train: bool) -> jax.Array:
        x = DepthwiseConv(
            self.kernel_size,
            self.stride,
            self.dilation,
            self.use_bias or self.folded,
            self.kernel_init,
            **self.common,
            name="depthwise",
        )(x)
        if not self.folded:
            x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)

    def fold(self, weights, hw):
        own = dict(weights(self.path))
        conv = then_norm(own["depthwise"], own.pop("norm"), self.norm)
        return {**own, "depthwise": conv}


class DepthwisePair(Unit):
    """A depthwise 3x3 convolution as 3x1, then 1x3: `(b, h, w, c) -> (b, h, w, c)`.

    Batch norm and activation follow each of the two. Source: DABNet's and FDDWNet's
    code, whose modules are built of such pairs.

    Without an activation between them the folded form is one 3x3 pass. What the first
    norm adds meets the zeros around the map in the second convolution, so the bias
    depends on the column.
    """

    dilation: int
    use_bias: bool
    norm: float
    act: str | None

    @property
    def _joined(self) -> bool:
        return self.act is None and current_lowering().join_pairs

    @nn.compact
    def __call__(self, x: Map, *, train: bool) -> jax.Array:
        d = self.dilation
        if self.folded and self._joined:
            w, c = x.shape[2:]
            zeros = nn.initializers.zeros
            kernel = self.param("kernel", zeros, (3, 3, 1, c), jnp.float32)
            bias = self.param("bias", zeros, (w, c), jnp.float32)
            y = depthwise2d(x, kernel, dilation=(d, d))
            return y + bias.astype(y.dtype)
        half = partial(
            DepthwiseNormAct,
            use_bias=self.use_bias,
            kernel_init=kaiming_normal,
            norm=self.norm,
            act=self.act,
            **self.common,
        )
        x = half((3, 1), dilation=(d, 1), name="tall")(x, train=train)
        return half((1, 3), dilation=(1, d), name="wide")(x, train=train)

    def fold(self, weights, hw):
        if not self._joined:
            return None
        own = weights(self.path)
        tall, wide = (
            then_norm(own[half]["depthwise"], own[half]["norm"], self.norm)
            for half in ("tall", "wide")
        )
        column, d = np.arange(hw[1])[:, None], self.dilation
        tap = column + np.array([-d, 0, d])
        inside = np.float64((tap >= 0) & (tap < hw[1]))
        bias = inside @ wide["kernel"][0, :, 0] * tall["bias"] + wide["bias"]
        return {"kernel": tall["kernel"] * wide["kernel"], "bias": bias}


class Downsampler(Unit):
    """Halves the size, rounded up: `(b, h, w, ci) -> (b, h / 2, w / 2, features)`.

    Concatenates a 3x3 stride-2 convolution (`features - ci` channels) with the 2x2
    maximum of the input, then batch norm and activation. Source: ERFNet's code, which
    ESNet's, FDDWNet's and DABNet's follow. Where a size is odd, the maximum of what has
    no partner is 0, as in ESNet's; the others refuse such sizes.
    """

    features: int
    norm: float
    act: str
    use_bias: bool = True
    kernel_init: Initializer = torch_uniform

    @nn.compact
    def __call__(self, x: Map, *, train: bool) -> jax.Array:
        x, ci = self.carry(x), x.shape[-1]
        conv = Conv(
            self.features - ci,
            (3, 3),
            2,
            use_bias=self.use_bias or self.folded,
            kernel_init=self.kernel_init,
            **self.common,
            name="conv",
        )
        odd = [(0, n % 2) for n in x.shape[1:3]]
        pooled = self.cast(jnp.pad(max_pool2(core(x)), [(0, 0), *odd, (0, 0)]))
        norm = BatchNorm(self.norm, **self.common, name="norm")
        if self.folded:
            x = jnp.concatenate([conv(x), norm(pooled, train=train)], -1)
        else:
            x = norm(jnp.concatenate([conv(x), pooled], -1), train=train)
        return activate(self, self.act, x)

    def fold(self, weights, hw):
        own = dict(weights(self.path))
        gain, shift = affine(own["norm"], self.norm)
        kernel, bias = own["conv"]["kernel"], own["conv"].get("bias", 0.0)
        n = kernel.shape[-1]
        own["conv"] = {"kernel": kernel * gain[:n], "bias": bias * gain[:n] + shift[:n]}
        return {**own, "norm": {"scale": gain[n:], "bias": shift[n:]}}


class Upsampler(Unit):
    """Doubles the size: `(b, h, w, ci) -> (b, 2h, 2w, features)`.

    Transposed 3x3 convolution, batch norm, activation. Source: ERFNet's code.

    Attributes:
        act: a key of `ACTIVATIONS`.
    """

    features: int
    norm: float
    act: str

    @nn.compact
    def __call__(self, x: Map, *, train: bool) -> jax.Array:
        deconv = partial(ConvTranspose, self.features, (3, 3), **self.common)
        if self.folded:
            return deconv(act=self.act, name="deconv")(self.carry(x, (1, 1)))
        x = deconv(name="deconv")(x)
        x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)

    def fold(self, weights, hw):
        own = weights(self.path)
        return {"deconv": then_norm(own["deconv"], own["norm"], self.norm)}


class Dropout2d(nn.Module):
    """Zeroes whole channels of a sample and scales the rest by `1 / (1 - rate)`."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return nn.Dropout(self.rate, broadcast_dims=(1, 2))(x, deterministic=not train)


class Network(Unit):
    """What the networks have in common.

    Attributes:
        num_classes: k.
        labels: return the class of the largest logit, uint8 `(b, h, w)`, in place of
            the logits. Where resizing comes last they are never made in full size.
    """

    num_classes: int = 19
    labels: bool = False
