"""Scoring a network on a split."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from PIL import Image

from jaxseg import devices
from jaxseg.data.classes import VOID, ClassTable
from jaxseg.data.loaders import Loader
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Folder, Source
from jaxseg.evaluation.averaging import Views
from jaxseg.evaluation.scores import Scores, confusion_matrix
from jaxseg.models.sizes import padded_hw
from jaxseg.ops import compiler_options, deployed_lowering, lowering

SEEN = ", SEEN IN TRAINING"
SINGLE = Views()


class Evaluator:
    """Scores a network's weights, as they come, on splits.

    Args:
        model, preprocess: of the recipe; the network is scored as it is deployed.
        table: the classes.
        batch_size: rounded up to a multiple of the devices.
        views: how often the network sees a picture.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        table: ClassTable,
        batch_size: int,
        views: Views = SINGLE,
    ) -> None:
        self._views = views
        self._model, self._preprocess, self._table = model, preprocess, table
        self._batch_size = devices.round_up(batch_size)

        # Logits are compared at the size of the truth; the arithmetic is `Predictor`'s,
        # or a submission would not have the score that was reported.
        options = compiler_options(model.dtype)

        @partial(jax.jit, static_argnums=0, compiler_options=options)
        def count(deployed, variables, batch, real):
            with lowering(deployed_lowering()):
                found = views.segment(deployed, variables, preprocess, batch["image"])
            label = jnp.where(real[:, None, None], batch["label"], VOID)
            return confusion_matrix(found, label, len(table))

        @partial(
            jax.jit,
            static_argnums=0,
            compiler_options=options,
            out_shardings=devices.replicated(),
        )
        def found(deployed, variables, image):
            with lowering(deployed_lowering()):
                return views.segment(deployed, variables, preprocess, image)

        self._count, self._found = count, found

    def __call__(
        self,
        variables: Any,
        loader: Loader,
        progress: Callable[[Iterator, int], Iterable] = lambda batches, total: batches,
        truth: Callable[[str], np.ndarray] | None = None,
    ) -> Scores:
        """Scores of the whole split: every sample once, whatever the batch size.

        Args:
            variables: as trained.
            progress: wraps the batches, `(batches, number) -> batches`, to show a bar.
            truth: of a data set that is resized, a sample's labels at their own size;
                see `true_labels`. Predictions are brought to that size.
        """
        variables = jax.device_get(variables)
        with lowering(deployed_lowering()):
            deployed, variables = self._views.deploy(
                self._model, variables, self._preprocess, loader.hw
            )
        variables = devices.replicate(variables)
        samples, n = len(loader.ids), self._batch_size
        steps = -(-samples // n)
        indices = np.arange(steps * n).reshape(steps, n)
        # The last batch is filled up with sample 0, which `real` leaves out.
        batches = loader.batches(np.where(indices < samples, indices, 0))
        total = np.zeros((len(self._table),) * 2, np.int64)
        for number, batch in enumerate(progress(batches, steps)):
            real = indices[number] < samples
            if truth is None:
                counted = self._count(deployed, variables, batch, real)
                total += np.asarray(counted, np.int64)
                continue
            found = np.asarray(self._found(deployed, variables, batch["image"]))
            for index, prediction in zip(indices[number][real], found):
                label = truth(loader.ids[index])
                total += count_at_size_of(label, prediction, len(self._table))
        return Scores(total, self._table)


def count_at_size_of(label: np.ndarray, prediction: np.ndarray, k: int) -> np.ndarray:
    """`confusion_matrix` of a prediction that is first resized to the label's size."""
    wh = label.shape[::-1]
    resized = Image.fromarray(prediction).resize(wh, Image.Resampling.NEAREST)
    known = label != VOID
    cell = label[known].astype(np.int64) * k + np.asarray(resized)[known]
    return np.bincount(cell, minlength=k * k).reshape(k, k)


def true_labels(source: Source, split: str) -> Callable[[str], np.ndarray] | None:
    """What reads labels at their own size, for a data set whose pictures are resized.

    None for all others: there what the loader has is the truth.
    """
    if isinstance(source, Folder) and source.is_resized:
        return partial(source.truth, split)
    return None


def protocol(
    source: Source,
    split: str,
    step: int,
    train_split: str,
    multiple: int,
    preprocess: Preprocess,
    views: Views = SINGLE,
) -> str:
    """The line that a figure is meaningless without.

    Args:
        multiple: what pictures are padded to; see `size_multiple`.
    """
    h, w = source.hw
    seen_h, seen_w = preprocess.network_hw(h, w)
    size = f"{w}x{h} (size of the truth)"
    if true_labels(source, split):
        size = f"at the size of each picture's truth, from pictures resized to {w}x{h}"
    if (seen_h, seen_w) != (h, w):
        size += f" from an input of {seen_w}x{seen_h}"
    padded_h, padded_w = padded_hw((seen_h, seen_w), multiple)
    if (padded_h, padded_w) != (seen_h, seen_w):
        size += f", padded to {padded_w}x{padded_h} for the network"
    line = (
        f"{source.name} {split}, {size}, {len(source.table)} "
        f"classes, void ignored, mean over classes that occur, {views}, "
        f"step {step}"
    )
    return line + (SEEN if is_seen(split, train_split) else "")


def is_seen(split: str, train_split: str) -> bool:
    """Whether pictures of `split` were trained on."""
    parts = ("train", "val") if train_split == "trainval" else ()
    return split in (train_split, *parts)
