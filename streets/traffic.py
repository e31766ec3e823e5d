"""What is on the road: traffic, parked vehicles, and who crosses."""

import math

from streets.classes import BICYCLE, BUS, CAR, MOTORCYCLE, TRAIN, TRUCK
from streets.people import add_person
from streets.plan import Plan
from streets.stage import Stage
from streets.two_wheelers import add_two_wheeler
from streets.vehicles import add_vehicle


def add_traffic(stage: Stage, plan: Plan) -> None:
    """Queue everything on the road."""
    _moving(stage, plan)
    _parked(stage, plan)
    _crossing(stage, plan)


def _moving(stage: Stage, plan: Plan) -> None:
    """Vehicles on the lanes: the rare kinds first, then cars in what is left."""
    rng = stage.rng
    if plan.rails is not None:
        _drive(stage, plan, TRAIN, plan.rails, rng.uniform(12, 32), 20)
    for label, length, none in ((BUS, 13, 0.45), (TRUCK, 11, 0.6)):
        for _ in range(rng.choice(3, p=[none, 0.9 - none, 0.1])):
            lane = rng.choice(plan.lanes)
            _drive(stage, plan, label, lane, plan.spread(14, 40), length)
    for label in (BICYCLE, MOTORCYCLE):
        for _ in range(rng.choice(3, p=[0.35, 0.45, 0.2])):
            lateral = rng.choice(plan.lanes) + rng.uniform(-0.8, 1.2)
            _ride(stage, plan, label, lateral, plan.spread(6, 20))
    for _ in range(rng.integers(1, 7)):
        _drive(stage, plan, CAR, rng.choice(plan.lanes), plan.spread(8, 60), 6.5)


def _drive(
    stage: Stage, plan: Plan, label: int, lane: float, z: float, length: float
) -> None:
    if plan.claim(lane, z, length):
        heading = _heading(stage, z, lane < -1, 0.02)
        add_vehicle(stage, stage.bent(lane, z), z, heading, label)


def _ride(stage: Stage, plan: Plan, label: int, lateral: float, z: float) -> None:
    if plan.claim(min(plan.lanes, key=lambda c: abs(c - lateral)), z, 3):
        heading = _heading(stage, z, lateral < -1, 0.7)
        add_two_wheeler(stage, stage.bent(lateral, z), z, label, True, heading)


def _heading(stage: Stage, z: float, oncoming: bool, spread: float = 0.0) -> float:
    """Along the street at z, give or take `spread` radians."""
    along = math.atan(2 * stage.bend * z)
    jitter = stage.rng.normal(0, spread) if spread else 0.0
    return along + jitter + (math.pi if oncoming else 0)


def _parked(stage: Stage, plan: Plan) -> None:
    rng = stage.rng
    for side in plan.sides:
        z, limit = rng.uniform(6, 10), plan.reach(50)
        while side.parking and z < limit:
            if rng.random() < 0.7 and not side.opens(z - 3, z + 3):
                x = stage.bent(side.sign * (side.edge - 1.1), z)
                kinds = [CAR, TRUCK, MOTORCYCLE]
                label = int(rng.choice(kinds, p=[0.87, 0.05, 0.08]))
                heading = _heading(stage, z, side.sign < 0)
                if label == MOTORCYCLE:
                    add_two_wheeler(stage, x, z, label, False, heading + 1.2)
                elif label == TRUCK:
                    add_vehicle(stage, x, z + 2, heading, label)
                    z += 5
                else:
                    add_vehicle(stage, x, z, heading, label)
            z += rng.uniform(5.3, 7)


def _crossing(stage: Stage, plan: Plan) -> None:
    """People on the zebra, and someone who drives across the junction."""
    rng = stage.rng
    if plan.zebra:
        left, right = plan.sides
        for _ in range(rng.integers(0, 4)):
            lateral = rng.uniform(-left.edge, right.edge)
            z = plan.zebra + rng.uniform(0.5, 2.5)
            add_person(stage, stage.bent(lateral, z), z)
    if plan.crossing and rng.random() < 0.6:
        z = sum(plan.crossing) / 2
        label = int(rng.choice([CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE]))
        heading = math.pi / 2 * rng.choice([-1, 1])
        x = rng.uniform(-8, 6)
        if label in (MOTORCYCLE, BICYCLE):
            add_two_wheeler(stage, x, z - 2, label, True, heading)
        else:
            add_vehicle(stage, x, z, heading, label)
