"""Pixels to label map, in one XLA program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.data.preprocess import Preprocess
from jaxseg.models import pad_to_multiple


def predict_logits(
    model: nn.Module, variables: Any, preprocess: Preprocess, image: jax.Array
) -> jax.Array:
    """Logits `(b, h, w, k)` of uint8 RGB `(b, h, w, 3)` of any size.

    A size that the network does not take is padded at the bottom and right, and the
    logits are cropped to the picture again.
    """
    h, w = image.shape[1:3]
    padded = preprocess(pad_to_multiple(image))
    return model.apply(variables, padded, train=False)[:, :h, :w]


class Predictor:
    """Maps uint8 RGB pictures to uint8 class ids of the same height and width.

    Called with `(h, w, 3)` it returns `(h, w)`, with `(b, h, w, 3)` `(b, h, w)`. A size
    is compiled when it first comes.
    """

    def __init__(
        self, model: nn.Module, variables: Any, preprocess: Preprocess
    ) -> None:
        self._variables = jax.device_put(variables)

        @jax.jit
        def labels(variables, image):
            logits = predict_logits(model, variables, preprocess, image)
            return jnp.argmax(logits, -1).astype(jnp.uint8)

        self._labels = labels

    def __call__(self, image: np.ndarray | jax.Array) -> jax.Array:
        """The label map; raises `ValueError` for anything but uint8 RGB."""
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise ValueError(
                "a picture must be uint8 (h, w, 3) or (b, h, w, 3), got "
                f"{image.dtype} {image.shape}."
            )
        if image.ndim == 3:
            return self._labels(self._variables, image[None])[0]
        return self._labels(self._variables, image)
