"""Batches of a split, in an order that is a function of (seed, epoch) alone.

Two loaders give the same batches in the same order. `ResidentLoader` decodes the split
once into arrays, kept on disk as `.npz` and then on the device, so that a step has no
host work; it needs no TensorFlow. `TfDataLoader` streams from TFDS shards and holds
only a few batches.
"""

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from rich.markup import escape
from rich.progress import track

from jaxseg import devices
from jaxseg.data.sources import Source, check_classes, check_split
from jaxseg.errors import UserError
from jaxseg.runtime import cache_dir

Batch = dict[str, jax.Array]


class Loader(Protocol):
    """A split whose samples can be asked for by index.

    Attributes:
        ids: one name per sample; index i is the sample `ids[i]`.
        hw: size of every picture.
    """

    ids: tuple[str, ...]
    hw: tuple[int, int]

    def batches(self, indices: np.ndarray) -> Iterator[Batch]:
        """For each row of `(n, b)` indices: `image` uint8 (b, h, w, 3), `label` uint8.

        Arrays are split by sample over the devices, whose number must divide b.
        """


def epoch_order(seed: int, epoch: int, samples: int, batch_size: int) -> np.ndarray:
    """Indices `(samples // batch_size, batch_size)` of one epoch, each at most once.

    Raises:
        UserError: there are fewer samples than one batch holds.
    """
    if samples < batch_size:
        raise UserError(
            f"a batch of {batch_size} needs more than the {samples} samples of the "
            "training split; lower config.train.batch_size."
        )
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    steps = samples // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)


def load_split(source: Source, split: str, loader: str = "auto") -> Loader:
    """The loader of a split; `auto` is `resident` where that fits the device.

    Raises:
        UserError: unknown split or loader, or a sample that cannot be trained on.
    """
    check_split(source, split)
    if loader not in ("auto", "resident", "tfdata"):
        raise UserError(
            f"config.data.loader is {loader!r}; it can be auto, resident or tfdata."
        )
    if loader == "auto":
        loader = "resident" if _fits_device(source, split) else "tfdata"
    return (ResidentLoader if loader == "resident" else TfDataLoader)(source, split)


def _fits_device(source: Source, split: str) -> bool:
    """Whether a decoded split takes at most a quarter of the device's memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    decoded = len(source.ids(split)) * source.hw[0] * source.hw[1] * 4
    return decoded <= stats.get("bytes_limit", host) / 4


class ResidentLoader:
    """All of a split on the device.

    Attributes:
        arrays: `image` uint8 (n, h, w, 3) and `label` uint8 (n, h, w), on every device.
    """

    def __init__(self, source: Source, split: str) -> None:
        arrays = resident_arrays(source, split)
        self.ids, self.hw = tuple(arrays["ids"].tolist()), source.hw
        self.arrays: Batch = {
            "image": devices.place(arrays["images"], devices.replicated()),
            "label": devices.place(arrays["labels"], devices.replicated()),
        }

    def batches(self, indices: np.ndarray) -> Iterator[Batch]:
        for row in indices.astype(np.int32):
            yield take(self.arrays, devices.place(row, devices.by_sample()))


@jax.jit
def take(split: Batch, row: jax.Array) -> Batch:
    """The samples of `split` that `row` numbers, `(b,)`, as a batch."""
    return {name: array[row] for name, array in split.items()}


def resident_arrays(source: Source, split: str) -> dict[str, np.ndarray]:
    """`ids`, `images` uint8 (n, h, w, 3), `labels` uint8 (n, h, w), read once.

    They are kept under the cache folder, by the source's fingerprint, and made again
    where that file is damaged.
    """
    path = _prepared_folder(source, split) / f"{split}.npz"
    arrays = _stored(path) if path.is_file() else None
    if arrays is None:
        arrays = _read_all(source, split)
        _store(path, arrays, f"{source.name} {split}")
    return arrays


def _read_all(source: Source, split: str) -> dict[str, np.ndarray]:
    ids = source.ids(split)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        samples = list(
            track(
                pool.map(lambda sample_id: source.read(split, sample_id), ids),
                description=f"Preparing {source.name} {escape(split)}",
                total=len(ids),
                disable=not devices.is_main(),
            )
        )
    if split not in source.unlabelled:
        present = sum(np.bincount(label.ravel(), minlength=256) for _, label in samples)
        check_classes(source, split, np.flatnonzero(present).tolist())
    return {
        "ids": np.asarray(ids),
        "images": np.stack([image for image, _ in samples]),
        "labels": np.stack([label for _, label in samples]),
    }


def _stored(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a prepared file; None if it is damaged in any way."""
    try:
        with np.load(path) as stored:  # a zip file: its checksums are compared
            return {name: stored[name] for name in ("ids", "images", "labels")}
    except Exception:  # of damaged files NumPy and zipfile raise many kinds
        return None


def _store(path: Path, arrays: dict[str, Any], what: str) -> None:
    """Writes the file whole or not at all."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.npz")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(unfinished, **arrays)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise _no_room(path, what, error.strerror) from error


def _no_room(path: Path, what: str, reason: object) -> UserError:
    return UserError(
        f"the prepared {what} could not be written to {path} ({reason}); free some "
        "space or set JAXSEG_CACHE to a folder elsewhere."
    )


def _prepared_folder(source: Source, split: str) -> Path:
    return cache_dir() / "data" / f"{source.name}-{source.fingerprint(split)}"


class TfDataLoader:
    """Streams a split from TFDS shards: random access, parallel decoding, prefetch."""

    def __init__(self, source: Source, split: str) -> None:
        tf, tfds = _tensorflow()
        from jaxseg.data.builders import builder_of

        folder = _prepared_folder(source, split) / "tfds"
        builder = builder_of(source, split, str(folder))
        try:
            builder.download_and_prepare()
        except Exception as error:  # of a failed write TFDS raises many kinds
            reason = os.strerror(errno.ENOSPC)
            if reason not in str(error):
                raise
            raise _no_room(folder, f"{source.name} {split}", reason) from error
        self.ids, self.hw = tuple(source.ids(split)), source.hw
        self._features = builder.info.features
        self._records = builder.as_data_source(
            split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
        )
        self._tf = tf

    def batches(self, indices: np.ndarray) -> Iterator[Batch]:
        tf = self._tf
        own = np.stack([devices.own_part(row) for row in indices])

        def fetch(row):
            return np.asarray(self._records.__getitems__(row.tolist()), object)

        def decode(record):
            example = self._features.deserialize_example(record)
            return {"image": example["image"], "label": example["label"][..., 0]}

        dataset = (
            tf.data.Dataset.from_tensor_slices(own)
            .map(lambda row: tf.numpy_function(fetch, [row], tf.string))
            .map(lambda records: tf.ensure_shape(records, own.shape[1:]))
            .unbatch()
            .map(decode, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(own.shape[1], drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        for batch in dataset.as_numpy_iterator():
            yield {name: devices.place_part(array) for name, array in batch.items()}


def _tensorflow():
    """TensorFlow and TFDS, kept off the accelerator and quiet."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"the tfdata loader needs TensorFlow Datasets ({error}); install "
            "jaxseg[tfds] or set --config.data.loader=resident."
        ) from error
    tf.config.set_visible_devices([], "GPU")
    return tf, tfds
