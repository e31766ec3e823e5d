"""Pixels to label map, in one XLA program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.data.preprocess import Preprocess
from jaxseg.models import pad_to_multiple
from jaxseg.models.resize import resize_bilinear


def predict_logits(
    model: nn.Module, variables: Any, preprocess: Preprocess, image: jax.Array
) -> jax.Array:
    """Logits `(b, h, w, k)` of uint8 RGB `(b, h, w, 3)` of any size.

    The picture is resized as `preprocess.input_scale` says. A size that the network
    does not take is padded at the bottom and right, and the logits are cropped again.
    Where it was resized, the logits are enlarged to the picture's size.
    """
    h, w = preprocess.network_hw(*image.shape[1:3])
    seen = image
    if (h, w) != image.shape[1:3]:
        seen = resize_bilinear(image.astype(jnp.float32), (h, w), align_corners=False)
    padded = preprocess(pad_to_multiple(seen))
    logits = model.apply(variables, padded, train=False)[:, :h, :w]
    return resize_bilinear(logits, image.shape[1:3], align_corners=False)


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
