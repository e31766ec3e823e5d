"""Sizes, maps, the geometry of a convolution, and what follows it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Pair = tuple[int, int]
Epilogue = Callable[[jax.Array], jax.Array]


class Geometry(NamedTuple):
    """The way in which a kernel is laid over a map.

    Attributes:
        stride: pixels from one output to the next.
        dilation: pixels from one tap to the next, down and across.
        margin: rows and columns of zeros on each side of the map.
    """

    stride: int = 1
    dilation: Pair = (1, 1)
    margin: Pair = (0, 0)

    def output_hw(self, hw: Pair, kernel_hw: Pair) -> Pair:
        """Height and width of what a convolution of a map of `hw` returns."""
        h, w = (
            (n + 2 * m - d * (k - 1) - 1) // self.stride + 1
            for n, m, d, k in zip(hw, self.margin, self.dilation, kernel_hw)
        )
        return h, w

    def backward_margin(self, kernel_hw: Pair) -> Pair:
        """Margin of the convolution that computes the input's gradient, at stride 1."""
        h, w = (
            d * (k - 1) - m for d, k, m in zip(self.dilation, kernel_hw, self.margin)
        )
        return h, w


def same_margin(kernel_hw: Pair, dilation: Pair) -> Pair:
    """The margin that keeps height and width at stride 1."""
    h, w = (d * (k - 1) // 2 for k, d in zip(kernel_hw, dilation))
    return h, w


class StoredMap:
    """A map that is not one array of its own: see `jaxseg.ops.maps`.

    Where nothing knows better it is read as the array that it stands for.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """`(b, h, w, c)`."""
        raise NotImplementedError

    @property
    def dtype(self) -> jnp.dtype:
        raise NotImplementedError

    def whole(self) -> jax.Array:
        """The map as an array, `(b, h, w, c)`."""
        raise NotImplementedError

    def __jax_array__(self) -> jax.Array:
        return self.whole()

    def astype(self, dtype: DTypeLike) -> "Map":
        return self if self.dtype == dtype else self.whole().astype(dtype)

    def __add__(self, other: "Map") -> jax.Array:
        return self.whole() + as_array(other)

    def __radd__(self, other: "Map") -> jax.Array:
        return as_array(other) + self.whole()

    def __mul__(self, other: "Map") -> jax.Array:
        return self.whole() * as_array(other)


Map = jax.Array | StoredMap


def total(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum of one array or more."""
    return cast(jax.Array, sum(terms))


def hw_of(x: Map) -> Pair:
    """Height and width of a map."""
    h, w = x.shape[1:3]
    return h, w


def as_array(x: Map) -> jax.Array:
    """The map as an array, `(b, h, w, c)`."""
    return x.whole() if isinstance(x, StoredMap) else x
