"""The plan of a street: where its lanes, kerbs, pavements and crossings run.

It also keeps account of which stretches of a lane or kerb are taken.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from streets.classes import SIDEWALK, TERRAIN


@dataclass
class Side:
    """One side of the street; distances in metres, outwards.

    Attributes:
        sign: -1 left, 1 right.
        edge: from the camera's lane to the kerb.
        parking: whether a parking lane runs along the kerb.
        strip: width of the grass along the kerb.
        walk: width of the pavement beyond it.
        yard: label of the ground behind the pavement.
        opening: from where to where a side street opens here, if one does.
    """

    sign: int
    edge: float
    parking: bool
    strip: float
    walk: float
    yard: int
    opening: tuple[float, float] | None = None

    @property
    def line(self) -> float:
        """Lateral distance of the line on which plots begin."""
        return self.edge + self.strip + self.walk

    def opens(self, z0: float, z1: float) -> bool:
        """Whether the side street runs through this stretch."""
        span = self.opening
        return span is not None and z0 < span[1] + 1 and z1 > span[0] - 1


class Plan:
    """A street of one lane ahead and one or two oncoming ones.

    Attributes:
        sides: left and right.
        lanes: lateral centres, from the left.
        crossing: where a side street crosses, from z to z.
        zebra: where a pedestrian crossing begins.
        end: where a building closes the street.
        rails: lateral centre of a tram track.
    """

    def __init__(self, rng: np.random.Generator, straight: bool) -> None:
        self._rng = rng
        self._taken: dict[Hashable, list[tuple[float, float]]] = {}
        oncoming = int(rng.integers(1, 3))
        lane = rng.uniform(3.0, 3.5)
        self.lanes = [-lane * i for i in range(oncoming, -1, -1)]
        left = _draw_side(rng, -1, lane * (oncoming + 0.5))
        right = _draw_side(rng, 1, lane * 0.5)
        self.sides = (left, right)
        self.crossing: tuple[float, float] | None = None
        self.zebra: float | None = None
        self.end: float | None = None
        self.rails: float | None = None
        if rng.random() < 0.6:
            start = rng.uniform(14, 36)
            self.crossing = (start, start + rng.uniform(7, 10))
            self.zebra = start - 4.5
            which = rng.integers(3)
            left.opening = self.crossing if which != 0 else None
            right.opening = self.crossing if which != 1 else None
        elif rng.random() < 0.3:
            self.zebra = rng.uniform(9, 25)
        if straight and rng.random() < 0.3:
            self.end = rng.uniform(55, 95)
        if rng.random() < 0.5:
            self.rails = float(rng.choice(self.lanes[:-1] * 2 + [0.0]))

    def claim(self, track: Hashable, z: float, length: float) -> bool:
        """Take a stretch of a lane or kerb around z; false if it is taken."""
        start, stop = z - length / 2, z + length / 2
        spans = self._taken.setdefault(track, [])
        if any(start < b and a < stop for a, b in spans):
            return False
        spans.append((start, stop))
        return True

    def reach(self, far: float) -> float:
        """A distance, cut to where the street ends."""
        return min(far, self.end - 4) if self.end else far

    def spread(self, near: float, far: float) -> float:
        """A random distance, nearer ones more often."""
        return near * (self.reach(far) / near) ** self._rng.random()


def _draw_side(rng: np.random.Generator, sign: int, inner: float) -> Side:
    parking = rng.random() < 0.45
    strip = rng.uniform(1, 2.5) if rng.random() < 0.4 else 0.0
    yard = TERRAIN if rng.random() < 0.65 else SIDEWALK
    edge = inner + 2.2 * parking + 0.2
    return Side(sign, edge, parking, strip, rng.uniform(2.2, 4.5), yard)
