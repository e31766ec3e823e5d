"""Pixels to network input: the one place where a mean or a scale is applied."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocess:
    """Maps RGB pixels in 0..255 to `(pixel - mean) / std`, float32, per channel.

    The numbers belong to a model's recipe and are stored in its run.

    Attributes:
        mean, std: in 0..255.
        input_scale: the network sees a picture at this multiple of its height and
            width, in training and after; its logits are enlarged to the picture's size.
    """

    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (255.0, 255.0, 255.0)
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(
                f"preprocess takes three means and three positive scales (RGB), got "
                f"mean={self.mean}, std={self.std}."
            )
        if not 0 < self.input_scale <= 4:
            raise ValueError(
                "preprocess.input_scale must be above 0 and at most 4, got "
                f"{self.input_scale}."
            )

    def network_hw(self, h: int, w: int) -> tuple[int, int]:
        """The size at which the network sees a picture of `h` x `w`."""
        h, w = (max(1, round(size * self.input_scale)) for size in (h, w))
        return h, w

    def __call__(self, image: jax.Array) -> jax.Array:
        mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
        return (image.astype(jnp.float32) - mean) / std
