"""Synthetic driving scenes with label maps, drawn from a seed.

Each scene is a street seen through a windscreen: a camera, a sun, a ground plane
with road and pavements, plots of buildings, walls, fences and greenery on either
side, and traffic. Everything is placed in metres (x right, y up, z ahead of the
camera), projected, and painted far to near on an image and a label map at once, so
the two always agree. Labels are the 19 Cityscapes train classes and void
(`classes`).

Colours, light and materials are drawn at random and shared between classes, so that
shape, texture and place, not colour, tell most classes apart.
"""

import numpy as np

from streets.ground import paint_ground, paint_sky
from streets.plan import Plan
from streets.roadside import add_roadside, paint_skyline
from streets.stage import Stage
from streets.traffic import add_traffic
from streets.vehicles import paint_bonnet

__all__ = ["VERSION", "draw_scene"]

# Of the pictures: to be raised by whoever changes what a seed draws, for users keep the
# scenes that were drawn.
VERSION = 1


def draw_scene(
    seed: int, hw: tuple[int, int] = (256, 512)
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the street scene that belongs to `seed`.

    Args:
        seed: any non-negative integer; the same seed and size give the same bytes.
        hw: height and width in pixels, multiples of 8, at least 64 x 128.

    Returns:
        The RGB image, uint8 of shape (h, w, 3) in 0..255, and the label map, uint8 of
        shape (h, w) with train ids 0..18 or 255 (void).
    """
    h, w = hw
    if h % 8 or w % 8 or h < 64 or w < 128:
        raise ValueError(
            "hw must be (height, width), both multiples of 8 and at least 64 x 128; "
            f"got {hw!r}."
        )
    rng = np.random.default_rng(seed)
    stage = Stage(rng, h, w)
    plan = Plan(rng, straight=not stage.bend)
    paint_sky(stage)
    paint_skyline(stage, plan)
    for side in plan.sides:
        add_roadside(stage, plan, side)
    add_traffic(stage, plan)
    paint_ground(stage, plan)  # after all that casts a shadow on it
    stage.paint_items()
    if rng.random() < 0.4:
        paint_bonnet(stage)
    return stage.develop()
