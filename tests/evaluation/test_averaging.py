"""Averages over scales and mirrored pictures, against NumPy and Pillow."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.evaluation.averaging import Views, views
from jaxseg.models.layers import Network

PREPROCESS = Preprocess((100.0, 120.0, 140.0), (50.0, 50.0, 50.0))


class Left(Network):
    """A network whose logits are its input, one pixel to the left of each pixel."""

    @nn.compact
    def __call__(self, image, *, train):
        return jnp.concatenate([image[:, :, :1], image[:, :, :-1]], 2)


def resized(image: np.ndarray, h: int, w: int) -> np.ndarray:
    """Bilinear, channel by channel; where it shrinks by half, a mean of four."""
    if image.shape[0] == 2 * h:
        return image.reshape(h, 2, w, 2, -1).mean((1, 3))
    channels = [
        Image.fromarray(image[..., c]).resize((w, h), Image.Resampling.BILINEAR)
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1)


def softmax_of(image: np.ndarray, scale: float) -> np.ndarray:
    h, w = image.shape[:2]
    seen = resized(np.float32(image), round(h * scale), round(w * scale))
    seen = (seen - np.array(PREPROCESS.mean)) / 50
    logits = np.concatenate([seen[:, :1], seen[:, :-1]], 1)
    logits = resized(np.float32(logits), h, w)
    shares = np.exp(logits)
    return shares / shares.sum(-1, keepdims=True)


def test_softmax_is_averaged_over_scales_and_mirrored_pictures():
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    seen = views("0.5,1,flip")
    models, variables = seen.deploy(Left(), {}, PREPROCESS, (48, 64))
    found = seen.segment(models, variables, PREPROCESS, image[None])[0]
    total = sum(
        softmax_of(image, scale) + softmax_of(image[:, ::-1], scale)[:, ::-1]
        for scale in (0.5, 1)
    )
    sure = np.sort(total, -1)[..., -1] - np.sort(total, -1)[..., -2] > 1e-5
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(found[sure], total.argmax(-1)[sure])
    # All four are needed for this.
    for fewer in ("1,flip", "0.5,1", "0.5,flip"):
        part = views(fewer)
        models, variables = part.deploy(Left(), {}, PREPROCESS, (48, 64))
        other = part.segment(models, variables, PREPROCESS, image[None])[0]
        assert (np.asarray(other) != total.argmax(-1)).mean() > 0.01


def test_what_a_protocol_says_of_them():
    assert str(views(None)) == "single scale, no flip"
    assert str(views("flip")) == "softmax averaged over scale 1, with flip"
    both = "softmax averaged over scales 0.75, 1, without flip"
    assert str(views("0.75, 1")) == both
    assert views("1") == Views()


@pytest.mark.parametrize("text", ["flop", "0.1", "1,,2", "nan"])
def test_views_that_there_are_not(text):
    with pytest.raises(UserError, match="--tta is"):
        views(text)
