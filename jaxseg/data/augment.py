"""Augmentation on the device: a pure function of (key, image, label)."""

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxseg.data.classes import VOID


@dataclass(frozen=True)
class Augment:
    """Random scale, crop, flip, rotation and colour; every crop has the same size.

    Attributes:
        crop_hw: height and width of what comes back.
        scale: the picture, as large as the network sees it in use, is enlarged by a
            factor drawn uniformly from this range; more than two are factors of which
            each is as likely.
        flip: mirror left and right with probability one half.
        rotation: the crop is turned about its centre by an angle drawn uniformly from
            `-rotation` to `rotation` degrees.
        colour_jitter: brightness, contrast and saturation are each multiplied by a
            factor drawn uniformly from `1 - colour_jitter` to `1 + colour_jitter`.
    """

    crop_hw: tuple[int, int]
    scale: tuple[float, ...] = (1.0, 1.0)
    flip: bool = True
    rotation: float = 0.0
    colour_jitter: float = 0.0

    def __post_init__(self) -> None:
        if len(self.crop_hw) != 2 or len(self.scale) < 2:
            raise ValueError(
                "augment takes crop_hw=(height, width) and scale=(smallest, largest), "
                f"got crop_hw={self.crop_hw}, scale={self.scale}."
            )
        rising = sorted(self.scale) == list(self.scale)
        if not rising or self.scale[0] <= 0 or not 0 <= self.colour_jitter < 1:
            raise ValueError(
                "augment needs 0 < smallest <= largest scale and 0 <= colour_jitter < "
                f"1, got scale={self.scale}, colour_jitter={self.colour_jitter}."
            )

    def __call__(
        self, key: jax.Array, image: jax.Array, label: jax.Array, fill: tuple
    ) -> tuple[jax.Array, jax.Array]:
        """One sample: uint8 `(h, w, 3)` and `(h, w)` to float32 0..255 and int32 crops.

        Where the crop reaches over the scaled picture's edge, the label is void and the
        image has the colour `fill`. Images are read bilinearly, labels from the nearest
        pixel. A crop larger than the scaled picture holds it whole, at a random place.
        """
        h, w = label.shape
        keys = jax.random.split(key, 5)
        if len(self.scale) == 2:
            low, high = self.scale
            scale = jax.random.uniform(keys[0], (), minval=low, maxval=high)
        else:
            scale = jax.random.choice(keys[0], jnp.asarray(self.scale, jnp.float32))
        rows = _crop_positions(keys[1], h, self.crop_hw[0], scale)
        columns = _crop_positions(keys[2], w, self.crop_hw[1], scale)
        if self.flip:
            mirrored = jnp.where(jax.random.bernoulli(keys[3]), columns[::-1], columns)
            columns = mirrored
        if self.rotation:
            angle = jax.random.uniform(jax.random.fold_in(key, 5), (), minval=-1.0)
            down, across = _turned(rows, columns, jnp.radians(angle * self.rotation))
            image = _bilinear_anywhere(image, down, across)
        else:
            down, across = rows[:, None], columns
            image = _bilinear(image, rows, columns)
        inside = _inside(down, h) & _inside(across, w)
        label = label[_nearest(down, h), _nearest(across, w)]
        label = jnp.where(inside, label.astype(jnp.int32), VOID)
        if self.colour_jitter:
            image = _jitter(keys[4], image, inside, self.colour_jitter)
        colour = jnp.asarray(fill, jnp.float32)
        return jnp.where(inside[..., None], image, colour), label


def build_augments(
    crop_hw: tuple[int, int],
    more_crops_hw: tuple[tuple[int, int], ...] = (),
    **settings: Any,
) -> tuple[Augment, ...]:
    """The section `config.augment`: an `Augment` for each size of crop.

    Training takes them in turn, a step each, so that every size is one compiled step.
    """
    sizes = (cast(tuple[int, int], tuple(hw)) for hw in (crop_hw, *more_crops_hw))
    return tuple(Augment(hw, **settings) for hw in sizes)


def _crop_positions(
    key: jax.Array, size: int, crop: int, scale: jax.Array
) -> jax.Array:
    """Where a crop's pixel centres lie in the picture, in its pixels; pixel i is i."""
    room = jnp.round(size * scale).astype(jnp.int32) - crop
    low, high = jnp.minimum(room, 0), jnp.maximum(room, 0)
    offset = jax.random.randint(key, (), low, high + 1)
    return ((jnp.arange(crop) + offset).astype(jnp.float32) + 0.5) / scale - 0.5


def _inside(positions: jax.Array, size: int) -> jax.Array:
    return (positions >= -0.5) & (positions < size - 0.5)


def _nearest(positions: jax.Array, size: int) -> jax.Array:
    return jnp.clip(jnp.floor(positions + 0.5).astype(jnp.int32), 0, size - 1)


def _turned(
    rows: jax.Array, columns: jax.Array, angle: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Row and column of every pixel of a crop, turned about the crop's centre."""
    middle = rows.mean(), columns.mean()
    down, across = rows[:, None] - middle[0], columns - middle[1]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return (
        middle[0] + cos * down + sin * across,
        middle[1] + cos * across - sin * down,
    )


def _neighbours(positions: jax.Array, size: int) -> tuple[jax.Array, ...]:
    """The pixels before and after each position, and how far it is from the first."""
    positions = jnp.clip(positions, 0, size - 1)
    low = jnp.floor(positions)
    index = low.astype(jnp.int32)
    return index, jnp.minimum(index + 1, size - 1), positions - low


def _bilinear_anywhere(
    image: jax.Array, rows: jax.Array, columns: jax.Array
) -> jax.Array:
    """Reads `(h, w, 3)` at each of the `(a, b)` positions; outside as `_bilinear`."""
    top, bottom, down = _neighbours(rows, image.shape[0])
    left, right, across = _neighbours(columns, image.shape[1])
    image = image.astype(jnp.float32)
    down, across = down[..., None], across[..., None]
    above = image[top, left] * (1 - across) + image[top, right] * across
    below = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return above * (1 - down) + below * down


def _bilinear(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Reads `(h, w, 3)` at every (row, column), edge pixels repeated outside."""
    top, bottom, down = _neighbours(rows, image.shape[0])
    left, right, across = _neighbours(columns, image.shape[1])
    # Scale, crop and flip move rows and columns apart from each other: whole rows are
    # read first, which costs less than four reads a pixel.
    image = image.astype(jnp.float32)
    down, across = down[:, None, None], across[:, None]
    image = image[top] * (1 - down) + image[bottom] * down
    return image[:, left] * (1 - across) + image[:, right] * across


def _jitter(
    key: jax.Array, image: jax.Array, inside: jax.Array, strength: float
) -> jax.Array:
    factors = jax.random.uniform(key, (3,), minval=1 - strength, maxval=1 + strength)
    image = image * factors[0]
    pixels = jnp.maximum(inside.sum(), 1).astype(jnp.float32)
    mean = jnp.where(inside[..., None], image, 0.0).sum((0, 1)) / pixels
    image = mean.mean() + (image - mean.mean()) * factors[1]
    # Luma weights of ITU-R BT.601.
    grey = image @ jnp.asarray([0.299, 0.587, 0.114])
    image = grey[..., None] + (image - grey[..., None]) * factors[2]
    return jnp.clip(image, 0.0, 255.0)
