"""People on foot."""

from streets.classes import PERSON
from streets.palette import PAINT, SKIN, TYRE
from streets.sprite import Sprite
from streets.stage import Stage

_HAIR = ((30, 24, 20), (90, 60, 35), (150, 140, 130))


def add_person(stage: Stage, x: float, z: float, small: bool = False) -> None:
    """Queue someone who stands or walks."""
    rng = stage.rng
    tall = rng.uniform(1.1, 1.4) if small else rng.uniform(1.58, 1.92)
    top, legs, coat = stage.pick(PAINT), stage.pick(PAINT) * 0.75, rng.random() < 0.35
    skin, hair = stage.pick(SKIN), stage.pick(_HAIR)
    broad = rng.uniform(0.6, 1.0)  # how broad the shoulders look
    step, sway = rng.uniform(-0.32, 0.32), rng.uniform(-0.14, 0.14)
    away, bag = rng.random() < 0.4, rng.random()
    bag_colour = stage.pick(PAINT)
    foot = [(x - 0.2, z - 0.1), (x + 0.2, z - 0.1), (x + 0.2, z + 0.1)]
    stage.shadows.cast(foot, tall * 0.9)

    def paint() -> None:
        k = tall / 1.75
        s = Sprite(stage, x, z, PERSON, size=k)
        same = Sprite(stage, x, z, PERSON)  # for what does not grow with them
        for sign, dark in ((-1, 0.75), (1, 1.0)):
            hip, knee = sign * 0.08 * broad, sign * (0.07 + 0.5 * step)
            foot = sign * (0.07 + step)
            s.limb([(hip, 0.9), (knee, 0.5), (foot, 0.06)], 0.17, legs * dark)
            sole = [(foot * k, 0.04), ((foot + 0.1 * broad) * k, 0.04)]
            same.limb(sole, 0.08, TYRE)
        if bag < 0.15:
            s.box(0.16, 0.5, 0.42, 0.78, bag_colour)
        shoulder, (hem, flare) = 0.21 * broad, (0.55, 0.25) if coat else (0.86, 0.19)
        flare *= broad
        body = [(-shoulder, 1.44), (shoulder, 1.44), (flare, hem), (-flare, hem)]
        s.poly(body, top)
        turn = -1 if stage.light.sun_dir[0] > 0 else 1
        dim = [(shoulder, 1.44), (flare, hem), (0.03, hem), (0.06, 1.44)]
        s.poly([(turn * a, b) for a, b in dim], top * 0.82)
        for sign in (-1, 1):
            out = sign * 0.23 * broad
            hand = out + sign * 0.04 - sign * sway
            arm = [(out, 1.37), (out + sign * 0.03, 1.1), (hand, 0.85)]
            s.limb(arm, 0.11, top * 0.92)
            s.disc(hand, 0.82, 0.05, skin)
        if away and bag > 0.6:
            s.box(-0.15, 1.0, 0.15, 1.4, bag_colour)
        s.limb([(0, 1.42), (0, 1.5)], 0.1, skin * 0.85)
        s.disc(0, 1.63, 0.125, hair)
        if not away:
            same.disc(0.02, 1.6 * k, 0.1 * k, skin)

    stage.add(x, z, paint)
