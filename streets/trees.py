"""Trees and bushes."""

import numpy as np

from streets.classes import VEGETATION
from streets.palette import FOLIAGE
from streets.sprite import Sprite
from streets.stage import Stage, mask, pixel_grid

_BARK = ((84, 70, 56), (100, 92, 82), (62, 52, 44))


def add_tree(stage: Stage, x: float, z: float) -> None:
    """Queue a tree: a trunk and a crown of overlapping clumps, or a bush."""
    rng = stage.rng
    bush = rng.random() < 0.2
    wide = rng.uniform(0.6, 1.2) if bush else rng.uniform(1.5, 3.2)
    tall = wide * rng.uniform(0.8, 1.3)
    base = 0.0 if bush else rng.uniform(1.9, 3.0)
    conifer = rng.random() < 0.15
    colour, bark = stage.pick(FOLIAGE, 5), stage.pick(_BARK)
    clumps = rng.uniform((-0.5, -0.5, 0.35), (0.5, 0.5, 0.7), (5, 3))
    stage.shadows.cast_disc(x, z, wide * 0.9, base + tall * (0.3 if bush else 1))

    def paint() -> None:
        sprite = Sprite(stage, x, z, VEGETATION)
        if not bush:
            sprite.limb([(0, 0), (0.05, base + tall * 0.7)], 0.16 + 0.06 * wide, bark)
        shape = None if conifer else clumps
        _crown(stage, sprite, (base + tall, wide, tall), shape, colour)

    stage.add(x, z, paint)


def _crown(
    stage: Stage,
    sprite: Sprite,
    size: tuple[float, float, float],
    clumps: np.ndarray | None,
    colour: np.ndarray,
) -> None:
    """Paint foliage: noise cut out by the union of round clumps, or by a cone.

    `size` is the height of its centre and its half width and height; `clumps` holds
    (x, y, radius) rows in units of these.
    """
    centre, wide, tall = size
    u0, v0 = sprite.at(-wide, centre + tall)
    u1, v1 = sprite.at(wide, centre - tall)
    box = stage.camera.window([u0, v0, u1, v1])
    if box is None:
        return
    u, v = pixel_grid(box)
    a, b = (u - u0) / (u1 - u0) * 2 - 1, 1 - (v - v0) / (v1 - v0) * 2
    if clumps is None:
        inside = 0.9 - 0.25 * (b + 1) - np.abs(a) * 1.6
    else:
        inside = np.full((b.shape[0], a.shape[1]), -1, np.float32)
        for p, q, r in clumps.astype(np.float32):
            np.maximum(inside, 1 - ((a - p) ** 2 + (b - q) ** 2) / r**2, out=inside)
    east, north = a * wide * 12 + 99, b * tall * 12 + 99
    lumps, leaves = stage.cloud(east, north), stage.grain(east, north)
    inside += 0.45 * lumps + 0.12 * leaves
    sunward = 0.12 * a * np.float32(stage.light.sun_dir[0])
    tone = 0.78 + 0.3 * lumps + 0.2 * leaves + 0.22 * b + sunward
    rgb = np.array(sprite.tint(colour), np.float32) * tone[..., None]
    shape = mask(inside > 0.12, (box[2] - box[0], box[3] - box[1]))
    stage.paste(rgb, shape, shape, box, VEGETATION)
