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
        label_smoothing: share of the target that is spread evenly over all classes, as
            in torch.nn.CrossEntropyLoss.
        ohem_threshold: online hard example mining, DABNet's code: only pixels count
            whose own class has at most this probability. None counts all.
        ohem_least_kept: share of the batch's pixels, void included, that count at
            least, the hardest first; a sixteenth in DABNet's code.
        dice: the factor of the Dice loss that is added, see `dice_loss`.
    """

    class_weights: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    ohem_threshold: float | None = None
    ohem_least_kept: float = 1 / 16
    dice: float = 0.0

    def __call__(
        self, logits: jax.Array, label: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, and with OHEM `{"kept"}`: the share of valid pixels that counted.

        Exactly 0, with zero gradients, where every pixel is void.
        """
        k = logits.shape[-1]
        if self.class_weights and len(self.class_weights) != k:
            raise ValueError(
                f"loss.class_weights needs {k} weights, got {len(self.class_weights)}."
            )
        valid = label != VOID
        target = jnp.where(valid, label, 0)
        logits = logits.astype(jnp.float32)
        table = jnp.asarray(self.class_weights or (1.0,) * k, jnp.float32)
        # A comparison instead of a gather: its gradient is a product, not a scatter.
        of_target = jnp.where(target[..., None] == jnp.arange(k), logits, 0.0).sum(-1)
        of_all = jax.nn.logsumexp(logits, -1)
        pixel_loss = of_all - of_target
        counted, metrics = valid, {}
        if self.ohem_threshold is not None:
            counted = self._hard(jnp.exp(-jax.lax.stop_gradient(pixel_loss)), valid)
            kept = counted.sum() / jnp.maximum(valid.sum(), 1)
            metrics["kept"] = kept.astype(jnp.float32)
        weight = table[target]
        weighted = weight * pixel_loss
        if self.label_smoothing:
            spread = of_all * table.sum() - (logits * table).sum(-1)
            share = self.label_smoothing
            weighted = (1 - share) * weighted + share / k * spread
        total = jnp.where(counted, weight, 0.0).sum()
        loss = jnp.where(counted, weighted, 0.0).sum() / jnp.where(total > 0, total, 1)
        if self.dice:
            loss += self.dice * dice_loss(logits, label)
        return loss, metrics

    def _hard(self, probability: jax.Array, valid: jax.Array) -> jax.Array:
        """Which pixels OHEM counts, from the probability of each one's own class."""
        least = int(self.ohem_least_kept * valid.size)
        probability = jnp.where(valid, probability, 2.0)  # void is the easiest of all
        threshold = jnp.float32(self.ohem_threshold)
        if least:
            hardest = jnp.sort(probability.ravel())
            threshold = jnp.maximum(threshold, hardest[least - 1])
        return valid & (probability <= threshold)


def dice_loss(logits: jax.Array, label: jax.Array) -> jax.Array:
    """1 less the mean Dice coefficient of the classes that occur in the batch.

    A class has 2 |P T| / (|P| + |T|), where P are its probabilities and T is 1 where it
    is true, summed over all pixels of the batch that are not void (V-Net,
    arXiv:1606.04797, section 3, without squares). A class counts as much as another
    however few its pixels are. Exactly 0 where every pixel is void.
    """
    known = (label != VOID)[..., None]
    true = known & (label[..., None] == jnp.arange(logits.shape[-1]))
    probability = jnp.where(known, jax.nn.softmax(logits.astype(jnp.float32)), 0.0)
    pixels = tuple(range(label.ndim))
    both = jnp.where(true, probability, 0.0).sum(pixels)
    count = true.sum(pixels, dtype=jnp.float32)
    coefficient = 2 * both / jnp.maximum(probability.sum(pixels) + count, 1.0)
    occurs = count > 0
    missing = jnp.where(occurs, 1 - coefficient, 0.0).sum()
    return missing / jnp.maximum(occurs.sum(dtype=jnp.float32), 1.0)
