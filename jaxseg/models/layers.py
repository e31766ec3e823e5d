"""Layers and units that several networks share.

A *unit* is what the papers' blocks are composed of: a convolution with its batch norm
and activation, a down-sampling concatenation, a transposed convolution with batch
norm. Parameters have one layout (`kernel` is `(kh, kw, in / groups, out)`); how a
primitive is computed (the textbook `lax` call or an arithmetic equal that is faster on
a platform) is decided here, at trace time, and nowhere else.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

NHWC = ("NHWC", "HWIO", "NHWC")
Pair = tuple[int, int]
Initializer = Callable[[jax.Array, tuple[int, ...], Any], jax.Array]


def relu6(x: jax.Array) -> jax.Array:
    """Cuts to 0..6; outside the gradient is 0, never a half as with `jnp.clip`."""
    return lax.clamp(jnp.zeros((), x.dtype), x, jnp.full((), 6, x.dtype))


# "prelu" has parameters of its own: see `activate`.
ACTIVATIONS: dict[str | None, Callable[[jax.Array], jax.Array]] = {
    None: lambda x: x,
    "relu": nn.relu,
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


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    dilation: Pair = (1, 1),
    padding: int | None = None,
    groups: int = 1,
) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `(kh, kw, ci / groups, co)`.

    Padding is symmetric, `padding` pixels a side; None stands for
    `dilation * (k - 1) / 2`, which at stride 1 keeps h and w.
    """
    pads = _padding(kernel.shape[:2], dilation)
    if padding is not None:
        pads = ((padding, padding),) * 2
    geometry = (stride, dilation, pads)
    if jax.default_backend() == "cpu" and x.shape[-1] >= 32 and groups == 1:
        return _conv2d_cpu(geometry, x, kernel)
    return _conv2d_lax(geometry, x, kernel, groups)


def _padding(kernel_hw: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    tall, wide = ((d * (k - 1) // 2,) * 2 for k, d in zip(kernel_hw, dilation))
    return tall, wide


def _conv2d_lax(geometry, x, kernel, groups=1):
    stride, dilation, pads = geometry
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        rhs_dilation=dilation,
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


def _pad(geometry, x):
    return jnp.pad(x, [(0, 0), *geometry[2], (0, 0)])


def _taps(geometry, kernel_hw, out_hw, padded):
    """What each tap of a kernel sees of a padded map: a list of `(b, *out_hw, c)`."""
    stride, dilation, _ = geometry
    b, c = padded.shape[0], padded.shape[-1]

    def tap(i, j):
        top, left = i * dilation[0], j * dilation[1]
        bottom, right = (
            first + (n - 1) * stride + 1 for first, n in zip((top, left), out_hw)
        )
        window = (0, top, left, 0), (b, bottom, right, c), (1, stride, stride, 1)
        return lax.slice(padded, *window)

    return [tap(i, j) for i in range(kernel_hw[0]) for j in range(kernel_hw[1])]


# XLA:CPU computes the weight gradient of a convolution up to 4 times slower than the
# same sum written as one matrix product over the shifted inputs; with few channels the
# two are equal.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv2d_cpu(geometry, x, kernel):
    return _conv2d_lax(geometry, x, kernel)


def _conv2d_cpu_fwd(geometry, x, kernel):
    return _conv2d_lax(geometry, x, kernel), (x, kernel)


def _conv2d_cpu_bwd(geometry, residuals, g):
    x, kernel = residuals
    _, pullback = jax.vjp(lambda x: _conv2d_lax(geometry, x, kernel), x)
    kh, kw = kernel.shape[:2]
    taps = _taps(geometry, (kh, kw), g.shape[1:3], _pad(geometry, x))
    kernel_gradient = _pixel_products(jnp.concatenate(taps, -1), g)
    return *pullback(g), kernel_gradient.reshape(kernel.shape).astype(kernel.dtype)


_conv2d_cpu.defvjp(_conv2d_cpu_fwd, _conv2d_cpu_bwd)


def depthwise2d(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: Pair = (1, 1)
) -> jax.Array:
    """Convolves each channel of `(b, h, w, c)` with its own of `(kh, kw, 1, c)`.

    Padding as in `conv2d`. kh and kw are odd.
    """
    geometry = (stride, dilation, _padding(kernel.shape[:2], dilation))
    if jax.default_backend() == "cpu":
        return _depthwise_cpu(geometry, x, kernel)
    return _conv2d_lax(geometry, x, kernel, x.shape[-1])


# XLA:CPU's grouped convolution is a naive loop, 40 times slower than these sums.
def _depthwise_sum(geometry, x, kernel):
    stride = geometry[0]
    out_hw = tuple(-(-n // stride) for n in x.shape[1:3])
    weights = kernel.reshape(-1, x.shape[-1])
    # The padded input exists once: XLA:CPU would compute it anew inside every tap.
    padded = lax.optimization_barrier(_pad(geometry, x))
    taps = _taps(geometry, kernel.shape[:2], out_hw, padded)
    return sum(tap * weight for tap, weight in zip(taps, weights))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _depthwise_cpu(geometry, x, kernel):
    return _depthwise_sum(geometry, x, kernel)


def _depthwise_cpu_fwd(geometry, x, kernel):
    return _depthwise_sum(geometry, x, kernel), (x, kernel)


def _depthwise_cpu_bwd(geometry, residuals, g):
    x, kernel = residuals
    if geometry[0] == 1:
        x_gradient = _depthwise_sum(geometry, g, kernel[::-1, ::-1])
    else:
        _, pullback = jax.vjp(lambda x: _depthwise_sum(geometry, x, kernel), x)
        (x_gradient,) = pullback(g)
    padded = lax.optimization_barrier(_pad(geometry, x))
    taps = _taps(geometry, kernel.shape[:2], g.shape[1:3], padded)
    sums = [_channel_sum((tap * g).astype(jnp.float32)) for tap in taps]
    return x_gradient, jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)


_depthwise_cpu.defvjp(_depthwise_cpu_fwd, _depthwise_cpu_bwd)


def conv2d_transpose(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Doubles `(b, h, w, ci)` to `(b, 2h, 2w, co)` with `(k, k, ci, co)`, k = 2 or 3.

    PyTorch's `ConvTranspose2d(stride=2)`, with `padding=1, output_padding=1` for k = 3
    and neither for k = 2; `kernel` is not flipped (tap `(i, j)` of PyTorch is `[i, j]`
    here).
    """
    k = kernel.shape[0]
    if k not in (2, 3):
        raise ValueError(f"conv2d_transpose takes 2x2 or 3x3 kernels, got {k}x{k}.")
    return _conv2d_transpose(x, kernel)


# One matrix product gives every tap's share; the four output phases are sums of shifted
# slices of it, so no zero that was inserted is ever multiplied. The gradients are
# written out because XLA:CPU is slow at those of the phases.
@jax.custom_vjp
def _conv2d_transpose(x, kernel):
    b, h, w, _ = x.shape
    k, _, ci, co = kernel.shape
    shares = jnp.einsum("bhwi,yxio->bhwyxo", x, kernel)
    if k == 2:
        return shares.transpose(0, 1, 3, 2, 4, 5).reshape(b, 2 * h, 2 * w, co)
    padded = jnp.pad(shares, [(0, 0), (0, 1), (0, 1), (0, 0), (0, 0), (0, 0)])
    # Output row 2y takes tap 1 of input row y; row 2y + 1 takes 2 of y and 0 of y + 1.
    taps = {0: [(1, 0)], 1: [(2, 0), (0, 1)]}

    def phase(py: int, px: int) -> jax.Array:
        return sum(
            padded[:, dy : dy + h, dx : dx + w, ky, kx]
            for ky, dy in taps[py]
            for kx, dx in taps[px]
        )

    rows = [jnp.stack([phase(py, 0), phase(py, 1)], 3) for py in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, co)


def _conv2d_transpose_fwd(x, kernel):
    return _conv2d_transpose(x, kernel), (x, kernel)


def _conv2d_transpose_bwd(residuals, g):
    x, kernel = residuals
    k, _, ci, co = kernel.shape
    geometry = (2, (1, 1), ((k // 3,) * 2,) * 2)
    x_gradient = _conv2d_lax(geometry, g, kernel.transpose(0, 1, 3, 2))
    taps = _taps(geometry, (k, k), x.shape[1:3], _pad(geometry, g))
    by_tap = _pixel_products(x, jnp.concatenate(taps, -1)).reshape(ci, k, k, co)
    return x_gradient, by_tap.transpose(1, 2, 0, 3).astype(kernel.dtype)


_conv2d_transpose.defvjp(_conv2d_transpose_fwd, _conv2d_transpose_bwd)


def _pixel_products(x: jax.Array, y: jax.Array) -> jax.Array:
    """Outer products summed over pixels: `(..., c)`, `(..., d)` to float32 `(c, d)`."""
    return lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        y.reshape(-1, y.shape[-1]),
        (((0,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )


def max_pool2(x: jax.Array) -> jax.Array:
    """Takes the maximum of 2x2 blocks: `(b, h, w, c) -> (b, h // 2, w // 2, c)`.

    An odd last row or column is left out. The gradient goes to the first of equal
    values, as in PyTorch; `jnp.maximum` would split it.
    """
    h, w = x.shape[1:3]
    x = x[:, : h - h % 2, : w - w % 2]
    rows = jnp.where(x[:, ::2] >= x[:, 1::2], x[:, ::2], x[:, 1::2])
    left, right = rows[:, :, ::2], rows[:, :, 1::2]
    return jnp.where(left >= right, left, right)


def avg_pool3(x: jax.Array) -> jax.Array:
    """Averages 3x3 windows at stride 2: `(b, h, w, c) -> (b, ceil(h/2), ceil(w/2), c)`.

    One row and column of zeros a side count as values: always a ninth of the sum.
    """
    h, w = (-(-n // 2) for n in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = sum(x[:, i : i + 2 * h - 1 : 2] for i in range(3))
    return sum(x[:, :, i : i + 2 * w - 1 : 2] for i in range(3)) * (1 / 9)


def _channel_sum(x: jax.Array) -> jax.Array:
    """Sums `(..., c)` to `(c,)`, in two stages: 2 times faster than one on XLA:CPU."""
    c = x.shape[-1]
    rows = x.size // c
    group = next(k for k in (16, 8, 4, 2, 1) if rows % k == 0)
    partial_sums = x.reshape(rows // group, group * c).sum(0)
    return lax.optimization_barrier(partial_sums).reshape(group, c).sum(0)


class Unit(nn.Module, kw_only=True):
    """What every layer, unit, block and network here has in common.

    Attributes:
        dtype: compute dtype; parameters and batch statistics stay float32.
        axis_name: the mapped axis over which `jax.pmap` or `shard_map` split the
            batch, so that batch statistics are those of the whole batch; None under
            plain `jax.jit`, where the batch is whole.
    """

    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None

    @property
    def common(self) -> dict[str, Any]:
        """The attributes that a unit hands on to the units inside it."""
        return dict(dtype=self.dtype, axis_name=self.axis_name)


class PReLU(Unit):
    """`x` where positive, else `slope * x`; one slope a channel, initially 0.25."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.constant(0.25)
        slope = self.param("slope", init, (x.shape[-1],), jnp.float32)
        return jnp.where(x > 0, x, x * slope.astype(x.dtype))


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
            y, m, v, n = _batch_norm(self.eps, self.axis_name, x, scale, bias)
            mean.value += self.momentum * (m - mean.value)
            unbiased = v * (n / jnp.maximum(n - 1, 1))
            var.value += self.momentum * (unbiased - var.value)
        else:
            gain = scale * lax.rsqrt(var.value + self.eps)
            y = x * gain + (bias - mean.value * gain)
        return y.astype(self.dtype)


# Autodiff would keep and re-read several full-size intermediates; written out, the
# forward and the backward pass are one affine map each beside two channel sums.
@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _batch_norm(eps, axis_name, x, scale, bias):
    """Normalised `x`, and the batch's mean, biased variance and count per channel."""
    return _batch_norm_fwd(eps, axis_name, x, scale, bias)[0]


def _batch_norm_fwd(eps, axis_name, x, scale, bias):
    count = jnp.float32(x.size // x.shape[-1])
    sums = _whole_batch(axis_name, (_channel_sum(x), _channel_sum(x * x), count))
    mean, n = sums[0] / sums[2], sums[2]
    var = jnp.maximum(sums[1] / n - mean * mean, 0.0)
    inverse_std = lax.rsqrt(var + eps)
    gain = scale * inverse_std
    outputs = (x * gain + (bias - mean * gain), mean, var, n)
    return outputs, (x, gain, mean, inverse_std, n)


def _batch_norm_bwd(eps, axis_name, residuals, cotangents):
    x, gain, mean, inverse_std, n = residuals
    g = cotangents[0]  # the statistics only feed running values: no gradient
    own = _channel_sum(g), _channel_sum(g * x)
    sum_g, sum_gx = _whole_batch(axis_name, own)
    slope = -gain * inverse_std**2 * (sum_gx - mean * sum_g) / n
    offset = -gain * sum_g / n - slope * mean
    scale_gradient = (own[1] - mean * own[0]) * inverse_std
    return g * gain + x * slope + offset, scale_gradient, own[0]


_batch_norm.defvjp(_batch_norm_fwd, _batch_norm_bwd)


def _whole_batch(axis_name, sums):
    return sums if axis_name is None else lax.psum(sums, axis_name)


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

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
            groups=self.groups,
        )
        if not self.use_bias:
            return y
        bias_init = self.bias_init or _bias_init(shape)
        bias = self.param("bias", bias_init, (self.features,), jnp.float32)
        return y + bias.astype(self.dtype)


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
        return y + bias.astype(self.dtype)


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
        x, kernel, bias = (t.astype(self.dtype) for t in (x, kernel, bias))
        return conv2d_transpose(x, kernel) + bias


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
        if self.shared_norm is not None:
            x = self.shared_norm(x, train=train)
        elif self.norm is not None:
            norm = BatchNorm(
                self.norm,
                self.momentum,
                self.initial_scale,
                **self.common,
                name="norm",
            )
            x = norm(x, train=train)
        return activate(self, self.act, x)


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
        x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class DepthwisePair(Unit):
    """A depthwise 3x3 convolution as 3x1, then 1x3: `(b, h, w, c) -> (b, h, w, c)`.

    Batch norm and activation follow each of the two. Source: DABNet's and FDDWNet's
    code, whose modules are built of such pairs.
    """

    dilation: int
    use_bias: bool
    norm: float
    act: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        d = self.dilation
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
        odd = [(0, n % 2) for n in x.shape[1:3]]
        pooled = jnp.pad(max_pool2(x), [(0, 0), *odd, (0, 0)])
        x = jnp.concatenate([conv(x), pooled.astype(self.dtype)], -1)
        x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class Upsampler(Unit):
    """Doubles the size: `(b, h, w, ci) -> (b, 2h, 2w, features)`.

    Transposed 3x3 convolution, batch norm, activation. Source: ERFNet's code.
    """

    features: int
    norm: float
    act: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = ConvTranspose(self.features, (3, 3), **self.common, name="deconv")(x)
        x = BatchNorm(self.norm, **self.common, name="norm")(x, train=train)
        return activate(self, self.act, x)


class Dropout2d(nn.Module):
    """Zeroes whole channels of a sample and scales the rest by `1 / (1 - rate)`."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return nn.Dropout(self.rate, broadcast_dims=(1, 2))(x, deterministic=not train)
