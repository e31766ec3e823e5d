"""The backdrop: the sky above the horizon and the ground below it."""

import math
from itertools import pairwise

import numpy as np
from PIL import Image

from streets.classes import ROAD, SIDEWALK, TERRAIN
from streets.light import UP
from streets.palette import GRASS
from streets.plan import Plan
from streets.stage import Stage, picture, pixel_grid

_ASPHALT, _PAVING, _KERB, _LAWN, _MARKING, _RAIL = range(6)
_LABELS = np.array([ROAD, SIDEWALK, SIDEWALK, TERRAIN, ROAD, ROAD], np.uint8)


def paint_sky(stage: Stage) -> None:
    """Paint the sky and its clouds; they are labelled already."""
    rng, light, camera = stage.rng, stage.light, stage.camera
    w, h = camera.w // 4, math.ceil(camera.cv / 4)
    height = np.linspace(1, 0, h, dtype=np.float32)[:, None, None]
    rgb = light.haze + (light.zenith - light.haze) * height ** rng.uniform(0.6, 1.2)
    a, b = rng.integers(150, size=2).tolist()
    part = (a, b, a + rng.uniform(25, 60), b + rng.uniform(25, 60))
    tile = Image.fromarray(stage.cloud.tile)
    cover = np.asarray(tile.resize((w, h), Image.Resampling.BICUBIC, part))[..., None]
    cover = np.clip(1.3 * cover + rng.uniform(-0.8, 0.3), 0, 0.9) * (0.3 + 0.7 * height)
    white = 246 * (0.45 + 0.55 * light.haze / 255)
    size = (camera.w, math.ceil(camera.cv) + 3)
    stage.image.paste(picture(rgb + (white - rgb) * cover, size), (0, 0))


def paint_ground(stage: Stage, plan: Plan) -> None:
    """Paint the ground pixel by pixel, by lateral position and distance."""
    camera = stage.camera
    top = int(camera.cv) + 2
    # at the final resolution: twice that would make the ground the slowest part
    u, v = pixel_grid((0, top, camera.w, camera.h))
    z = np.float32(camera.f * camera.eye) / (v - np.float32(camera.cv))
    x = (u - np.float32(camera.cu)) * (z / np.float32(camera.f))
    x -= np.float32(stage.bend) * z * z
    material = _materials(stage, plan, x, z)
    palette = _palette(stage)
    tone = _tone(stage, material, x, z) * stage.shadows.light_below(top)
    rgb = stage.light.hazy(palette[material] * tone[..., None], z)
    size = (camera.w, camera.h - top)
    stage.image.paste(picture(rgb, size), (0, top))
    kinds = Image.fromarray(_LABELS[material])
    stage.label.paste(kinds.resize(size, Image.Resampling.NEAREST), (0, top))


def _materials(stage: Stage, plan: Plan, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The ground material of each pixel, `_ASPHALT` to `_RAIL`, uint8 (h, w)."""
    material = np.zeros(x.shape, np.uint8)
    for side in plan.sides:
        out = side.sign * x - side.edge
        material[out > 0] = _PAVING
        if side.strip:
            material[(out > 0) & (out < side.strip)] = _LAWN
        if side.yard == TERRAIN:
            material[out > side.strip + side.walk] = _LAWN
        material[(out > 0) & (out < 0.18)] = _KERB
        if side.opening:
            start, stop = side.opening
            material[(out > 0) & (z > start) & (z < stop)] = _ASPHALT
            material[(out > 0.18) & (np.abs(z - start + 1.3) < 1.2)] = _PAVING
    on_road = material == _ASPHALT
    material[on_road & _markings(stage, plan, x, z)] = _MARKING
    if plan.rails is not None:
        gauge = np.abs(np.abs(x - plan.rails) - 0.72)
        material[on_road & (gauge < 0.07)] = _RAIL
    if plan.end:
        material[(z > plan.end - 3) & (material != _KERB)] = _PAVING
    return material


def _markings(stage: Stage, plan: Plan, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where the road would be painted white: lane and parking lines and the zebra."""
    line = np.zeros(x.shape, bool)
    for left, right in pairwise(plan.lanes):
        line |= np.abs(x - (left + right) / 2) < 0.075
    if stage.rng.random() < 0.7:
        line &= (z % 6) < 3
    for side in plan.sides:
        if side.parking:
            line |= np.abs(side.sign * x - side.edge + 2.2) < 0.06
    if plan.crossing:
        line &= (z < plan.crossing[0]) | (z > plan.crossing[1])
    if plan.zebra:
        band = (z > plan.zebra) & (z < plan.zebra + 3)
        line = np.where(band, (x + 500) % 1.1 < 0.55, line)
        line |= (np.abs(z - plan.zebra + 1.2) < 0.2) & (np.abs(x) < 1.6)
    return line & (stage.cloud(x * 30 + 9999, z * 30) < 0.75)  # the rest is worn off


def _palette(stage: Stage) -> np.ndarray:
    """The lit colour of each material, float32 (6, 3)."""
    rng = stage.rng
    asphalt = rng.uniform(70, 128) + rng.normal(0, 4, 3)
    warm = rng.uniform(-8, 14) * np.array([1, 0.3, -1])
    paving = rng.uniform(90, 165) + warm + rng.normal(0, 2, 3)
    lawn = stage.pick(GRASS)
    marking, rail = [rng.uniform(185, 235)] * 3, [rng.uniform(45, 70)] * 3
    palette = [asphalt, paving, paving * 1.15, lawn, marking, rail]
    return np.array(palette, np.float32) * np.array(stage.light.lamp(UP), np.float32)


def _tone(
    stage: Stage, material: np.ndarray, x: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """The brightness of each pixel: roughness, patches, paving slabs and tufts."""
    fade = np.exp(-z / 25)  # what is too fine to be seen from afar
    rough = stage.grain(x * 40 + 9999, z * 40) * fade
    tone = 1 + 0.07 * rough + 0.07 * stage.cloud(x * 12 + 9999, z * 5)
    slab = stage.rng.uniform(0.5, 1.1)
    a, b = (x + 500) / slab, z / slab
    joint = (np.minimum(a % 1, b % 1) < 0.06) * fade
    slabs = stage.grain(a, b) * fade
    tone += np.where(_LABELS[material] == SIDEWALK, 0.07 * slabs - 0.25 * joint, 0)
    tufts = stage.cloud(x * 90 + 9999, z * 60) * (0.3 + fade)
    tone += np.where(material == _LAWN, 0.2 * tufts + 0.16 * rough, 0)
    return tone
