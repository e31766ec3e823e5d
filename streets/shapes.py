"""The shapes of cars, lorries, buses and trams, of random proportions."""

import numpy as np

from streets.solid import Shape

_FRONT, _REAR = (238, 236, 220), (190, 28, 30)  # lamps
_PLATE = (225, 225, 220)
_GRILLE = (30, 30, 32)


def car(rng: np.random.Generator, glass: np.ndarray) -> Shape:
    """A saloon, hatchback or van."""
    kind = rng.integers(3)
    long = rng.uniform((4.3, 3.7, 4.4), (4.8, 4.3, 5.2))[kind]
    high = rng.uniform((1.4, 1.45, 1.75), (1.5, 1.75, 2.1))[kind]
    belt = high * 0.62
    back, roof0 = ((0.75, 1.35), (0.08, 0.45), (0.02, 0.15))[kind]
    cowl, roof1 = ((0.72, 0.52), (0.76, 0.54), (0.82, 0.66))[kind]
    cowl, roof1 = long * cowl, long * roof1
    profile = [(0, 0.28), (0, belt * 0.92), (back, belt), (roof0, high), (roof1, high)]
    profile += [(cowl, belt), (long * 0.98, belt * 0.8), (long, 0.6), (long, 0.28)]
    details = [
        (2, 0.12, 0.9, 0.08, 0.92, glass),
        (4, 0.08, 0.92, 0.06, 0.94, glass),
        *_lamps(0, 0.55, 0.92, _REAR),
        (0, 0.45, 0.7, 0.35, 0.65, _PLATE),
        (0, 0.0, 0.28, 0.0, 1.0, 0.5),
        *_lamps(6, 0.15, 0.95, _FRONT, 0.24),
        (6, 0.3, 1.0, 0.3, 0.7, _GRILLE),
        (7, 0.2, 0.6, 0.36, 0.64, _PLATE),
        (7, 0.65, 1.0, 0.0, 1.0, 0.5),
    ]
    sill, lintel = belt + 0.04, high - 0.09
    pillar = (roof0 + roof1) / 2
    window = [(back + 0.25, sill), (roof0 + 0.15, lintel)]
    window += [(roof1 - 0.08, lintel), (cowl - 0.22, sill)]
    sides = [
        (_rect(0, long, 0.28, 0.42), 0.6),
        (_rect(0.05, long * 0.97, belt * 0.7, belt * 0.76), 1.18),
        (window, glass),
        (_rect(pillar - 0.05, pillar + 0.05, sill, lintel), 0.8),
        (_rect(pillar - 0.02, pillar + 0.02, 0.4, sill), 0.7),
        (_rect(0, 0.18, belt * 0.7, belt * 0.88), _REAR),
        (_rect(long - 0.25, long - 0.06, belt * 0.62, belt * 0.78), (225, 225, 215)),
    ]
    wheels = [(long * 0.19, 0.33), (long * 0.81, 0.33)]
    return Shape(profile, rng.uniform(1.72, 1.95), details, sides, wheels, belt)


def truck(rng: np.random.Generator, glass: np.ndarray) -> tuple[Shape, Shape]:
    """The load box and the cab of a lorry; the cab stands ahead of the box."""
    long, top, wide = rng.uniform(4, 7.5), rng.uniform(2.9, 3.8), rng.uniform(2.2, 2.5)
    box = Shape(
        _box(long, 0.55, top),
        wide,
        details=[
            (0, 0.0, 0.13, 0.0, 1.0, 0.3),
            (0, 0.04, 0.96, 0.49, 0.51, 0.5),
            (0, 0.04, 0.96, 0.03, 0.05, 0.6),
            (0, 0.04, 0.96, 0.95, 0.97, 0.6),
            *_lamps(0, 0.03, 0.1, _REAR, 0.16),
        ],
        sides=[
            *((_rect(x, x + 0.06, 0.95, top), 0.85) for x in np.arange(0.8, long, 0.9)),
            (_rect(0, long, 1.5, 2.0), rng.uniform(0.5, 1.3)),
            (_rect(0, long, 0.55, 0.95), 0.3),
        ],
        wheels=[(0.9, 0.48), (1.95, 0.48)],
    )
    high = rng.uniform(2.5, 3.0)
    cab = Shape(
        _box(2.0, 0.45, high, 0.25),
        wide * 0.96,
        details=[
            (2, 0.05, 0.8, 0.06, 0.94, glass),
            (3, 0.1, 0.5, 0.25, 0.75, _GRILLE),
            *_lamps(3, 0.55, 0.8, _FRONT),
            (3, 0.85, 1.0, 0.0, 1.0, 0.5),
        ],
        sides=[
            (_rect(0.7, 1.7, high * 0.6, high - 0.25), glass),
            (_rect(0, 2, 0.45, 0.7), 0.6),
        ],
        wheels=[(1.2, 0.48)],
    )
    return box, cab


def bus(rng: np.random.Generator, glass: np.ndarray) -> Shape:
    """A bus."""
    long, high = rng.uniform(9.0, 12.0), rng.uniform(2.9, 3.2)
    doors = (long * 0.3, long * 0.62, long - 1.3)
    return Shape(
        _box(long, 0.32, high, 0.12),
        2.5,
        details=[
            *_coach_rear(glass),
            (2, 0.12, 0.98, 0.06, 0.94, glass),
            (3, 0.0, 0.1, 0.1, 0.9, glass),
            *_lamps(3, 0.45, 0.65, _FRONT, 0.16),
            (2, 0.02, 0.13, 0.2, 0.8, (240, 150, 40)),
        ],
        sides=_coach_sides(rng, glass, (long, 0.32, high), 1.25, doors),
        wheels=[(long * 0.2, 0.48), (long * 0.78, 0.48)],
    )


def tram(rng: np.random.Generator, glass: np.ndarray) -> tuple[Shape, ...]:
    """Four parts of a tram: nose, middle and tail sections, and the bellows between.

    They are skirted to the rail and have no wheels.
    """
    long, high = rng.uniform(8.5, 10.0), rng.uniform(3.3, 3.6)
    rear = _coach_rear(glass)
    front = [
        (2, 0.12, 0.98, 0.06, 0.94, glass),
        (3, 0.0, 0.25, 0.1, 0.9, glass),
        *_lamps(3, 0.45, 0.65, _FRONT, 0.12),
    ]
    doors = (long * 0.3, long * 0.62)
    sides = _coach_sides(rng, glass, (long, 0.12, high), 1.5, doors)
    nose = Shape(_box(long, 0.12, high, 0.7), 2.45, [*rear, *front], sides)
    box = _box(long, 0.12, high)
    middle, tail = Shape(box, 2.45, sides=sides), Shape(box, 2.45, rear, sides)
    bellows = Shape(_box(0.7, 0.3, high - 0.2), 2.45 - 0.3)
    return nose, middle, tail, bellows


def _coach_rear(glass: np.ndarray) -> list[tuple]:
    return [(0, 0.5, 0.88, 0.1, 0.9, glass), *_lamps(0, 0.1, 0.3, _REAR, 0.1)]


def _coach_sides(
    rng: np.random.Generator,
    glass: np.ndarray,
    size: tuple[float, float, float],
    sill: float,
    doors: tuple[float, ...],
) -> list[tuple]:
    """Windows and doors along a body of size (length, bottom, top)."""
    long, low, high = size
    step, lintel = rng.uniform(1.1, 1.6), high - 0.75
    sides = [(_rect(0, long, low, sill * 0.55), rng.choice([0.55, 0.8, 1.3]))]
    sides += [(_rect(0, long, high - 0.25, high), 0.7)]
    for x in np.arange(0.5, long - step, step):
        sides.append((_rect(x, x + step - 0.16, sill, lintel), glass))
    for x in doors:
        sides.append((_rect(x, x + 1.1, low + 0.1, lintel + 0.1), glass * 1.3))
    for x in doors[:2]:
        sides.append((_rect(x + 0.52, x + 0.58, low, lintel), 0.5))
    return sides


def _box(
    length: float, low: float, high: float, rake: float = 0.0
) -> list[tuple[float, float]]:
    """The profile of a box whose front leans back by `rake` above its middle."""
    middle = low + (high - low) * 0.4
    front = [(length - rake, high), (length, middle), (length, low)]
    return [(0, low), (0, high), *front]


def _rect(l0: float, l1: float, h0: float, h1: float) -> list[tuple[float, float]]:
    return [(l0, h0), (l1, h0), (l1, h1), (l0, h1)]


def _lamps(
    face: int, t0: float, t1: float, colour: tuple, wide: float = 0.2
) -> list[tuple]:
    """A pair of lamps on a face, between heights t0 and t1 of it."""
    left = (face, t0, t1, 0.05, 0.05 + wide, colour)
    return [left, (face, t0, t1, 0.95 - wide, 0.95, colour)]
