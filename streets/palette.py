"""The colours of a scene, in pools that classes share.

Colour must not tell most classes apart: cars, clothes and shop signs are painted from
one pool, walls of every kind from another.
"""

from collections.abc import Sequence

import numpy as np

Colour = Sequence[float] | np.ndarray  # RGB, 0..255


def _pool(colours: str) -> list[tuple[int, ...]]:
    return [tuple(bytes.fromhex(colour)) for colour in colours.split()]


PAINT = _pool(
    "ebebe8 c8cacd 969a9e 5f6266 2d2e32 19191c a51e20 781923 234182 3c6eaa 1e5541 "
    "d7af28 cd6e23 beaf91 5f4637"
)
MASONRY = _pool(
    "cdc3af b4a58c 965541 7d4b3c a5a09b 787674 dcd7cd c3a069 8c96a0 5f5550 b98269 "
    "a0aa96"
)
FOLIAGE = _pool("3e5c28 30502c 54682e 465432 284226 80682c 965428")
GRASS = _pool("60763a 767c42 8c8054 54683e 7c684c")
SKIN = _pool("e8bea0 cd9b78 966446 5f4130")
STEEL = _pool("767a7c 54585a 3c4840 969692 343436")
GLASS = (44, 52, 60)
TYRE = (24, 24, 26)
