"""Maps as they lie in memory: once, with zeros around them, in parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxseg.ops.lowering import current_lowering
from jaxseg.ops.types import Pair


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
