"""Label images that are drawn: polygons and run lengths, as annotation tools keep them.

A pixel is inside a polygon when its centre is; coordinates are x to the right and y
down, in pixels from the picture's upper left corner.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.data.classes import VOID
from jaxseg.errors import UserError


@dataclass(frozen=True)
class Drawing:
    """A label image that is drawn when it is read.

    Attributes:
        path: the file that its shapes are in.
        draw: `hw` of the picture -> values uint8 `(h, w)`.
    """

    path: Path
    draw: Callable[[tuple[int, int]], np.ndarray]

    def __str__(self) -> str:
        return str(self.path)


def draw_lines(
    path: Path, first: int, classes: int, ground: int, hw: tuple[int, int]
) -> np.ndarray:
    """Values of a text file with a polygon per line: its class, then x and y in 0..1.

    Args:
        first: the value of class 0; the other `classes` follow.
        ground: the value of what no polygon covers; of a file that is not there, all.
    """
    label = np.full(hw, ground, np.uint8)
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            kind, *numbers = map(float, line.split())
        except ValueError as error:
            raise UserError(f"{where} is no polygon ({error}).") from error
        if len(numbers) == 4:
            raise UserError(
                f"{where} is a box, not a polygon: this was made for detection; export "
                "it again for segmentation."
            )
        if not kind.is_integer() or not 0 <= kind < classes:
            raise UserError(f"{where}: there is no class {kind:g}.")
        _paint(label, _corners(numbers, where) * hw[::-1], first + int(kind))
    return label


def draw_instances(
    name: str,
    size: tuple[int, int],
    instances: Sequence[Mapping[str, Any]],
    values: Mapping[int, int],
    ground: int,
    hw: tuple[int, int],
) -> np.ndarray:
    """Values of COCO's instances, the small ones over the large; crowds are void.

    Args:
        name: the picture's, for errors.
        size: height and width that the instances are for.
        values: category id -> value.
        ground: the value of what none covers.
    """
    if size != hw:
        raise UserError(
            f"{name} is {hw[1]}x{hw[0]}, its instances are for {size[1]}x{size[0]}."
        )
    label = np.full(hw, ground, np.uint8)
    for instance in sorted(instances, key=_order):
        value = VOID if instance.get("iscrowd") else values[instance["category_id"]]
        shape = instance.get("segmentation")
        if isinstance(shape, dict):
            label[_run_lengths(shape, hw, name)] = value
            continue
        for polygon in shape or ():
            _paint(label, _corners(polygon, f"{name}: an instance"), value)
    return label


def _order(instance: Mapping[str, Any]) -> tuple[bool, float]:
    return not instance.get("iscrowd"), -float(instance.get("area") or 0)


def _corners(numbers: Sequence[float], where: str) -> np.ndarray:
    corners = np.asarray(numbers, float)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
        raise UserError(f"{where} is no polygon: it needs three corners, x and y each.")
    if not (np.abs(corners) < 1e6).all():
        raise UserError(f"{where} has a corner that is no place in a picture.")
    return corners.reshape(-1, 2)


def _paint(label: np.ndarray, corners: np.ndarray, value: int) -> None:
    """Gives the pixels inside a polygon `(n, 2)` of x, y a value, in place."""
    low = np.floor(corners.min(0)).astype(int).clip(0, label.shape[::-1])
    high = np.ceil(corners.max(0)).astype(int).clip(0, label.shape[::-1])
    box = label[low[1] : high[1], low[0] : high[0]]
    box[_inside(corners - low, box.shape)] = value


def _inside(corners: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """bool `(h, w)`: where a ray from the left has crossed an odd number of edges."""
    h, w = hw
    start, end = corners, np.roll(corners, -1, axis=0)
    heights = np.sort([start[:, 1], end[:, 1]], axis=0)
    first, last = np.ceil(heights - 0.5).clip(0, h).astype(int)
    rows = last - first  # that each edge crosses
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(rows.sum()) + np.repeat(first + rows - np.cumsum(rows), rows)
    step = end[edge] - start[edge]
    x = start[edge, 0] + (row + 0.5 - start[edge, 1]) * step[:, 0] / step[:, 1]
    crossed = np.zeros((h, w + 1), np.int16)
    np.add.at(crossed, (row, np.ceil(x - 0.5).clip(0, w).astype(int)), 1)
    return np.cumsum(crossed, axis=1, dtype=np.int16)[:, :w] % 2 == 1


def _run_lengths(shape: Mapping[str, Any], hw: tuple[int, int], name: str):
    """bool `(h, w)` of COCO's run lengths, which go down columns and begin outside."""
    runs = shape.get("counts")
    try:
        runs = np.array(_numbers(runs) if isinstance(runs, str) else runs, np.int64)
        if (runs < 0).any() or runs.sum() != hw[0] * hw[1]:
            raise ValueError(f"they cover {runs.sum()} of {hw[0] * hw[1]} pixels")
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(f"{name} has run lengths that do not fit ({error}).") from error
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(hw[::-1]).T


def _numbers(text: str) -> list[int]:
    """COCO's text of run lengths: 5 bits a character; later ones are differences."""
    numbers: list[int] = []
    value = bits = 0
    for character in text:
        part = ord(character) - 48
        value |= (part & 31) << bits
        bits += 5
        if part & 32:  # more follows
            continue
        if part & 16:  # a sign
            value -= 1 << bits
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = bits = 0
    return numbers
