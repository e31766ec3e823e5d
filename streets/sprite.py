"""Billboards: flat figures that face the camera, drawn in metres."""

from collections.abc import Sequence

import numpy as np

from streets.light import TO_CAMERA
from streets.palette import Colour
from streets.stage import Stage

_Point = tuple[float, float]  # metres sideways and up


class Sprite:
    """A figure about (x, 0, z); `size` is a factor of all that is drawn of it.

    Attributes:
        label: of what is drawn from here on.
        squeeze: narrows it sideways, for things seen at an angle; negative mirrors.
        scale: pixels a metre.
    """

    def __init__(
        self,
        stage: Stage,
        x: float,
        z: float,
        label: int,
        squeeze: float = 1.0,
        size: float = 1.0,
    ) -> None:
        self._stage, self._x, self._z, self._size = stage, x, z, size
        self.label, self.squeeze = label, squeeze
        self.scale = stage.camera.f / z

    def at(self, a: float, b: float) -> tuple[float, float]:
        """The pixel of a point."""
        camera, size = self._stage.camera, self._size
        u = camera.cu + (self._x + a * size * self.squeeze) * self.scale
        return u, camera.cv + (camera.eye - b * size) * self.scale

    def tint(self, colour: Colour) -> tuple[int, int, int]:
        """The colour as seen there."""
        return self._stage.light.lit(colour, TO_CAMERA, self._z)

    def poly(self, points: Sequence[_Point], colour: Colour) -> None:
        outline = [c for a, b in points for c in self.at(a, b)]
        self._stage.pixels(outline, self.tint(colour), self.label)

    def box(self, a0: float, b0: float, a1: float, b1: float, colour: Colour) -> None:
        self.poly([(a0, b0), (a1, b0), (a1, b1), (a0, b1)], colour)

    def limb(self, points: Sequence[_Point], width: float, colour: Colour) -> None:
        """A rounded bar along the points, lighter on the side of the sun."""
        stage, colour = self._stage, np.asarray(colour, float)
        line = [self.at(a, b) for a, b in points]
        wide = width * self._size * self.scale
        stage.stroke(line, wide, self.tint(colour * 0.8), self.label)
        if wide > 3:
            shift = 0.2 * wide * (1 if stage.light.sun_dir[0] > 0 else -1)
            lit = [(u + shift, v) for u, v in line]
            stage.stroke(lit, wide * 0.5, self.tint(colour * 1.1), None)

    def disc(
        self, a: float, b: float, r: float, colour: Colour, rim: float = 0.0
    ) -> None:
        """A disc, or with a rim (metres) a ring whose inside is labelled too."""
        (u, v), s, r = self.at(a, b), self.scale, r * self._size
        wide = max(r * abs(self.squeeze), 0.05) * s
        box = [u - wide, v - r * s, u + wide, v + r * s]
        self._stage.ellipse(box, self.tint(colour), self.label, rim * self._size * s)
