"""Bicycles and motorcycles, and who rides them."""

import math

import numpy as np

from streets.classes import BICYCLE, MOTORCYCLE, RIDER
from streets.palette import GLASS, PAINT, SKIN, STEEL, TYRE, Colour
from streets.sprite import Sprite
from streets.stage import Stage


def add_two_wheeler(
    stage: Stage, x: float, z: float, label: int, ridden: bool, heading: float
) -> None:
    """Queue a `BICYCLE` or `MOTORCYCLE`, with or without its rider."""
    rng = stage.rng
    squeeze = math.sin(heading)
    # edge-on, a flat billboard would all but vanish
    squeeze = math.copysign(max(abs(squeeze), 0.42), squeeze)
    colour, top = stage.pick(PAINT), stage.pick(PAINT)
    legs, skin = stage.pick(PAINT) * 0.75, stage.pick(SKIN)
    scooter = rng.random() < 0.4
    half = 0.8 * abs(squeeze)
    foot = [(x - half, z - 0.15), (x + half, z - 0.15), (x + half, z + 0.15)]
    stage.shadows.cast([*foot, (x - half, z + 0.15)], 1.6 if ridden else 0.8)

    def paint() -> None:
        s = Sprite(stage, x, z, label, squeeze)
        if label == BICYCLE:
            _bicycle(s, colour)
        else:
            _motorcycle(s, colour, scooter)
        if ridden:
            _rider(s, top, legs, skin, low=label == MOTORCYCLE)

    stage.add(x, z, paint)


def _bicycle(s: Sprite, frame: Colour) -> None:
    for hub in (-0.53, 0.53):
        s.disc(hub, 0.35, 0.35, TYRE, 0.05)
        s.disc(hub, 0.35, 0.28, (120, 120, 120), 0.012)
        for turn in np.arange(0, math.pi, math.pi / 5) if s.scale > 80 else ():
            a, b = 0.3 * math.cos(turn), 0.3 * math.sin(turn)
            s.limb([(hub - a, 0.35 - b), (hub + a, 0.35 + b)], 0.008, (150, 150, 150))
    rear, front, pedal = (-0.53, 0.35), (0.53, 0.35), (-0.08, 0.3)
    seat, head = (-0.2, 0.85), (0.38, 0.8)
    for bar in ([rear, pedal, head], [rear, seat, pedal], [seat, head, front]):
        s.limb(bar, 0.05, frame)
    s.limb([head, (0.36, 1.0), (0.5, 1.02)], 0.04, TYRE)
    s.limb([(-0.32, 0.93), (-0.08, 0.93)], 0.08, TYRE)
    s.disc(*pedal, 0.09, STEEL[1])


def _motorcycle(s: Sprite, body: np.ndarray, scooter: bool) -> None:
    r, reach = (0.24, 0.6) if scooter else (0.31, 0.7)
    for hub in (-reach, reach):
        s.disc(hub, r, r, TYRE)
        s.disc(hub, r, r * 0.6, STEEL[0])
        s.disc(hub, r, r * 0.25, TYRE)
    s.limb([(reach, r), (reach - 0.28, 0.98)], 0.1, STEEL[1])
    s.limb([(-reach, r), (0, 0.4), (0.25, 0.42)], 0.16, STEEL[4])
    if scooter:
        tail = [(-0.8, 0.45), (-0.75, 0.78), (-0.1, 0.72), (0, 0.3), (-0.5, 0.28)]
        s.poly(tail, body)
        s.poly([(0, 0.22), (0, 0.32), (0.28, 0.34), (0.45, 0.22)], body * 0.9)
        s.poly([(0.28, 0.3), (0.36, 1.0), (0.5, 0.95), (0.45, 0.22)], body)
    else:
        s.box(-0.3, 0.28, 0.3, 0.62, STEEL[4])
        s.poly([(-0.2, 0.7), (-0.05, 0.9), (0.3, 0.95), (0.42, 0.7), (0.3, 0.58)], body)
        s.poly([(-0.9, 0.82), (-0.5, 0.62), (-0.1, 0.62), (-0.2, 0.74)], body * 0.8)
        s.limb([(-0.9, 0.33), (-0.2, 0.33)], 0.09, (165, 165, 165))
    s.limb([(-0.75, 0.82), (-0.15, 0.78)], 0.12, TYRE)
    s.limb([(reach - 0.3, 1.0), (reach - 0.42, 1.1)], 0.06, TYRE)
    s.disc(reach - 0.18, 0.88, 0.1, (225, 225, 210))
    # the handlebar shows the more, the less the rest does
    wide = 0.36 * math.sqrt(max(0.0, 1 - s.squeeze**2)) / abs(s.squeeze)
    s.limb([(reach - 0.35 - wide, 1.05), (reach - 0.35 + wide, 1.05)], 0.06, TYRE)


def _rider(
    s: Sprite, top: np.ndarray, legs: np.ndarray, skin: Colour, low: bool
) -> None:
    """Someone on the saddle of the two-wheeler just drawn; low on a motorcycle."""
    s.label = RIDER
    squeeze, s.squeeze = s.squeeze, math.copysign(max(abs(s.squeeze), 0.55), s.squeeze)
    hip, neck, hands = (-0.22, 0.9 if low else 0.95), (0.08, 1.45), (0.38, 1.05)
    for dark, knee, foot in ((0.75, 0.2, 0.06), (1.0, 0.14, -0.1)):
        s.limb([hip, (knee, 0.68), (foot, 0.3)], 0.16, legs * dark)
        s.limb([(foot, 0.27), (foot + 0.14, 0.27)], 0.08, TYRE)
    wide = 0.26 + 0.12 * (1 - abs(squeeze))
    s.limb([hip, (-0.08, 1.2), neck], wide + 0.06, top)
    s.limb([neck, (0.16, 1.15), hands], 0.11, top * 0.85)
    s.disc(*hands, 0.05, skin)
    s.disc(neck[0] + 0.08, 1.65, 0.15, legs * 0.5 + top * 0.5)
    s.disc(neck[0] + 0.14, 1.6, 0.09, GLASS if low else skin)
