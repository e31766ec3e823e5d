"""The image sizes that networks take, and padding to one of them."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxseg.ops import hw_of, named

# Multiples of the first, from the second on, are heights and widths that every network
# takes.
SIZE_MULTIPLE = 8
SIZE_LEAST = 16


def check_input(
    x: jax.Array, *, multiple: int = 1, short: int = 0, least: int = 1
) -> None:
    """Raises `ValueError` unless `x` is `(b, h, w, 3)` of a size that fits.

    h and w must be multiples, or up to `short` less than one, and `least` at least.
    """
    if x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(f"image must be (b, h, w, 3), got {x.shape}.")
    h, w = x.shape[1:3]
    if max(-h % multiple, -w % multiple) > short or min(h, w) < least:
        or_less = f" or {short} less" if short else ""
        at_least = f" and at least {least}" if least > 1 else ""
        raise ValueError(
            f"image h, w must be multiples of {multiple}{or_less}{at_least}, got "
            f"{h}x{w}; pad or crop (jaxseg.models.pad_to_multiple)."
        )


def size_multiple(model: Any) -> int:
    """The number of which heights and widths become multiples before `model` sees them.

    It is the network's stride, 8 at least: then each map is a whole fraction of the
    picture, as it is of the crops of a training. A module without `stride` has 8.
    """
    return max(getattr(model, "stride", SIZE_MULTIPLE), SIZE_MULTIPLE)


def padded_hw(
    hw: tuple[int, int], multiple: int = SIZE_MULTIPLE, least: int = SIZE_LEAST
) -> tuple[int, int]:
    """The size that `pad_to_multiple` brings `hw` to."""
    h, w = (max(n + -n % multiple, least) for n in hw)
    return h, w


def pad_to_multiple(
    x: jax.Array, multiple: int = SIZE_MULTIPLE, least: int = SIZE_LEAST
) -> jax.Array:
    """Repeats the last row and column of `(b, h, w, c)` until h and w fit.

    They become multiples of `multiple`, `least` at least (itself one); by default what
    every network takes. The caller crops what it computes from the result to
    `[:, :h, :w]`. Nothing moves: the top left pixel stays where it is.
    """
    hw = hw_of(x)
    more = [(0, to - n) for n, to in zip(hw, padded_hw(hw, multiple, least))]
    widths = [(0, 0), *more, (0, 0)]
    return named("pad_edge")(lambda x: jnp.pad(x, widths, "edge"))(x)
