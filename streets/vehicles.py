"""Cars, lorries, buses and trams, and the bonnet of the camera's own car."""

import math

import numpy as np

from streets import shapes
from streets.classes import BUS, CAR, TRUCK, VOID
from streets.light import UP
from streets.palette import GLASS, PAINT
from streets.solid import Shape, Solid
from streets.stage import Stage

_Part = tuple[Shape, float, np.ndarray]  # shape, metres ahead of the middle, colour


def add_vehicle(stage: Stage, x: float, z: float, heading: float, label: int) -> None:
    """Queue a `CAR`, `TRUCK`, `BUS` or `TRAIN` (a tram) with its middle at (x, z)."""
    colour = stage.pick(PAINT)
    glass = np.array(GLASS) + 0.25 * (stage.light.haze - 80) * stage.rng.random()
    if label == CAR:
        parts = [(shapes.car(stage.rng, glass), 0.0, colour)]
    elif label == TRUCK:
        box, cab = shapes.truck(stage.rng, glass)
        ahead = box.length / 2 + 0.1
        parts = [(box, -1.1, colour), (cab, ahead, stage.pick(PAINT))]
    elif label == BUS:
        parts = [(shapes.bus(stage.rng, glass), 0.0, colour)]
    else:
        parts = _tram_parts(stage.rng, glass, colour, away=math.cos(heading) > 0)
    for shape, offset, tint in parts:
        u, v = x + math.sin(heading) * offset, z + math.cos(heading) * offset
        solid = Solid(stage, shape, (u, v, heading), tint, label)
        stage.shadows.cast(solid.corners(), shape.height)
        stage.add(*solid.nearest(), solid.paint)


def _tram_parts(
    rng: np.random.Generator, glass: np.ndarray, colour: np.ndarray, away: bool
) -> list[_Part]:
    """Two or three sections joined by dark bellows; the nearest is at 0."""
    nose, middle, tail, bellows = shapes.tram(rng, glass)
    count, gap = int(rng.integers(2, 4)), nose.length + 0.6
    lead = gap * (count - 1) if away else 0.0
    parts = [(nose, lead, colour)]
    for i in range(1, count):
        parts.append((bellows, lead - gap * (i - 0.5), np.array([50.0, 50, 54])))
        parts.append((tail if i == count - 1 else middle, lead - gap * i, colour))
    return parts


def paint_bonnet(stage: Stage) -> None:
    """Paint the camera car's own bonnet along the bottom edge."""
    w, h = stage.camera.w, stage.camera.h
    rise = stage.rng.uniform(0.04, 0.1) * h
    colour = stage.pick(PAINT) * 0.45
    for lift, glow in ((1.0, 1.0), (0.75, 1.35), (0.45, 1.1)):
        outline: list[float] = [w, h, 0, h]
        for t in np.linspace(0, 1, 25):
            outline += [w * t, h - rise * lift * (1 - 0.5 * (2 * t - 1) ** 2)]
        stage.pixels(outline, stage.light.lit(colour * glow, UP, 1.0), VOID)
