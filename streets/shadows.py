"""Shadows on the ground, gathered while things are placed, before it is painted."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from streets.camera import Camera
from streets.light import Light


class Shadows:
    """A canvas of darkness over the ground plane."""

    def __init__(self, camera: Camera, light: Light) -> None:
        self._camera, self._light = camera, light
        self._canvas = Image.new("L", (camera.w, camera.h), 0)
        self._pen = ImageDraw.Draw(self._canvas)
        self._contacts: list[np.ndarray] = []

    def cast(self, corners: Sequence[tuple[float, float]], height: float) -> None:
        """Cast the shadow of a prism over (x, z) corners."""
        foot = np.array([(x, 0, z) for x, z in corners])
        if foot[0, 2] > 70:  # too flat to be seen
            return
        reach = self._reach(height)
        for i in range(len(foot)):
            edge = foot[[i - 1, i]]
            self._darken([*edge, *(edge[::-1] + reach)], self._light.shadow)
        self._contacts.append(foot)

    def cast_disc(self, x: float, z: float, radius: float, height: float) -> None:
        """Cast the shadow of something round that floats at a height."""
        angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)
        ring = np.zeros((12, 3))
        ring[:, 0] = x + radius * np.cos(angles)
        ring[:, 2] = z + radius * np.sin(angles)
        self._darken(ring + self._reach(height), self._light.shadow)

    def light_below(self, top: int) -> np.ndarray:
        """How much light reaches every other pixel below row `top`, in 0..1.

        Where things stand it is dark even without a sun.
        """
        for foot in self._contacts:
            self._darken(foot, max(150, self._light.shadow))
        half = self._canvas.crop((0, top, self._camera.w, self._camera.h)).reduce(2)
        soft = np.asarray(half.filter(ImageFilter.BoxBlur(1)))
        return 1 - soft.astype(np.float32) / 255

    def _reach(self, height: float) -> np.ndarray:
        """From a point at a height, to where its shadow falls, along the ground."""
        sun = self._light.sun_dir
        return min(height / sun[1], 30) * sun * (-1, 0, -1)

    def _darken(self, points: Sequence | np.ndarray, shade: int) -> None:
        outline = self._camera.outline(points)
        if outline:
            self._pen.polygon(outline, shade)
