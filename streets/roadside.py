"""What stands beside the road: skyline, plots, kerbside furniture and walkers."""

import math

import numpy as np

from streets import buildings, classes, furniture
from streets.light import TO_CAMERA
from streets.palette import FOLIAGE, MASONRY
from streets.people import add_person
from streets.plan import Plan, Side
from streets.stage import Stage
from streets.trees import add_tree
from streets.two_wheelers import add_two_wheeler


def add_roadside(stage: Stage, plan: Plan, side: Side) -> None:
    """Queue everything that stands on one side."""
    _plots(stage, plan, side)
    _kerbside(stage, plan, side)
    _pavement(stage, plan, side)


def paint_skyline(stage: Stage, plan: Plan) -> None:
    """Paint distant houses and trees, or queue the building that hides them."""
    if plan.end:
        buildings.add_closing_building(stage, plan.end)
        return
    rng, camera = stage.rng, stage.camera
    scale = camera.f / 101.0  # pixels a metre, out there
    u, v = -20.0, camera.cv + camera.eye * scale + 3
    while u < camera.w:
        wide, tall = rng.uniform(20, 90), rng.uniform(4, 16) * scale
        green = rng.random() < 0.45
        colour = stage.pick(FOLIAGE if green else MASONRY)
        if green:
            wide *= 1.3
            outline = [u, v, u + wide, v]
            for t in np.linspace(1, 0, 9).tolist():
                bump = 0.3 + 0.5 * math.sin(math.pi * t)
                outline += [u + wide * t, v - tall * bump - rng.uniform(0, 4)]
        else:
            outline = [u, v, u + wide, v, u + wide, v - tall, u, v - tall]
        label = classes.VEGETATION if green else classes.BUILDING
        stage.pixels(outline, stage.light.lit(colour, TO_CAMERA, 90), label)
        u += wide * rng.uniform(0.6, 1)


def _plots(stage: Stage, plan: Plan, side: Side) -> None:
    """Fill one side with buildings, gardens, walls and parks."""
    rng = stage.rng
    garden = side.yard == classes.TERRAIN
    shares = [0.7, 1.6, 1.0, 1.2, 1.4] if garden else [4.0, 0.6, 0.6, 0.6, 0.3]
    mix = rng.dirichlet(shares)
    z, limit = rng.uniform(-6, 2), plan.reach(84) + 4
    while z < limit:
        end = min(z + rng.uniform(9, 20), limit)
        if side.opening and side.opens(z, end):
            start, stop = side.opening
            if z < start - 5:
                end = start - 2
            else:
                z = max(z, stop + 2)
                end = z + rng.uniform(9, 16)
        kind = rng.choice(["block", "house", "wall", "fence", "park"], p=mix)
        _plot(stage, side, z, end, kind)
        z = end + (rng.uniform(0.5, 4) if rng.random() < 0.3 else 0)


def _plot(stage: Stage, side: Side, z0: float, z1: float, kind: str) -> None:
    rng = stage.rng
    if kind == "block":
        buildings.add_building(stage, side, z0, z1, 0.0, rng.uniform(9, 20))
        return
    if kind == "house" or rng.random() < 0.4:
        height, setback = rng.uniform(5, 9), rng.uniform(4, 8)
        buildings.add_building(stage, side, z0 + 1, z1 - 1, setback, height)
        trees, back = rng.integers(0, 2), setback - 1
    else:
        trees, back = rng.integers(2, 5), 9.0
    for _ in range(trees):
        out, z = side.line + rng.uniform(1.5, max(back, 2)), rng.uniform(z0, z1)
        if z > 5:
            add_tree(stage, stage.bent(side.sign * out, z), z)
    if kind == "wall":
        buildings.add_barrier(stage, side, z0, z1, classes.WALL, rng.uniform(1.6, 3.6))
    elif kind == "fence":
        buildings.add_barrier(stage, side, z0, z1, classes.FENCE, rng.uniform(1.3, 2.6))
    elif rng.random() < 0.75:
        kinds = [classes.WALL, classes.FENCE, classes.VEGETATION]
        barrier = int(rng.choice(kinds, p=[0.25, 0.4, 0.35]))
        buildings.add_barrier(stage, side, z0, z1, barrier, rng.uniform(0.9, 1.5))


def _kerbside(stage: Stage, plan: Plan, side: Side) -> None:
    """Lamps, trees, signs, lights and clutter along the kerb."""
    rng = stage.rng
    kerb = f"kerb {side.sign}"
    lateral = side.sign * (side.edge + max(0.5, side.strip / 2))
    pitch, z = rng.uniform(9, 18), rng.uniform(6, 12)
    planted = rng.random() < (0.55 if side.strip else 0.25)
    while z < plan.reach(60):
        if not side.opens(z - 1, z + 1):
            plan.claim(kerb, z, 1.5)
            furniture.add_lamp_post(stage, stage.bent(lateral, z), z, -side.sign)
            if planted and rng.random() < 0.8:
                between = z + pitch / 2
                add_tree(stage, stage.bent(lateral, between), between)
        z += pitch
    sign, clutter = furniture.add_traffic_sign, furniture.add_clutter
    for add, most, near, far in ((sign, 3, 6.5, 40), (clutter, 1, 8, 30)):
        for _ in range(rng.integers(0, most + 1)):
            z = plan.spread(near, far)
            if not side.opens(z, z) and plan.claim(kerb, z, 1.2):
                add(stage, stage.bent(lateral, z), z)
    stops = [plan.zebra] if plan.zebra else []
    if plan.crossing:
        stops.append(plan.crossing[1] + 1)
    for z in stops if rng.random() < 0.9 else ():
        x = stage.bent(side.sign * (side.edge + 0.4), z)
        furniture.add_traffic_light(stage, x, z, -side.sign)


def _pavement(stage: Stage, plan: Plan, side: Side) -> None:
    """Groups of people, and two-wheelers left standing."""
    rng = stage.rng
    inner, outer = side.edge + side.strip + 0.5, side.line - 0.4
    for _ in range(rng.poisson(2.8)):
        z = plan.spread(6.5, 45)
        for _ in range(rng.integers(1, 4)):
            x = stage.bent(side.sign * rng.uniform(inner, outer), z)
            add_person(stage, x, z, small=rng.random() < 0.12)
            z += rng.uniform(0.2, 0.9)
    for label, odds in ((classes.BICYCLE, 0.6), (classes.MOTORCYCLE, 0.35)):
        if rng.random() < odds:
            z, lateral = plan.spread(7, 20), rng.uniform(inner, outer)
            heading = rng.uniform(0.5, 1.6) * rng.choice([-1, 1])
            x = stage.bent(side.sign * lateral, z)
            for i in range(rng.integers(1, 5)):
                add_two_wheeler(stage, x, z + 0.7 * i, label, False, heading)
