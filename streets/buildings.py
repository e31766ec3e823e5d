"""What is built along the street: houses, and the walls and fences around them."""

from functools import partial
from itertools import pairwise

import numpy as np

from streets.camera import NEAR
from streets.classes import BUILDING, FENCE, VEGETATION, WALL
from streets.light import TO_CAMERA
from streets.plan import Side
from streets.stage import Stage
from streets.textures import Facade, fence, hedge, masonry, tiles

_DEPTH = 11.0  # metres from a building's front to its back


def add_building(
    stage: Stage, side: Side, z0: float, z1: float, setback: float, height: float
) -> None:
    """Queue a building along the street: facade, gable wall and roof."""
    rng = stage.rng
    x0, x1 = (stage.bent(side.sign * (side.line + setback), z) for z in (z0, z1))
    deep = side.sign * _DEPTH
    shop = setback < 1 and rng.random() < 0.6
    front = Facade(stage, height, shop)
    gable = Facade(stage, height, blind=rng.random() < 0.5)
    colour = stage.pick(((120, 70, 55), (85, 85, 92), (110, 95, 85)))
    rise = rng.uniform(2, 4) if rng.random() < 0.6 else 0.0
    roof = tiles(stage, colour)
    stage.shadows.cast([(x0, z0), (x1, z1), (x1 + deep, z1), (x0 + deep, z0)], height)

    def paint() -> None:
        along, up = (x1 - x0, 0, z1 - z0), (0, height, 0)
        if rise and stage.camera.eye > height - rise / (_DEPTH / 2) * abs(x0):
            stage.plane((x0, height, z0), along, (deep / 2, rise, 0), roof, BUILDING)
        if z0 > NEAR:
            stage.plane((x0, 0, z0), (deep, 0, 0), up, gable, BUILDING)
            if rise:
                ridge = (x0 + deep / 2, height + rise, z0)
                eaves = [(x0, height, z0), ridge, (x0 + deep, height, z0)]
                stage.poly(eaves, colour * 0.9, TO_CAMERA, BUILDING)
        stage.plane((x0, 0, z0), along, up, front, BUILDING)

    stage.add(x1, z1, paint)


def add_closing_building(stage: Stage, z: float) -> None:
    """Queue a facade across the end of the street."""
    height = stage.rng.uniform(9, 18)
    front = Facade(stage, height)
    corner, across, up = (-45, 0, z + 1), (90, 0, 0), (0, height, 0)
    stage.add(0.0, z, partial(stage.plane, corner, across, up, front, BUILDING))


def add_barrier(
    stage: Stage, side: Side, z0: float, z1: float, kind: int, height: float
) -> None:
    """Queue a `WALL`, `FENCE` or hedge (`VEGETATION`) along the front of a plot."""
    make = {WALL: masonry, FENCE: fence, VEGETATION: hedge}[kind]
    texture, up = make(stage, height), (0, height, 0)
    lateral = side.sign * side.line
    # in short pieces, to follow the bend and to sort well by distance
    for near, far in pairwise(np.linspace(z0, z1, max(1, round((z1 - z0) / 6)) + 1)):
        x0, x1 = stage.bent(lateral, near), stage.bent(lateral, far)
        place = ((x0, 0, near), (x1 - x0, 0, far - near), up)
        stage.add(x1, far, partial(stage.plane, *place, texture, kind, kind == FENCE))
    if kind != FENCE:
        thick = side.sign * (0.4 if kind == WALL else 1.2)
        x0, x1 = stage.bent(lateral, z0), stage.bent(lateral, z1)
        place = ((x0, 0, z0), (thick, 0, 0), up)
        stage.add(x0, z0, partial(stage.plane, *place, texture, kind))
        foot = [(x0, z0), (x1, z1), (x1 + thick, z1), (x0 + thick, z0)]
        stage.shadows.cast(foot, height)
