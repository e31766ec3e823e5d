"""Test-time averaging: a picture seen at several scales, and mirrored."""

from dataclasses import dataclass, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.folding import Deployed
from jaxseg.deploy.predictor import deploy, segment
from jaxseg.errors import UserError

FLIP = "flip"


@dataclass(frozen=True)
class Views:
    """How often the network sees a picture.

    Attributes:
        scales: of height and width, beside the recipe's own `input_scale`.
        flip: each also mirrored, left for right.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    @property
    def is_plain(self) -> bool:
        return self == Views()

    def __str__(self) -> str:
        """As a protocol names them."""
        if self.is_plain:
            return "single scale, no flip"
        scales = ", ".join(f"{scale:g}" for scale in self.scales)
        several = "scales" if len(self.scales) > 1 else "scale"
        flip = "with" if self.flip else "without"
        return f"softmax averaged over {several} {scales}, {flip} flip"

    def deploy(
        self,
        model: nn.Module,
        variables: Any,
        preprocess: Preprocess,
        hw: tuple[int, int],
    ) -> tuple[tuple[Deployed, ...], tuple[Any, ...]]:
        """The network and its variables for every scale."""
        deployed = [
            deploy(model, variables, _scaled(preprocess, scale), hw)
            for scale in self.scales
        ]
        return tuple(model for model, _ in deployed), tuple(v for _, v in deployed)

    def segment(
        self,
        models: tuple[Deployed, ...],
        variables: tuple[Any, ...],
        preprocess: Preprocess,
        image: jax.Array,
    ) -> jax.Array:
        """Classes, uint8 `(b, h, w)`, of uint8 `(b, h, w, 3)`; see `deploy`."""
        if self.is_plain:
            labels = segment(models[0], variables[0], preprocess, image)
            return cast(jax.Array, labels)
        total: jax.Array | float = 0.0
        for scale, model, weights in zip(self.scales, models, variables):
            for mirrored in (False, True) if self.flip else (False,):
                seen = image[:, :, ::-1] if mirrored else image
                found = segment(
                    model, weights, _scaled(preprocess, scale), seen, "logits"
                )
                shares = jax.nn.softmax(cast(jax.Array, found).astype(jnp.float32))
                total += shares[:, :, ::-1] if mirrored else shares
        return jnp.argmax(total, -1).astype(jnp.uint8)


def _scaled(preprocess: Preprocess, scale: float) -> Preprocess:
    return replace(preprocess, input_scale=preprocess.input_scale * scale)


def views(text: str | None) -> Views:
    """The views of `flip` or `0.75,1,1.25,flip`; None is a single one.

    Raises:
        UserError: it says something else.
    """
    if not text:
        return Views()
    words = [word.strip() for word in text.split(",")]
    try:
        scales = tuple(float(word) for word in words if word != FLIP)
    except ValueError:
        scales = (0.0,)
    if any(not 0.25 <= scale <= 4 for scale in scales):
        raise UserError(
            f"--tta is {text!r}; give flip, or scales from 0.25 to 4 with flip or "
            "without, as 0.75,1,1.25,flip."
        )
    return Views(scales or (1.0,), FLIP in words)
