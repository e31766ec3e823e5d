"""The camera: where points of the world fall on the canvas.

World points are metres (x right, y up, z ahead); the camera looks along z from
`(0, eye, 0)`.
"""

import math
from collections.abc import Sequence

import numpy as np

NEAR = 0.9  # metres; nothing closer to the camera plane is painted

Vector = Sequence[float] | np.ndarray


class Camera:
    """A pinhole camera of random field of view, height and aim.

    Attributes:
        w, h: size of the canvas in pixels.
        f: focal length in pixels.
        cu, cv: the pixel of the horizon straight ahead.
        eye: height above the ground in metres.
    """

    def __init__(self, rng: np.random.Generator, w: int, h: int) -> None:
        self.w, self.h = w, h
        self.f = rng.uniform(0.72, 0.95) * min(w, 2 * h)
        self.cu = w * rng.uniform(0.38, 0.62)
        self.cv = h * rng.uniform(0.40, 0.50)
        self.eye = rng.uniform(1.35, 2.1)

    def outline(self, points: Sequence[Vector] | np.ndarray) -> list[float]:
        """The flat pixel outline of a world polygon, cut at the near plane.

        It is empty where all of the polygon is nearer.
        """
        points = np.asarray(points, float)
        if points[:, 2].min() < NEAR:
            points = _clip_near(points)
        if len(points) < 3:
            return []
        rays = (points[:, :2] - (0, self.eye)) / points[:, 2:]
        return (rays * (self.f, -self.f) + (self.cu, self.cv)).ravel().tolist()

    def window(self, outline: list[float]) -> tuple[int, int, int, int] | None:
        """The pixel box (u0, v0, u1, v1) of an outline within the canvas, if any."""
        if not outline:
            return None
        u, v = outline[::2], outline[1::2]
        u0, u1 = max(0, math.floor(min(u))), min(self.w, math.ceil(max(u)) + 1)
        v0, v1 = max(0, math.floor(min(v))), min(self.h, math.ceil(max(v)) + 1)
        return (u0, v0, u1, v1) if u1 > u0 and v1 > v0 else None


def _clip_near(points: np.ndarray) -> np.ndarray:
    """The part of a polygon beyond the near plane, (m, 3); m is 0 if none is."""
    kept = []
    for p, q in zip(points, np.roll(points, -1, 0), strict=True):
        if p[2] >= NEAR:
            kept.append(p)
        if (p[2] >= NEAR) != (q[2] >= NEAR):
            kept.append(p + (q - p) * (NEAR - p[2]) / (q[2] - p[2]))
    return np.array(kept).reshape(-1, 3)
