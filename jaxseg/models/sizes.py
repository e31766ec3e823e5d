"""Which image sizes a network takes, and how any other size is brought to one."""

import jax
import jax.numpy as jnp


def check_input(x: jax.Array, *, multiple: int, least: int = 1) -> None:
    """Raises `ValueError` unless `x` is `(b, h, w, 3)`, h and w multiples."""
    if x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(f"image must be (b, h, w, 3), got {x.shape}.")
    h, w = x.shape[1:3]
    if h % multiple or w % multiple or min(h, w) < least:
        at_least = f" and at least {least}" if least > 1 else ""
        raise ValueError(
            f"image h, w must be multiples of {multiple}{at_least}, got {h}x{w}; pad "
            "or crop (jaxseg.models.pad_to_multiple)."
        )


def pad_to_multiple(x: jax.Array, multiple: int) -> jax.Array:
    """Repeats the last row and column of `(b, h, w, c)` up to multiples of `multiple`.

    The caller crops what it computes from the result to `[:, :h, :w]`. Nothing moves:
    the top left pixel stays where it is.
    """
    h, w = x.shape[1:3]
    return jnp.pad(x, [(0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0)], "edge")
