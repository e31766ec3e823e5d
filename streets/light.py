"""The light of a scene: sun, sky and haze, and what they make of a colour."""

import math

import numpy as np

from streets.camera import Vector
from streets.palette import Colour

TO_CAMERA = (0.0, 0.0, -1.0)
UP = (0.0, 1.0, 0.0)


class Light:
    """A clear day, an overcast one, or dusk; now and then with fog.

    Attributes:
        sun_dir: unit vector towards the sun.
        shadow: how much darker the sun's shadows are, 0..255.
        zenith, haze: colours of the sky overhead and at the horizon.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        mood = rng.choice(["clear", "overcast", "dusk"], p=[0.5, 0.35, 0.15])
        sunny = {"clear": rng.uniform(0.6, 1), "overcast": rng.uniform(0, 0.2)}
        strength = sunny.get(mood, rng.uniform(0.3, 0.7))
        rise = rng.uniform(0.12, 0.3) if mood == "dusk" else rng.uniform(0.45, 1.1)
        turn = rng.uniform(0, 2 * math.pi)
        flat = math.cos(rise)
        self.sun_dir = np.array(
            [flat * math.sin(turn), math.sin(rise), flat * math.cos(turn)]
        )
        sun = 0.72 * strength * np.array([1.08, 1.0, 0.86 if mood != "dusk" else 0.68])
        ambient = (0.88 - 0.36 * strength) * np.array([0.96, 1.0, 1.05])
        self.shadow = int(40 + 110 * strength)
        zenith, horizon = {
            "clear": ((70, 120, 190), (190, 210, 228)),
            "overcast": ((165, 170, 176), (212, 214, 214)),
            "dusk": ((88, 98, 140), (238, 190, 150)),
        }[mood]
        self.zenith = np.array(zenith) + rng.normal(0, 12, 3)
        self.haze = np.array(horizon) + rng.normal(0, 7, 3)
        self._sight = rng.uniform(90, 160) if rng.random() < 0.3 else 500.0
        # plain floats: three channels are too few for NumPy to pay off
        self._sun, self._haze = self.sun_dir.tolist(), self.haze.tolist()
        self._light = list(zip(ambient.tolist(), sun.tolist(), strict=True))

    def lamp(self, normal: Vector) -> list[float]:
        """The light, per channel, on a surface with this unit normal."""
        sun_x, sun_y, sun_z = self._sun
        direct = max(0.0, normal[0] * sun_x + normal[1] * sun_y + normal[2] * sun_z)
        around = 0.9 + 0.1 * normal[1]
        return [a * around + s * direct for a, s in self._light]

    def lit(self, colour: Colour, normal: Vector, z: float) -> tuple[int, int, int]:
        """The colour as seen: lit, and faded into the haze at distance z."""
        clear = math.exp(-max(z, 0.0) / self._sight)
        r, g, b = (
            min(255, int(c * k * clear + h * (1 - clear)))
            for c, k, h in zip(colour, self.lamp(normal), self._haze, strict=True)
        )
        return r, g, b

    def hazy(self, rgb: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Colours (h, w, 3) faded into the haze by distance."""
        if self._sight > 400:
            return rgb
        clear = np.exp(-np.minimum(depth, 999) / self._sight)[..., None]
        return rgb * clear + self.haze.astype(np.float32) * (1 - clear)
