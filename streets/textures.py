"""What upright surfaces look like: facades, walls, fences, hedges and roof tiles.

Each function draws a random look and returns a `Texture`.
"""

import numpy as np

from streets.palette import FOLIAGE, GLASS, MASONRY, PAINT, STEEL
from streets.stage import Stage, Texture

_WALL, _FRAME, _PANE, _BRIGHT_PANE, _CORNICE, _SHOP, _SHOP_SIGN, _DOOR = range(8)


class Facade:
    """A texture: rows of windows over a ground floor of shops or doors."""

    def __init__(
        self, stage: Stage, height: float, shop: bool = False, blind: bool = False
    ) -> None:
        rng = stage.rng
        self._stage, self._height, self._shop, self._blind = stage, height, shop, blind
        self._storey, self._bay = rng.uniform(2.8, 3.6), rng.uniform(1.7, 3.6)
        self._wide, self._tall = rng.uniform(0.2, 0.36), rng.uniform(0.22, 0.36)
        if rng.random() < 0.2:
            self._wide = 0.48
        self._frame = rng.uniform(0.02, 0.05)
        self._bricks = rng.random() < 0.5
        wall = stage.pick(MASONRY)
        glass = np.array(GLASS) + 0.3 * (stage.light.haze - 60) * rng.random()
        palette = [wall, wall * rng.uniform(0.6, 1.3)]
        palette += [glass, glass * 0.5 + rng.uniform(60, 110)]
        palette += [wall * rng.uniform(0.7, 1.2)]
        palette += [np.array(GLASS) * rng.uniform(0.7, 1.5), stage.pick(PAINT, 14)]
        palette += [stage.pick(PAINT) * 0.7]
        self._palette = np.array(palette, np.float32)
        self._shift = rng.integers(256)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, None]:
        grain, cloud = self._stage.grain, self._stage.cloud
        y = b / self._storey - np.floor(b / self._storey)
        material = self._material(a, b, y)
        tone = 1 + 0.07 * cloud(a * 9 + self._shift, b * 9)
        tone += 0.06 * grain(a * 14, b * 14)
        if self._bricks:
            tone -= 0.12 * ((b * 5) % 1 < 0.25) * (material == _WALL)
        panes = (material == _PANE) | (material == _SHOP)
        tone += np.where(panes, 0.5 * (y - 0.4), 0)
        return self._palette[material] * tone[..., None], None

    def _material(self, a: np.ndarray, b: np.ndarray, y: np.ndarray) -> np.ndarray:
        """`_WALL` to `_DOOR`, uint8; `y` is the height within the storey in 0..1."""
        floor, column = np.floor(b / self._storey), np.floor(a / self._bay)
        x, dy = np.abs(a / self._bay - column - 0.5), np.abs(y - 0.52)
        material = np.zeros(a.shape, np.uint8)
        ground, upper = floor == 0, floor >= 1
        if not self._blind:
            wide, tall, frame = self._wide, self._tall, self._frame
            windows = upper & ((floor + 1) * self._storey < self._height)
            material[windows & (x < wide + frame) & (dy < tall + frame)] = _FRAME
            pane = windows & (x < wide) & (dy < tall) & (x > 0.015)
            bright = self._stage.grain(column * 37 + self._shift, floor * 17) > 0.25
            material[pane] = np.where(bright[pane], _BRIGHT_PANE, _PANE)
            if self._shop:
                material[ground & (x < 0.45) & (y < 0.7) & (y > 0.12)] = _SHOP
                material[ground & (y > 0.76)] = _SHOP_SIGN
            else:
                door = (column.astype(np.int32) + self._shift) % 4 == 0
                material[ground & ~door & (x < wide) & (dy < tall)] = _PANE
                material[ground & door & (x < 0.25) & (y < 0.72)] = _DOOR
        material[(y < 0.05) & upper] = _CORNICE
        material[b > self._height - 0.45] = _CORNICE
        return material


def masonry(stage: Stage, height: float) -> Texture:
    """A plain wall: bricks, blocks or panels under a coping."""
    rng, grain, cloud = stage.rng, stage.grain, stage.cloud
    colour = stage.pick(MASONRY).astype(np.float32)
    course, length = ((0.16, 0.5), (0.4, 0.9), (9.0, 2.4))[rng.integers(3)]
    graffiti = stage.pick(PAINT, 20).astype(np.float32)
    tagged = rng.random() < 0.3

    def texture(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, None]:
        row = np.floor(b / course)
        brick = a / length + 0.5 * (row % 2)
        joint = (b / course - row < 0.14) | (brick % 1 < 0.04)
        tone = 1 + 0.16 * cloud(a * 14, b * 14) - 0.16 * joint
        tone += 0.06 * grain(brick, row)
        tone += 0.05 * grain(a * 30, b * 30)
        tone = np.where(b > height - 0.18, 1.2, tone) - 0.2 * (b < 0.25)
        rgb = colour * tone[..., None]
        if tagged:
            scribble = np.abs(cloud(a * 25, b * 40 + 80)) < 0.07
            rgb[scribble & (b < 1.8) & (a % 7 < 4)] = graffiti
        return rgb, None

    return texture


def fence(stage: Stage, height: float) -> Texture:
    """Pickets, iron bars, rails or mesh; what is not solid shows what is behind."""
    style = stage.rng.choice(["picket", "bars", "rails", "mesh"])
    pool = PAINT if style == "picket" else STEEL
    colour = stage.pick(pool, 12).astype(np.float32)

    def texture(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        post = a % 2.4 < 0.11
        rail = (np.abs(b - height + 0.12) < 0.05) | (np.abs(b - 0.25) < 0.05)
        if style == "picket":
            x = a % 0.2 / 0.2
            solid = rail | ((x < 0.66) & (b < height - 0.2 * np.abs(x - 0.33)))
        elif style == "bars":
            solid = rail | (a % 0.17 < 0.06)
        elif style == "rails":
            solid = b % (height / 3.01) > height / 3.01 - 0.13
        else:
            solid = rail | ((a + b) % 0.18 < 0.035) | ((a - b + 99) % 0.18 < 0.035)
        tone = 1 + 0.1 * stage.grain(a * 5, b * 0) - 0.25 * rail
        return colour * tone[..., None], solid | post

    return texture


def hedge(stage: Stage, height: float) -> Texture:
    """Leaves, with an uneven upper edge."""
    colour = stage.pick(FOLIAGE, 5).astype(np.float32)

    def texture(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        clumps, leaves = stage.cloud(a * 30, b * 30), stage.grain(a * 22, b * 22)
        tone = 0.72 + 0.3 * clumps + 0.22 * leaves + 0.3 * b / height
        return colour * tone[..., None], b < height * (0.9 + 0.1 * clumps)

    return texture


def tiles(stage: Stage, colour: np.ndarray) -> Texture:
    """Courses of roof tiles."""

    def texture(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, None]:
        tone = 1 - 0.25 * (b % 0.4 < 0.12) + 0.1 * stage.grain(a * 4, b * 3)
        return colour.astype(np.float32) * tone[..., None], None

    return texture
