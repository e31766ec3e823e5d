"""Scoring a network on a split."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg import devices
from jaxseg.data.classes import VOID, ClassTable
from jaxseg.data.loaders import Batch, Loader
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Source
from jaxseg.evaluation.scores import Scores, confusion_matrix
from jaxseg.inference.predictor import predict_logits

SEEN = ", SEEN IN TRAINING"


def make_count(
    model: nn.Module, preprocess: Preprocess, table: ClassTable
) -> Callable[[Any, Batch, jax.Array], jax.Array]:
    """A jitted `(variables, batch, real) -> confusion matrix` of one batch.

    `real` `(b,)` says which samples are not padding. Logits are compared at the size of
    the truth.
    """

    @jax.jit
    def count(variables, batch, real):
        logits = predict_logits(model, variables, preprocess, batch["image"])
        label = jnp.where(real[:, None, None], batch["label"], VOID)
        return confusion_matrix(jnp.argmax(logits, -1), label, len(table))

    return count


def evaluate(
    count: Callable[[Any, Batch, jax.Array], jax.Array],
    variables: Any,
    loader: Loader,
    batch_size: int,
    table: ClassTable,
    progress: Callable[[Iterator, int], Iterator] = lambda batches, total: batches,
) -> Scores:
    """Scores of the whole split: every sample once, whatever the batch size.

    Args:
        count: from `make_count`.
        progress: wraps the batches, `(batches, number) -> batches`, to show a bar.
    """
    samples, batch_size = len(loader.ids), devices.round_up(batch_size)
    variables = devices.replicate(variables)
    steps = -(-samples // batch_size)
    indices = np.arange(steps * batch_size).reshape(steps, batch_size)
    # The last batch is filled up with sample 0, which `real` leaves out of the count.
    batches = loader.batches(np.where(indices < samples, indices, 0))
    total = np.zeros((len(table), len(table)), np.int64)
    for batch, row in zip(progress(batches, steps), indices < samples):
        total += np.asarray(count(variables, batch, row), np.int64)
    return Scores(total, table)


def protocol(
    source: Source, split: str, step: int, train_split: str, preprocess: Preprocess
) -> str:
    """The line that a figure is meaningless without."""
    h, w = source.hw
    seen_h, seen_w = preprocess.network_hw(h, w)
    size = f"{w}x{h} (size of the truth)"
    if (seen_h, seen_w) != (h, w):
        size += f" from an input of {seen_w}x{seen_h}"
    line = (
        f"{source.name} {split}, {size}, {len(source.table)} "
        f"classes, void ignored, mean over classes that occur, single scale, no flip, "
        f"step {step}"
    )
    return line + (SEEN if is_seen(split, train_split) else "")


def is_seen(split: str, train_split: str) -> bool:
    """Whether pictures of `split` were trained on."""
    parts = ("train", "val") if train_split == "trainval" else ()
    return split in (train_split, *parts)
