"""Losses over logits `(b, h, w, k)` and train ids `(b, h, w)`, 255 void."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jaxseg.data.classes import VOID


@dataclass(frozen=True)
class CrossEntropy:
    """Mean cross entropy over the pixels that are not void, in float32.

    Attributes:
        class_weights: k factors, or empty for none; the mean is then the weighted sum
            divided by the sum of the weights, as in torch.nn.CrossEntropyLoss.
    """

    class_weights: tuple[float, ...] = ()

    def __call__(self, logits: jax.Array, label: jax.Array) -> jax.Array:
        """A scalar; exactly 0, with zero gradients, where every pixel is void."""
        k = logits.shape[-1]
        if self.class_weights and len(self.class_weights) != k:
            raise ValueError(
                f"loss.class_weights needs {k} weights, got {len(self.class_weights)}."
            )
        valid = label != VOID
        target = jnp.where(valid, label, 0)
        logits = logits.astype(jnp.float32)
        # A comparison instead of a gather: its gradient is a product, not a scatter.
        of_target = jnp.where(target[..., None] == jnp.arange(k), logits, 0.0).sum(-1)
        pixel_loss = jax.nn.logsumexp(logits, -1) - of_target
        table = jnp.asarray(self.class_weights or (1.0,) * k, jnp.float32)
        weight = jnp.where(valid, table[target], 0.0)
        total = weight.sum()
        return (weight * pixel_loss).sum() / jnp.where(total > 0, total, 1.0)
