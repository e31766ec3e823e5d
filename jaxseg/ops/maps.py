"""Maps that are written to memory once, with zeros around them, or kept in parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxseg.ops.dispatch import operation
from jaxseg.ops.types import Map, Pair, StoredMap, as_array


@jax.jit
def _identity(x):
    return x


def computed_once(x: jax.Array) -> jax.Array:
    """Writes `x` to memory, so that XLA does not compute it again in each reader.

    XLA:CPU takes `lax.optimization_barrier` away before it decides what to fuse (seen
    with jaxlib 0.10.2). The call of a function that must not be inlined stays, and
    costs nothing: its result is its operand.
    """
    if jax.default_backend() != "cpu":
        return lax.optimization_barrier(x)
    with set_xla_metadata(inlineable="false"):
        return _identity(x)


@operation
def in_memory(x: jax.Array) -> jax.Array:
    """`x`, where the lowering has barriers `computed_once`."""
    return x


@dataclass(frozen=True)
class PaddedMap(StoredMap):
    """A map that is stored with zeros around it, so that convolutions need not pad.

    XLA:CPU computes an expression again for every consumer, and pads by copying. This
    map is computed once, and its readers take slices.

    Attributes:
        padded: `(b, h + 2 * mh, w + 2 * mw, c)`.
        margin: mh, mw, in pixels.
    """

    padded: jax.Array
    margin: Pair

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the map alone: `(b, h, w, c)`."""
        b, h, w, c = self.padded.shape
        return b, h - 2 * self.margin[0], w - 2 * self.margin[1], c

    @property
    def dtype(self) -> jnp.dtype:
        return self.padded.dtype

    def covers(self, margin: Pair) -> bool:
        return self.margin[0] >= margin[0] and self.margin[1] >= margin[1]

    def cropped(self, margin: Pair) -> jax.Array:
        """The map with only so much of its margin, `(0, 0)` for the map alone."""
        (top, left), (h, w) = (
            (self.margin[i] - margin[i] for i in (0, 1)),
            self.padded.shape[1:3],
        )
        return self.padded[:, top : h - top, left : w - left]

    def whole(self) -> jax.Array:
        return self.cropped((0, 0))


@dataclass(frozen=True)
class Parts(StoredMap):
    """Maps side by side along the channels, without the copy of a concatenation.

    A 1x1 convolution of them is the sum of one convolution per map.
    """

    maps: tuple[Map, ...]

    @classmethod
    def of(cls, maps: Sequence[Map]) -> "Parts":
        nested = (x.maps if isinstance(x, Parts) else (x,) for x in maps)
        return cls(tuple(chain.from_iterable(nested)))

    @property
    def shape(self) -> tuple[int, ...]:
        return *self.maps[0].shape[:3], sum(x.shape[-1] for x in self.maps)

    @property
    def dtype(self) -> jnp.dtype:
        return self.maps[0].dtype

    def split(self, matrix: jax.Array) -> list[jax.Array]:
        """The rows of a 1x1 convolution's matrix, `(c, co)`, that each map has."""
        return jnp.split(matrix, np.cumsum([x.shape[-1] for x in self.maps])[:-1])

    def whole(self) -> jax.Array:
        return jnp.concatenate([as_array(part) for part in self.maps], -1)


@operation
def concatenate(maps: Sequence[Map]) -> Map:
    """Maps as one, side by side along the channels."""
    return jnp.concatenate([as_array(x) for x in maps], -1)


@operation
def store(x: Map, margin: Pair = (0, 0)) -> Map:
    """`x`, where the lowering has barriers in memory with zeros `margin` wide around.

    Several operations can then read it, and none computes it again.
    """
    return x


def stored_map(x: Map, margin: Pair = (0, 0)) -> Map:
    if isinstance(x, Parts):
        return Parts(tuple(store(part, margin) for part in x.maps))
    if isinstance(x, PaddedMap) and x.covers(margin):
        return x
    return PaddedMap(padded(x, margin), margin)


def padded(x: Map, margin: Pair) -> jax.Array:
    """`(b, h + 2 * mh, w + 2 * mw, c)`: the map with zeros around it."""
    if isinstance(x, PaddedMap) and x.covers(margin):
        return x.cropped(margin)
    return in_memory(jnp.pad(as_array(x), [(0, 0), *((m, m) for m in margin), (0, 0)]))
