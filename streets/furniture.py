"""Street furniture: lamp posts, traffic lights, traffic signs and clutter."""

import math
from typing import Any

import numpy as np

from streets.classes import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VOID
from streets.palette import PAINT, STEEL, TYRE, Colour
from streets.sprite import Sprite
from streets.stage import Stage

_CASES = ((28, 30, 30), (40, 60, 48), (70, 72, 74), (190, 160, 50))
_SIGNALS = ((255, 60, 40), (255, 190, 40), (60, 240, 130))
_BOARDS = ((30, 70, 150), (30, 105, 70), (205, 175, 50))

_RED, _WHITE, _BLUE = (195, 30, 35), (235, 235, 232), (35, 75, 165)
_YELLOW, _GREY = (235, 190, 40), (140, 142, 144)
_TRIANGLE = ((-1, -0.7), (1, -0.7), (0, 1))
_DIAMOND = ((0, -1), (1, 0), (0, 1), (-1, 0))
_TURNS = np.arange(8) * math.pi / 4 + math.pi / 8
_OCTAGON = tuple((math.cos(turn), math.sin(turn)) for turn in _TURNS)


def _rect(a0: float, b0: float, a1: float, b1: float) -> tuple:
    return (a0, b0), (a1, b0), (a1, b1), (a0, b1)


# What a sign shows, painted in order: (how, colour, size, *points) in units of its
# radius about its centre. A colour of None is the board's own; the size of a "disc" is
# its radius and rim, of a "bar" its width, of a "poly" a factor of its points.
_FACES: tuple[tuple[tuple[Any, ...], ...], ...] = (
    (  # speed limit
        ("disc", _RED, (1, 0), (0, 0)),
        ("disc", _WHITE, (0.74, 0), (0, 0)),
        ("bar", TYRE, 0.2, (-0.3, -0.3), (-0.3, 0.3)),
        ("disc", TYRE, (0.3, 0.16), (0.22, 0)),
    ),
    (  # warning
        ("poly", _RED, 1.2, *_TRIANGLE),
        ("poly", _WHITE, 0.75, *_TRIANGLE),
        ("bar", TYRE, 0.18, (0, -0.25), (0, 0.25)),
    ),
    (  # stop, no entry
        ("poly", _RED, 1.05, *_OCTAGON),
        ("poly", _WHITE, 1, *_rect(-0.7, -0.17, 0.7, 0.17)),
    ),
    (  # direction to follow
        ("disc", _BLUE, (1, 0), (0, 0)),
        ("bar", _WHITE, 0.22, (-0.5, -0.4), (0, 0), (0, 0.5)),
    ),
    (  # priority road
        ("poly", _WHITE, 1.15, *_DIAMOND),
        ("poly", _YELLOW, 0.85, *_DIAMOND),
    ),
    (  # parking, crossing
        ("poly", _BLUE, 1, *_rect(-1, -1, 1, 1)),
        ("bar", _WHITE, 0.22, (-0.3, -0.6), (-0.3, 0.5)),
        ("disc", _WHITE, (0.4, 0.2), (0, 0.25)),
    ),
    (("disc", _GREY, (1, 0), (0, 0)),),  # the back of a sign
    (  # direction board
        ("poly", _WHITE, 1, *_rect(-2.2, -1.1, 2.2, 1.5)),
        ("poly", None, 1, *_rect(-2.1, -1, 2.1, 1.4)),
        *(
            ("poly", _WHITE, 1, *_rect(-1.7, row - 0.1, 0.4 + row, row + 0.15))
            for row in (0.8, 0.1, -0.6)
        ),
    ),
)


def add_lamp_post(stage: Stage, x: float, z: float, inward: int) -> None:
    """Queue a lamp post whose arm reaches over the road."""
    rng = stage.rng
    colour, tall = stage.pick(STEEL), rng.uniform(5, 8.5)
    wide, arm = rng.uniform(0.16, 0.26), rng.uniform(1, 2.2) * inward
    _cast_post(stage, x, z, tall)

    def paint() -> None:
        s = Sprite(stage, x, z, POLE)
        s.limb([(0, 0), (0, tall)], wide, colour)
        s.limb([(0, 0), (0, 0.9)], wide * 1.5, colour)
        s.limb([(0, tall), (arm * 0.4, tall + 0.4), (arm, tall + 0.5)], 0.1, colour)
        s.limb([(arm * 0.8, tall + 0.48), (arm * 1.3, tall + 0.5)], 0.16, colour * 1.2)

    stage.add(x, z, paint)


def add_traffic_light(stage: Stage, x: float, z: float, inward: int) -> None:
    """Queue a traffic light on its post, sometimes with a second over the road."""
    rng = stage.rng
    case = stage.pick(_CASES, 4)
    post, lamp = stage.pick(STEEL), rng.choice([0, 1, 2, 0, 2, -1])
    base = rng.uniform(2.0, 2.7)
    arm = inward * rng.uniform(2.2, 3.6) if rng.random() < 0.4 else 0.0
    _cast_post(stage, x, z, base + 1)

    def paint() -> None:
        s = Sprite(stage, x, z, POLE)
        s.limb([(0, 0), (0, 5.4 if arm else base + 0.6)], 0.18, post)
        if arm:
            s.limb([(0, 5.4), (arm, 5.5)], 0.13, post)
            _signal_head(s, arm, 4.6, case, lamp)
        _signal_head(s, 0, base, case, lamp)

    stage.add(x, z, paint)


def add_traffic_sign(stage: Stage, x: float, z: float) -> None:
    """Queue one or two signs on a post."""
    rng = stage.rng
    kinds = rng.choice(8, rng.integers(1, 3), p=[0.15] * 5 + [0.1, 0.05, 0.1])
    size, base = rng.uniform(0.34, 0.55), rng.uniform(1.9, 2.5)
    board, post = _BOARDS[rng.integers(3)], stage.pick(STEEL)
    _cast_post(stage, x, z, base + 1)

    def paint() -> None:
        s = Sprite(stage, x, z, POLE)
        s.limb([(0, 0), (0, base + 2 * size * len(kinds))], 0.11, post)
        for i, kind in enumerate(kinds):
            _sign_face(s, kind, base + size * (1 + 2.2 * i), size, board)

    stage.add(x, z, paint)


def add_clutter(stage: Stage, x: float, z: float) -> None:
    """Queue a bin, box or bench: things that carry no train label."""
    rng = stage.rng
    colour = stage.pick(PAINT)
    wide, tall = rng.uniform(0.3, 0.7), rng.uniform(0.7, 1.4)
    stage.shadows.cast([(x - wide, z), (x + wide, z), (x + wide, z + wide)], tall)

    def paint() -> None:
        s = Sprite(stage, x, z, VOID)
        s.box(-wide, 0, wide, tall, colour)
        s.box(-wide * 0.85, tall * 0.15, wide * 0.85, tall * 0.7, colour * 0.85)
        s.box(-wide * 1.05, tall * 0.88, wide * 1.05, tall, colour * 0.6)

    stage.add(x, z, paint)


def _cast_post(stage: Stage, x: float, z: float, height: float) -> None:
    stage.shadows.cast([(x - 0.1, z), (x + 0.1, z), (x, z + 0.1)], height)


def _signal_head(s: Sprite, a: float, b: float, case: np.ndarray, lamp: int) -> None:
    """A traffic light hung at (a, b); lamp 0..2 is lit, -1 shows its back."""
    s.label = TRAFFIC_LIGHT
    s.box(a - 0.27, b, a + 0.27, b + 1.3, case * 0.8)
    s.box(a - 0.21, b + 0.05, a + 0.21, b + 1.25, case)
    for i, colour in enumerate(_SIGNALS) if lamp >= 0 else ():
        y = b + 1.04 - 0.39 * i
        s.disc(a, y, 0.17, (16, 16, 16))
        s.disc(a, y, 0.14, np.array(colour) * (1.7 if i == lamp else 0.22))


def _sign_face(s: Sprite, kind: int, b: float, r: float, board: Colour) -> None:
    """One sign of radius r with its centre at height b."""
    s.label = TRAFFIC_SIGN
    for how, colour, size, *points in _FACES[kind]:
        k = r * size if how == "poly" else r
        points = [(k * x, b + k * y) for x, y in points]
        colour = board if colour is None else colour
        if how == "poly":
            s.poly(points, colour)
        elif how == "bar":
            s.limb(points, r * size, colour)
        else:
            x, y = points[0]
            s.disc(x, y, r * size[0], colour, r * size[1])
