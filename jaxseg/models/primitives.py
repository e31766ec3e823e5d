"""What networks compute with: convolutions and pooling of maps `(b, h, w, c)`.

A primitive has the textbook `lax` form and, where one was measured to be faster on a
platform, another arithmetic of the same values and gradients. Which of them runs is
decided here, at trace time, and nowhere else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from itertools import chain
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.typing import DTypeLike

from jaxseg.models import winograd
from jaxseg.models.winograd import Pair, Tiles

NHWC = ("NHWC", "HWIO", "NHWC")


@dataclass(frozen=True)
class Lowering:
    """Which arithmetic the primitives are lowered to.

    Attributes:
        platform: "cpu", "gpu" (or any other backend of JAX), or "textbook", one `lax`
            call a primitive.
        dots: compute every convolution, depthwise ones too, as matrix products and
            shifted sums. Without it only those for which it pays on a CPU.
        barriers: have a map that several consumers read (`carry`) written to memory
            once.
        sums: compute a convolution with few weights an output as a sum with a term a
            weight. In training XLA:CPU computes the sum anew for everything that reads
            it, its gradients too.
        join_pairs: fold a depthwise 3x1 and 1x3 with nothing between them into one
            pass, at the price of a bias that depends on the column.
    """

    platform: str
    dots: bool = False
    barriers: bool = False
    sums: bool = False
    join_pairs: bool = True


_LOWERING: ContextVar[Lowering | None] = ContextVar("lowering", default=None)


def default_lowering() -> Lowering:
    """What the primitives use outside `lowering`."""
    platform = jax.default_backend()
    return Lowering(platform, barriers=platform == "cpu")


def deployed_lowering() -> Lowering:
    """What `Predictor` uses.

    On a GPU without any convolution: XLA runs a program of products and element-wise
    kernels as one command buffer, and by default leaves convolutions out of it (its
    sources; not measured yet).
    """
    how = default_lowering()
    if how.platform == "cpu":
        return replace(how, sums=True)
    return replace(how, dots=True)


@contextmanager
def lowering(chosen: Lowering) -> Iterator[None]:
    """Has the primitives that are traced inside use `chosen`."""
    token = _LOWERING.set(chosen)
    try:
        yield
    finally:
        _LOWERING.reset(token)


def current_lowering() -> Lowering:
    """What the primitives use here."""
    return _LOWERING.get() or default_lowering()


@cache
def bfloat16_pays() -> bool:
    """Whether matrix products read bfloat16 faster than float32.

    A CPU without instructions for them converts first and is slower.
    """
    if jax.default_backend() != "cpu":
        return True
    return "avx512_bf16" in cpu_info() or "amx_bf16" in cpu_info()


@cache
def cpu_info() -> str:
    """What Linux says of the processors; elsewhere nothing."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def named(name: str) -> Callable[[Callable], Callable]:
    """Makes a function of arrays one equation, `jit[name=...]`, of a textbook jaxpr.

    Who translates the jaxpr can tell by the name what the equations inside stand for:
    see `jaxseg.inference.onnx`. With other lowerings nothing changes.
    """

    def decorate(function):
        def called(*arrays):
            return function(*arrays)

        called.__name__ = name
        one_equation = jax.jit(called)

        @wraps(function)
        def call(*arrays):
            textbook = current_lowering().platform == "textbook"
            return (one_equation if textbook else function)(*arrays)

        return call

    return decorate


@jax.jit
def _identity(x):
    return x


def computed_once(x: jax.Array) -> jax.Array:
    """`x`, which is in memory before anything reads it.

    XLA:CPU takes `lax.optimization_barrier` away before it decides what to fuse (seen
    with jaxlib 0.10.2). The call of a function that must not be inlined stays, and
    costs nothing: its result is its operand.
    """
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(x)
    with set_xla_metadata(inlineable="false"):
        return _identity(x)


@dataclass(frozen=True)
class Carrier:
    """A map that lies in memory with zeros around it, as convolutions want it.

    XLA:CPU computes an expression anew for every consumer, and pads by copying: a
    carrier is computed once, and what reads it reads slices.

    Attributes:
        padded: `(b, h + 2 * mh, w + 2 * mw, c)`.
        margin: mh, mw, in pixels.
    """

    padded: jax.Array
    margin: Pair

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the map alone: `(b, h, w, c)`."""
        b, h, w, c = self.padded.shape
        return b, h - 2 * self.margin[0], w - 2 * self.margin[1], c

    @property
    def dtype(self) -> jnp.dtype:
        return self.padded.dtype

    def has(self, margin: Pair) -> bool:
        return self.margin[0] >= margin[0] and self.margin[1] >= margin[1]

    def window(self, margin: Pair) -> jax.Array:
        """The map with only so much of its margin, `(0, 0)` for the map alone."""
        (top, left), (h, w) = (
            (self.margin[i] - margin[i] for i in (0, 1)),
            self.padded.shape[1:3],
        )
        return self.padded[:, top : h - top, left : w - left]


@dataclass(frozen=True)
class Parts:
    """Maps side by side along the channels, without the copy of a concatenation.

    A 1x1 convolution of them is a sum of one a map.
    """

    maps: "tuple[Map, ...]"

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.maps[0].shape[:3], sum(x.shape[-1] for x in self.maps)

    @property
    def dtype(self) -> jnp.dtype:
        return self.maps[0].dtype

    def split(self, matrix: jax.Array) -> list[jax.Array]:
        """The rows of a 1x1 convolution's matrix, `(c, co)`, that each map has."""
        return jnp.split(matrix, np.cumsum([x.shape[-1] for x in self.maps])[:-1])


Map = jax.Array | Carrier | Parts


def splitting_pays() -> bool:
    """Whether maps are better kept apart than as channels of a wider one."""
    return current_lowering().platform == "cpu"


def beside(maps: Sequence[Map]) -> Map:
    """Maps as one, side by side along the channels."""
    nested = (x.maps if isinstance(x, Parts) else (x,) for x in maps)
    parts = Parts(tuple(chain.from_iterable(nested)))
    return parts if splitting_pays() else core(parts)


def core(x: Map) -> jax.Array:
    """The map itself, `(b, h, w, c)`."""
    if isinstance(x, Parts):
        return jnp.concatenate([core(part) for part in x.maps], -1)
    return x.window((0, 0)) if isinstance(x, Carrier) else x


def carry(x: Map, margin: Pair = (0, 0)) -> Map:
    """`x`, computed once for all that reads it, with zeros `margin` wide around it.

    Where the lowering has no barriers it is `x` as it was.
    """
    if isinstance(x, Parts):
        return Parts(tuple(carry(part, margin) for part in x.maps))
    if isinstance(x, Carrier) and x.has(margin):
        return x
    if not current_lowering().barriers:
        return core(x)
    return Carrier(padded(x, margin), margin)


def padded(x: Map, margin: Pair) -> jax.Array:
    """`(b, h + 2 * mh, w + 2 * mw, c)`: the map with zeros around it."""
    if isinstance(x, Carrier) and x.has(margin):
        return x.window(margin)
    wide = jnp.pad(core(x), [(0, 0), *((m, m) for m in margin), (0, 0)])
    return computed_once(wide) if current_lowering().barriers else wide


def conv2d(
    x: Map,
    kernel: jax.Array | Tiles,
    *,
    stride: int = 1,
    dilation: Pair = (1, 1),
    padding: int | None = None,
    groups: int = 1,
) -> jax.Array:
    """Convolves `(b, h, w, ci)` with `(kh, kw, ci / groups, co)`.

    Padding is symmetric, `padding` pixels a side; None stands for
    `dilation * (k - 1) / 2`, which at stride 1 keeps h and w. The result has the dtype
    of `x`; a bfloat16 kernel lets matrix products read `x` in bfloat16, and nothing
    else. In place of the kernel it takes what `prepared_kernel` made of it.
    """
    taps = kernel.taps if isinstance(kernel, Tiles) else kernel.shape[:2]
    margin = _margin(taps, dilation) if padding is None else (padding, padding)
    if isinstance(kernel, Tiles):
        return winograd.convolve(core(x), kernel, dilation, margin)
    geometry = (stride, dilation, margin)
    kh, kw, ci, co = kernel.shape
    how = current_lowering()
    if how.platform == "textbook":
        return _conv2d_lax(geometry, core(x), kernel, groups)
    fast = how.dots or how.platform == "cpu"
    # A lone pixel, a mean, would be computed anew for every pixel that it weights.
    several = groups == 1 and x.shape[1:3] != (1, 1)
    if how.sums and several and _sums_pay(kernel.shape, kernel.dtype):
        return _conv2d_sums(geometry, x, kernel)
    if (kh, kw, stride, margin) == (1, 1, 1, (0, 0)) and fast:
        if isinstance(x, Parts) and groups == 1:
            return sum(map(_dot, map(core, x.maps), x.split(kernel[0, 0])))
        return _pointwise(core(x), kernel[0, 0], groups)
    if groups > 1:
        return _conv2d_lax(geometry, core(x), kernel, groups)
    if how.dots:
        return _conv2d_dots(geometry, x, kernel)
    if how.platform == "cpu":
        if products := _products(geometry, kernel):
            return products(geometry, x, kernel)
        if (kh, kw, ci) == (3, 3, 3) and geometry[1:] == ((1, 1), (1, 1)):
            stem = {1: _conv2d_stem, 2: _conv2d_stem2}.get(stride)
            if stem:
                return stem(core(x), kernel)
        if ci >= 16:
            # XLA:CPU takes up to twice as long for odd numbers of channels.
            more_ci, more_co = (-ci % 4, -co % 8) if co % 8 else (0, 0)
            x = jnp.pad(core(x), [(0, 0)] * 3 + [(0, more_ci)])
            kernel = jnp.pad(kernel, [(0, 0)] * 2 + [(0, more_ci), (0, more_co)])
            return _conv2d_cpu(geometry, x, kernel.astype(x.dtype))[..., :co]
    return _conv2d_lax(geometry, core(x), kernel)


def prepared_kernel(
    kernel: np.ndarray,
    dtype: DTypeLike,
    *,
    stride: int = 1,
    dilation: Pair = (1, 1),
    padding: int | None = None,
    groups: int = 1,
) -> np.ndarray | Tiles:
    """A kernel whose values will not change, as `conv2d` computes with it fastest.

    Args:
        dtype: of the operands of matrix products.
    """
    how = current_lowering()
    if how.sums and groups == 1 and _sums_pay(kernel.shape, dtype):
        return kernel.astype(np.float32)
    plain = how.platform == "cpu" and not how.dots and (stride, groups) == (1, 1)
    if plain and dtype == np.float32 and _winograd_pays(kernel.shape):
        return jax.tree.map(
            lambda v: v.astype(dtype), winograd.transform_kernel(kernel)
        )
    return kernel.astype(dtype)


def _winograd_pays(shape: tuple[int, ...]) -> bool:
    """Whether XLA:CPU is faster so than with its own convolution of such a kernel."""
    kh, kw, ci, co = shape
    never = np.inf, np.inf
    three, five = (128, 128), (64, 64)
    least = {
        (3, 3): (128, 64),
        (3, 1): three,
        (1, 3): three,
        (5, 1): five,
        (1, 5): five,
    }
    least_ci, least_co = least.get((kh, kw), never)
    return ci >= least_ci and co >= least_co


def _margin(kernel_hw: Pair, dilation: Pair) -> Pair:
    tall, wide = (d * (k - 1) // 2 for k, d in zip(kernel_hw, dilation))
    return tall, wide


def _conv2d_lax(geometry, x, kernel, groups=1):
    stride, dilation, margin = geometry
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype),
        (stride, stride),
        [(m, m) for m in margin],
        rhs_dilation=dilation,
        dimension_numbers=NHWC,
        feature_group_count=groups,
    )


def _operand(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """`x` as a matrix product reads it.

    Integer arithmetic rounds float32 to bfloat16 twice as fast as XLA:CPU's own
    conversion does; it takes no care of NaN and of ties, which go up.
    """
    if x.dtype != jnp.float32 or dtype != jnp.bfloat16:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x, jnp.uint32) + jnp.uint32(0x8000)
    upper = lax.shift_right_logical(bits, jnp.uint32(16)).astype(jnp.uint16)
    return lax.bitcast_convert_type(upper, jnp.bfloat16)


def _dot(x: jax.Array, matrix: jax.Array, dtype: DTypeLike | None = None) -> jax.Array:
    """Products of `(..., ci)` with `(ci, co)`, summed in float32, by default as `x`."""
    y = lax.dot_general(
        _operand(x, matrix.dtype).reshape(-1, x.shape[-1]),
        matrix,
        (((1,), (0,)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return y.reshape(*x.shape[:-1], -1).astype(dtype or x.dtype)


def _pointwise(x, matrix, groups):
    if groups == 1:
        return _dot(x, matrix)
    b, h, w, ci = x.shape
    matrix = matrix.reshape(ci // groups, groups, -1).swapaxes(0, 1)
    y = lax.dot_general(
        _operand(x, matrix.dtype).reshape(-1, groups, ci // groups),
        matrix,
        (((2,), (1,)), ((1,), (0,))),
        preferred_element_type=jnp.float32,
    )
    return y.swapaxes(0, 1).reshape(b, h, w, -1).astype(x.dtype)


def _taps(geometry, kernel_hw, out_hw, wide):
    """What each tap of a kernel sees of a padded map: a list of `(b, *out_hw, c)`."""
    stride, dilation, _ = geometry
    b, c = wide.shape[0], wide.shape[-1]

    def tap(i, j):
        top, left = i * dilation[0], j * dilation[1]
        bottom, right = (
            first + (n - 1) * stride + 1 for first, n in zip((top, left), out_hw)
        )
        window = (0, top, left, 0), (b, bottom, right, c), (1, stride, stride, 1)
        return lax.slice(wide, *window)

    return [tap(i, j) for i in range(kernel_hw[0]) for j in range(kernel_hw[1])]


def _products(geometry, kernel):
    """How XLA:CPU computes a convolution faster as products than by its own, or None.

    Only with bfloat16 operands, which its convolutions do not know.
    """
    kh, kw, ci, co = kernel.shape
    if kh * kw == 1 or kernel.dtype != jnp.bfloat16:
        return None
    if geometry[0] > 1:
        return _conv2d_stacked if ci >= 32 else None
    if ci < 64:
        return None
    return _conv2d_stacked if min(kh, kw) > 1 and co >= 128 else _conv2d_dots


def _conv2d_dots(geometry, x, kernel):
    """One product gives every pixel's share in every tap; shifted, they are summed.

    With a stride every phase of the pixels has a product of its own, with the taps that
    read it.
    """
    stride, dilation, margin = geometry
    kh, kw, ci, co = kernel.shape
    wide = padded(x, margin)
    h, w = _out_hw(geometry, x, kernel)
    taps: dict[Pair, list[tuple[int, int, jax.Array]]] = {}  # of each phase
    for i, j in np.ndindex(kh, kw):
        (top, py), (left, px) = (
            divmod(at * d, stride) for at, d in zip((i, j), dilation)
        )
        taps.setdefault((py, px), []).append((top, left, kernel[i, j]))
    total = 0
    for (py, px), group in taps.items():
        matrix = jnp.concatenate([weight for *_, weight in group], -1)
        shares = _dot(wide[:, py::stride, px::stride], matrix)
        for n, (top, left, _) in enumerate(group):
            start = (0, top, left, n * co)
            stop = (shares.shape[0], top + h, left + w, (n + 1) * co)
            total += lax.slice(shares, start, stop)
    return total


def _out_hw(geometry, x: Map, kernel: jax.Array) -> Pair:
    stride, dilation, margin = geometry
    h, w = (
        (n + 2 * m - d * (k - 1) - 1) // stride + 1
        for n, m, d, k in zip(x.shape[1:3], margin, dilation, kernel.shape)
    )
    return h, w


def _conv2d_stacked(geometry, x, kernel):
    """Taps are copied beside each other, as operands of one product.

    With a stride all of them, else those of a row: the rows' shares are summed after.
    """
    stride, dilation, margin = geometry
    kh, kw, ci, co = kernel.shape
    wide = computed_once(_operand(padded(x, margin), kernel.dtype))
    h, w = _out_hw(geometry, x, kernel)
    if stride > 1:
        seen = _side_by_side(_taps(geometry, (kh, kw), (h, w), wide), kw)
        return _dot(computed_once(seen), kernel.reshape(-1, co), x.dtype)
    taps = _taps(geometry, (1, kw), (wide.shape[1], w), wide)
    matrix = kernel.transpose(1, 2, 0, 3).reshape(-1, kh * co)
    shares = _dot(computed_once(_side_by_side(taps, kw)), matrix, x.dtype)
    rows = jnp.split(shares, kh, -1)
    starts = range(0, kh * dilation[0], dilation[0])
    return sum(row[:, top : top + h] for top, row in zip(starts, rows))


def _conv2d_stem(x, kernel):
    """3x3 of few channels, as one product for four neighbouring pixels."""
    b, h, w, c = x.shape
    n, groups = 4, -(-w // 4)
    wide = jnp.pad(x, [(0, 0), (1, 1), (1, (groups + 1) * n - w - 1), (0, 0)])
    wide = computed_once(wide.reshape(b, h + 2, groups + 1, n * c))
    seen = [
        part
        for row in (wide[:, i : i + h] for i in range(3))
        for part in (row[:, :, :-1], row[:, :, 1:, : 2 * c])
    ]
    shifted = [
        jnp.pad(kernel, [(0, 0), (i, n - 1 - i), (0, 0), (0, 0)]) for i in range(n)
    ]
    matrix = jnp.stack(shifted, 3).reshape(3 * (n + 2) * c, -1)
    y = _dot(jnp.concatenate(seen, -1), matrix)
    return y.reshape(b, h, groups * n, -1)[:, :, :w]


def _conv2d_stem2(x, kernel):
    """3x3 at stride 2 of few channels, as 2x2 of the four pixels of each 2x2 block."""
    b, h, w, c = x.shape
    x = jnp.pad(x, [(0, 0), (0, h % 2), (0, w % 2), (0, 0)])
    blocks = x.reshape(b, -(-h // 2), 2, -(-w // 2), 2, c).transpose(0, 1, 3, 2, 4, 5)
    blocks = computed_once(blocks.reshape(*blocks.shape[:3], 4 * c))
    kernel = jnp.pad(kernel, [(1, 0), (1, 0), (0, 0), (0, 0)])
    kernel = kernel.reshape(2, 2, 2, 2, c, -1).transpose(0, 2, 1, 3, 4, 5)
    return lax.conv_general_dilated(
        blocks,
        kernel.reshape(2, 2, 4 * c, -1).astype(x.dtype),
        (1, 1),
        [(1, 0), (1, 0)],
        dimension_numbers=NHWC,
    )


def _sums_pay(shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Whether XLA:CPU computes a convolution fastest as a sum with a term a weight.

    With few channels matrix products reach little of the processor's speed, those of
    bfloat16 too. But what reads a sum computes it anew: not for 1x1 to classes or to
    one weight a pixel, which are read in another order or for a mean.
    """
    kh, kw, ci, co = shape
    if (kh, kw) == (1, 1):
        wide = ci > 16 and co > 32  # enough for products of bfloat16
        if co % 8 or (wide and dtype == jnp.bfloat16):
            return False
    return kh * kw * ci <= 48


def _conv2d_sums(geometry, x, kernel):
    """The shares of every tap and input channel, which all outputs of a pixel sum.

    In two sums, for each addition waits for the one before.
    """
    margin, out_hw = geometry[2], _out_hw(geometry, x, kernel)
    maps = [padded(part, margin) for part in (x.maps if isinstance(x, Parts) else [x])]
    taps = zip(*(_taps(geometry, kernel.shape[:2], out_hw, wide) for wide in maps))
    seen = [
        part[..., i : i + 1]
        for tap in taps
        for part in tap
        for i in range(part.shape[-1])
    ]
    shares = list(map(jnp.multiply, seen, kernel.reshape(-1, kernel.shape[-1])))
    return sum(shares[::2]) + sum(shares[1::2])


# XLA:CPU computes the weight gradient of a convolution up to 4 times slower than the
# same sum written as one matrix product over the shifted inputs; with few channels the
# two are equal.
@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _conv2d_cpu(geometry, x, kernel):
    stride, dilation, margin = geometry
    plain = stride == 1 and kernel.dtype == jnp.float32
    if plain and _winograd_pays(kernel.shape):
        tiles = winograd.transform_kernel(kernel)
        return winograd.convolve(x, tiles, dilation, margin)
    return _conv2d_lax(geometry, x, kernel)


def _conv2d_cpu_fwd(geometry, x, kernel):
    return _conv2d_cpu(geometry, x, kernel), (x, kernel)


def _conv2d_cpu_bwd(geometry, residuals, g):
    x, kernel = residuals
    stride, dilation, _ = geometry
    other = _other_margin(geometry, kernel.shape)
    if stride == 1 and min(other) >= 0:
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        x_gradient = _conv2d_cpu((1, dilation, other), g, turned)
    else:
        _, pullback = jax.vjp(lambda x: _conv2d_lax(geometry, x, kernel), x)
        (x_gradient,) = pullback(g)
    kernel_gradient = _kernel_gradient(geometry, x, kernel.shape, g)
    return x_gradient, kernel_gradient.astype(kernel.dtype)


def _other_margin(geometry, shape: tuple[int, ...]) -> Pair:
    """Of the convolution that goes back from outputs to inputs, at stride 1."""
    _, dilation, margin = geometry
    tall, wide = (d * (k - 1) - m for d, k, m in zip(dilation, shape, margin))
    return tall, wide


def _kernel_gradient(geometry, x, shape, g):
    """Sums over pixels of what each tap saw, times `g`.

    At stride 1 it may as well be `g` that is shifted, the other way: of the two the one
    with fewer channels is copied once a tap.
    """
    stride, margin, other = geometry[0], geometry[2], _other_margin(geometry, shape)
    kh, kw, ci, co = shape
    if stride == 1 and co <= ci and min(other) >= 0:
        taps = _taps(geometry, (kh, kw), x.shape[1:3], padded(g, other))[::-1]
        by_input = _pixel_products(x, _side_by_side(taps, kw))
        return by_input.reshape(ci, kh, kw, co).transpose(1, 2, 0, 3)
    taps = _taps(geometry, (kh, kw), g.shape[1:3], padded(x, margin))
    return _pixel_products(_side_by_side(taps, kw), g).reshape(shape)


def _side_by_side(taps: list[jax.Array], kw: int) -> jax.Array:
    """The taps of a kernel kw wide along the channels.

    XLA:CPU computes a stack in one pass and a concatenation in two, as it does a stack
    of more than eight.
    """
    rows = [jnp.stack(taps[i : i + kw], -2) for i in range(0, len(taps), kw)]
    return jnp.stack(rows, -3).reshape(*taps[0].shape[:3], -1)


_conv2d_cpu.defvjp(_conv2d_cpu_fwd, _conv2d_cpu_bwd)


def depthwise2d(
    x: Map, kernel: jax.Array, *, stride: int = 1, dilation: Pair = (1, 1)
) -> jax.Array:
    """Convolves each channel of `(b, h, w, c)` with its own of `(kh, kw, 1, c)`.

    Padding as in `conv2d`. kh and kw are odd.
    """
    geometry = (stride, dilation, _margin(kernel.shape[:2], dilation))
    how = current_lowering()
    if isinstance(x, Carrier) or (how.dots and how.platform != "cpu"):
        return _depthwise_sum(geometry, x, kernel)
    if how.platform == "cpu":
        return _depthwise_cpu(geometry, x, kernel)
    return _conv2d_lax(geometry, x, kernel, x.shape[-1])


# XLA:CPU's grouped convolution is a naive loop, 40 times slower than these sums.
def _depthwise_sum(geometry, x, kernel):
    stride, _, margin = geometry
    wide = padded(x, margin)
    out_hw = tuple(-(-(n - 2 * m) // stride) for n, m in zip(wide.shape[1:3], margin))
    taps = _taps(geometry, kernel.shape[:2], out_hw, wide)
    weights = kernel.reshape(-1, wide.shape[-1]).astype(wide.dtype)
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
    sums = _depthwise_kernel_gradient(geometry, x, kernel.shape[:2], g)
    return x_gradient, sums.reshape(kernel.shape).astype(kernel.dtype)


def _depthwise_kernel_gradient(geometry, x, kernel_hw, g):
    """Sums over pixels of what each tap saw, times `g`: `(taps, c)`.

    Eight rows at a time, so that for all taps they come from the processor's caches.
    """
    stride, dilation, margin = geometry
    b, h, w, c = g.shape
    rows, bands = 8, -(-h // 8)
    more = rows * bands - h
    g = jnp.pad(g, [(0, 0), (0, more), (0, 0), (0, 0)])
    below = margin[0] + stride * more
    wide = jnp.pad(x, [(0, 0), (margin[0], below), (margin[1], margin[1]), (0, 0)])
    seen = stride * (rows - 1) + dilation[0] * (kernel_hw[0] - 1) + 1

    def add_band(i, sums):
        of_x = lax.dynamic_slice_in_dim(wide, stride * rows * i, seen, 1)
        of_g = lax.dynamic_slice_in_dim(g, rows * i, rows, 1).astype(jnp.float32)
        taps = _taps(geometry, kernel_hw, (rows, w), of_x.astype(jnp.float32))
        return [
            total + sum(tap[:, row] * of_g[:, row] for row in range(rows))
            for total, tap in zip(sums, taps)
        ]

    zeros = [jnp.zeros((b, w, c), jnp.float32)] * (kernel_hw[0] * kernel_hw[1])
    sums = lax.fori_loop(0, bands, add_band, zeros)
    return jnp.stack([total.sum((0, 1)) for total in sums])


_depthwise_cpu.defvjp(_depthwise_cpu_fwd, _depthwise_cpu_bwd)


Epilogue = Callable[[jax.Array], jax.Array]


def conv2d_transpose(
    x: Map, kernel: jax.Array, epilogue: Epilogue = lambda y: y
) -> jax.Array:
    """Doubles `(b, h, w, ci)` to `(b, 2h, 2w, co)` with `(k, k, ci, co)`, k = 2 or 3.

    PyTorch's `ConvTranspose2d(stride=2)`, with `padding=1, output_padding=1` for k = 3
    and neither for k = 2; `kernel` is not flipped (tap `(i, j)` of PyTorch is `[i, j]`
    here). `epilogue` is what each pixel then goes through: `(..., co)` to as many or
    other channels, or where `x` is no `Carrier` or k = 2 to none.
    """
    k = kernel.shape[0]
    if k not in (2, 3):
        raise ValueError(f"conv2d_transpose takes 2x2 or 3x3 kernels, got {k}x{k}.")
    if current_lowering().platform == "textbook":
        return epilogue(_conv2d_transpose_lax(core(x), kernel))
    if k == 2:
        return _conv2d_transpose2(core(x), kernel, epilogue)
    if isinstance(x, Carrier):
        return _interleave([epilogue(y) for y in _phases(x, kernel)])
    return epilogue(_conv2d_transpose(x, kernel))


def _conv2d_transpose2(x, kernel, epilogue):
    """2x2: every pixel becomes a block, which one product gives."""
    b, h, w, ci = x.shape
    blocks = _dot(x, kernel.transpose(2, 0, 1, 3).reshape(ci, -1))
    y = epilogue(blocks.reshape(b, h, w, 2, 2, -1)).swapaxes(2, 3)
    return y.reshape(b, 2 * h, 2 * w, *y.shape[5:])


def _conv2d_transpose_lax(x, kernel):
    k = kernel.shape[0]
    pads = ((k - 1 - k // 3, k - 1),) * 2
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1].astype(x.dtype),
        (1, 1),
        pads,
        lhs_dilation=(2, 2),
        dimension_numbers=NHWC,
    )


def _phases(x: Map, kernel: jax.Array) -> list[jax.Array]:
    """3x3's outputs at even and odd rows and columns: four of `(b, h, w, co)`.

    One matrix product gives every tap's share; the phases are sums of shifted slices of
    it, so no zero that was inserted is ever multiplied.
    """
    b, h, w, ci = core(x).shape
    co = kernel.shape[-1]
    matrix = kernel.transpose(2, 0, 1, 3).reshape(ci, -1)
    shares = _dot(padded(x, (1, 1)), matrix)

    def share(ky, kx, dy, dx):
        start = (0, 1 + dy, 1 + dx, (3 * ky + kx) * co)
        return lax.slice(shares, start, (b, start[1] + h, start[2] + w, start[3] + co))

    # Output row 2y takes tap 1 of row y; row 2y + 1 takes 2 of y and 0 of y + 1.
    taps = {0: [(1, 0)], 1: [(2, 0), (0, 1)]}
    return [
        sum(share(ky, kx, dy, dx) for ky, dy in taps[py] for kx, dx in taps[px])
        for py in (0, 1)
        for px in (0, 1)
    ]


def _interleave(phases: list[jax.Array]) -> jax.Array:
    b, h, w, c = phases[0].shape
    # There adding is faster than moving.
    if c < 64 and current_lowering().platform == "cpu":
        zero = jnp.zeros((), phases[0].dtype)
        still = (0, 0, 0)
        return sum(
            lax.pad(y, zero, (still, (i, 1 - i, 1), (j, 1 - j, 1), still))
            for y, (i, j) in zip(phases, ((0, 0), (0, 1), (1, 0), (1, 1)))
        )
    rows = [jnp.stack(phases[2 * i : 2 * i + 2], 3) for i in (0, 1)]
    return jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, c)


# The gradients are written out because XLA:CPU is slow at those of the phases.
@jax.custom_vjp
def _conv2d_transpose(x, kernel):
    return _interleave(_phases(x, kernel))


def _conv2d_transpose_fwd(x, kernel):
    return _conv2d_transpose(x, kernel), (x, kernel)


def _conv2d_transpose_bwd(residuals, g):
    x, kernel = residuals
    geometry = (2, (1, 1), (1, 1))
    x_gradient = _conv2d_lax(geometry, g, kernel.transpose(0, 1, 3, 2))
    taps = _taps(geometry, (3, 3), x.shape[1:3], padded(g, (1, 1)))
    by_tap = _pixel_products(x, _side_by_side(taps, 3))
    by_tap = by_tap.reshape(x.shape[-1], 3, 3, -1)
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


@named("max_pool2")
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


def max_pool3(x: jax.Array) -> jax.Array:
    """Maximum of 3x3 windows at stride 2: `(b, h, w, c) -> (b, h/2, w/2, c)`, up.

    Windows begin one pixel outside the map, where nothing is.
    """
    if current_lowering().platform != "cpu":
        window = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, *window)
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-jnp.inf)
    for axis in (1, 2):
        last = x.shape[axis] - 2
        first, second, third = (
            lax.slice_in_dim(x, i, i + last, stride=2, axis=axis) for i in range(3)
        )
        x = jnp.where(first >= second, first, second)
        x = jnp.where(x >= third, x, third)
    return x


@named("avg_pool3")
def avg_pool3(x: jax.Array) -> jax.Array:
    """Averages 3x3 windows at stride 2: `(b, h, w, c) -> (b, ceil(h/2), ceil(w/2), c)`.

    One row and column of zeros a side count as values: always a ninth of the sum.
    """
    h, w = (-(-n // 2) for n in x.shape[1:3])
    x = jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = sum(x[:, i : i + 2 * h - 1 : 2] for i in range(3))
    return sum(x[:, :, i : i + 2 * w - 1 : 2] for i in range(3)) * (1 / 9)


@named("mean_over_pixels")
def mean_over_pixels(x: jax.Array) -> jax.Array:
    """`(b, h, w, c) -> (b, 1, 1, c)`."""
    return x.mean((1, 2), keepdims=True)


@named("mean_over_channels")
def mean_over_channels(x: jax.Array) -> jax.Array:
    """`(b, h, w, c) -> (b, h, w, 1)`."""
    return x.mean(-1, keepdims=True)
