"""Vehicle bodies: side profiles extruded sideways, and how they are painted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from streets.camera import Vector
from streets.light import TO_CAMERA, UP
from streets.palette import TYRE, Colour
from streets.stage import Stage

_RIMS = (  # factor of the wheel's radius, colour
    (1.15, (14, 14, 15)),
    (0.85, (60, 60, 62)),
    (0.62, (150, 152, 155)),
    (0.2, TYRE),
)


@dataclass
class Shape:
    """A body in metres; a detail's colour is RGB or a factor of the body colour.

    Attributes:
        profile: (along, up) points from the rear bottom over the roof to the front
            bottom; the faces between them are numbered from 0.
        details: patches (face, t0, t1, w0, w1, colour): t runs along the profile, w
            across the body, both in 0..1.
        sides: patches (polygon, colour) of both sides.
        wheels: (along, radius).
        waist: height above which the body narrows.
    """

    profile: list[tuple[float, float]]
    width: float
    details: list[tuple] = field(default_factory=list)
    sides: list[tuple] = field(default_factory=list)
    wheels: list[tuple[float, float]] = field(default_factory=list)
    waist: float = 9.0

    @property
    def length(self) -> float:
        return max(along for along, _ in self.profile)

    @property
    def height(self) -> float:
        return max(up for _, up in self.profile)


class Solid:
    """A shape at pose (x, z, heading); heading 0 drives away from the camera."""

    def __init__(
        self,
        stage: Stage,
        shape: Shape,
        pose: tuple[float, float, float],
        colour: np.ndarray,
        label: int,
    ) -> None:
        self._stage, self._shape = stage, shape
        self._colour, self._label = colour, label
        x, z, heading = pose
        self._ahead = np.array([math.sin(heading), 0, math.cos(heading)])
        self._right = np.array([math.cos(heading), 0, -math.sin(heading)])
        self._frame = np.stack([self._ahead, UP, self._right])
        self._centre = np.array([x, 0, z])
        self._eye = np.array([0, stage.camera.eye, 0])

    def corners(self) -> list[tuple[float, float]]:
        """The (x, z) corners of what it covers of the ground."""
        ahead, right = self._ahead[[0, 2]], self._right[[0, 2]]
        reach, side = ahead * self._shape.length / 2, right * self._shape.width / 2
        around = ((1, 1), (1, -1), (-1, -1), (-1, 1))
        return [tuple(self._centre[[0, 2]] + f * reach + g * side) for f, g in around]

    def nearest(self) -> tuple[float, float]:
        """The (x, z) to queue it at: its middle, at the distance of its nearer end."""
        x, _, z = self._centre
        return x, z - abs(self._ahead[2] * self._shape.length / 2)

    def paint(self) -> None:
        """Paint what the camera sees of it."""
        self._paint_tyres()
        self._paint_faces()
        lean = self._right @ (self._eye - self._centre)
        if abs(lean) >= self._shape.width / 2:
            self._paint_side(1 if lean > 0 else -1)

    def _place(self, local: Sequence[tuple[float, float, float]]) -> np.ndarray:
        """World points of (along, up, across); across is -1 left and 1 right."""
        points, shape = np.array(local), self._shape
        inset = 1 - 0.2 * np.clip((points[:, 1] - shape.waist) / 0.6, 0, 1)
        points[:, 0] -= shape.length / 2
        points[:, 2] *= inset * (shape.width / 2)
        return points @ self._frame + self._centre

    def _poly(self, points: Sequence, colour: float | Colour, normal: Vector) -> None:
        tint = self._colour * colour if isinstance(colour, int | float) else colour
        self._stage.poly(self._place(points), tint, normal, self._label)

    def _paint_tyres(self) -> None:
        """What shows of the wheels beneath the body, seen from its ends."""
        for along, r in self._shape.wheels:
            for w in (-1, 1):
                for end in (along - 0.7 * r, along + 0.7 * r):
                    inner = w * (1 - 0.24 / (self._shape.width / 2))
                    tyre = [(end, 0, w), (end, r, w), (end, r, inner), (end, 0, inner)]
                    self._poly(tyre, TYRE, TO_CAMERA)

    def _paint_faces(self) -> None:
        """Rear, roof, windscreen and so on, with their details, far to near."""
        faces = []
        for i, (p, q) in enumerate(pairwise(self._shape.profile)):
            normal = (p[1] - q[1]) * self._ahead + np.array([0, q[0] - p[0], 0])
            normal /= np.linalg.norm(normal)
            middle = self._place([((p[0] + q[0]) / 2, (p[1] + q[1]) / 2, 0)])[0]
            if normal @ (self._eye - middle) > 0:
                faces.append((np.linalg.norm(middle - self._eye), i, normal))
        for _, i, normal in sorted(faces, key=lambda face: -face[0]):
            patches = [detail[1:] for detail in self._shape.details if detail[0] == i]
            p, q = np.array(self._shape.profile[i : i + 2])
            for t0, t1, w0, w1, colour in [(0, 1, 0, 1, 1.0), *patches]:
                (a0, h0), (a1, h1) = p + (q - p) * t0, p + (q - p) * t1
                corners = ((a0, h0, w0), (a0, h0, w1), (a1, h1, w1), (a1, h1, w0))
                patch = [(a, h, 2 * w - 1) for a, h, w in corners]
                self._poly(patch, colour, normal)

    def _paint_side(self, side: int) -> None:
        """The left (-1) or right (1) side with its wheels."""
        normal = self._right * side
        for outline, colour in [(self._shape.profile, 1.0), *self._shape.sides]:
            self._poly([(a, h, side) for a, h in outline], colour, normal)
        turn = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        circle = [(math.cos(t), math.sin(t)) for t in turn]
        rims = _RIMS[: 4 if self._centre[2] < 25 else 2]
        for along, r in self._shape.wheels:
            for k, colour in rims:
                rim = [(along + k * r * c, r + k * r * s) for c, s in circle]
                self._poly([(a, max(h, 0), side) for a, h in rim], colour, normal)
