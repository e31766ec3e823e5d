"""What an exported network computes, against the network as it was trained."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from PIL import Image

from jaxseg.data.classes import ClassTable
from jaxseg.data.pictures import resized
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Source
from jaxseg.deploy.apart import Apart
from jaxseg.deploy.predictor import segment
from jaxseg.errors import UserError
from jaxseg.evaluation.data import source_of
from jaxseg.evaluation.evaluate import count_at_size_of
from jaxseg.evaluation.scores import Scores
from jaxseg.ops import Lowering, Pair, lowering
from jaxseg.runs import Run
from streets import draw_scene

PICTURES = 8
EQUAL_LEAST = 0.999  # of the labels, in float32
EQUAL_LEAST_INT8 = 0.95  # below it the pictures of the calibration do not fit
_TIMED_CALLS = 5


class Unequal(Exception):
    """An export that does not compute what it should, and why, in a sentence."""


@dataclass(frozen=True)
class Pictures:
    """What an export is tried on.

    Attributes:
        images: uint8 `(h, w, 3)` each.
        labels: uint8 `(h, w)` each, or none at all.
        origin: where they are from, for people.
    """

    images: list[np.ndarray]
    labels: list[np.ndarray]
    origin: str


def pictures_for(run: Run, hw: Pair | None, data_dir: str | None = None) -> Pictures:
    """Pictures of the run's validation split, or drawn ones where that is not there.

    Eight, spread over the split, resized to `hw`; of an open one some as they are, some
    cropped, so that there are two sizes at least.

    Args:
        data_dir: where the data lie now, if not where they lay in training.

    Raises:
        UserError: there are no such data in `data_dir`.
    """
    try:
        source = source_of(run, data_dir)
        found = list(_spread(source, "val", hw))
    except UserError:
        if data_dir is not None:
            raise
        found = []
    if found:
        images, labels = map(list, zip(*found))
        how = f"resized to {hw[1]}x{hw[0]}" if hw else "some of them cropped"
        return Pictures(images, labels, f"{source.name} val, {how}")
    h, w = hw or (150, 203)
    drawn = max(64, h + -h % 8), max(128, w + -w % 8)
    scenes = [draw_scene(seed, drawn)[0][:h, :w] for seed in range(PICTURES)]
    if hw is None:
        scenes = [_cropped(scene, number) for number, scene in enumerate(scenes)]
    return Pictures(scenes, [], "drawn scenes")


def _spread(
    source: Source, split: str, hw: Pair | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    ids = source.ids(split)
    chosen = sorted(set(np.linspace(0, len(ids) - 1, PICTURES).astype(int)))
    for number, index in enumerate(chosen):
        image, label = source.read(split, ids[index])
        if hw is None:
            yield _cropped(image, number), _cropped(label, number)
        else:
            yield resized(image, hw), resized(label, hw, Image.Resampling.NEAREST)


def _cropped(array: np.ndarray, number: int) -> np.ndarray:
    """Every second one without its last rows and columns."""
    h, w = array.shape[:2]
    return array[: h - h // 5, : w - w // 7] if number % 2 else array


def as_trained(
    model: nn.Module, variables: Any, preprocess: Preprocess, multiple: int = 1
) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 `(h, w, 3)` to float32 logits `(h, w, k)`, neither folded nor exported.

    Args:
        multiple: pictures are padded to multiples of it, as `export_onnx` says.
    """

    @jax.jit
    def logits(image):
        with lowering(Lowering("textbook")), jax.default_matmul_precision("highest"):
            return segment(model, variables, preprocess, image, "logits")

    def call(image: np.ndarray) -> np.ndarray:
        h, w = image.shape[:2]
        more = (0, -h % multiple), (0, -w % multiple), (0, 0)
        return np.asarray(logits(np.pad(image, more, "edge")[None]))[0, :h, :w]

    return call


def compare(
    file: Path,
    wanted: Callable[[np.ndarray], np.ndarray],
    pictures: Pictures,
    table: ClassTable,
    least: float = EQUAL_LEAST,
) -> dict[str, Any]:
    """What an exported file computes in a fresh process, and how fast.

    Args:
        wanted: see `as_trained`.
        least: the share of labels that must be equal.

    Returns:
        `engine`, `pictures` (where from), `count`, `equal_labels` and `bound` (shares),
        `latency_ms` (median of five calls with one picture); of logits
        `largest_difference` and `largest_logit`; where truth is there `miou_as_trained`
        and `miou_exported`.

    Raises:
        Unequal: fewer labels are equal, or the engine did not run it.
    """
    tally = _Tally(len(table))
    images = pictures.images
    try:
        with Apart(file) as engine:
            for number, image in enumerate(images):
                label = pictures.labels[number] if pictures.labels else None
                tally.add(wanted(image), _found(engine, images, number), label)
            times = [engine(images[0][None])[1] for _ in range(_TIMED_CALLS)]
    except UserError as error:
        raise Unequal(f"the export does not run: {error}") from error
    result = {
        "engine": engine.name,
        "pictures": pictures.origin,
        "count": len(images),
        "equal_labels": tally.equal / tally.total,
        "bound": least,
        "latency_ms": float(np.median(times)),
    }
    if engine.output == "logits":
        result["largest_difference"] = tally.difference
        result["largest_logit"] = tally.largest
    if pictures.labels:
        before, after = (Scores(matrix, table).miou for matrix in tally.matrices)
        result |= {"miou_as_trained": before, "miou_exported": after}
    if not np.isfinite(tally.difference):
        raise Unequal(f"{engine.name} computes logits that are no finite numbers.")
    if tally.equal < least * tally.total:
        raise Unequal(
            f"{100 * result['equal_labels']:.3f} % of the labels that {engine.name} "
            f"computes are those of the network as it was trained, and {100 * least:g} "
            f"% must be ({len(images)} pictures: {pictures.origin})."
        )
    return result


class _Tally:
    """Differences between two networks, over pictures.

    Attributes:
        equal, total: pixels.
        difference, largest: of logits; the largest logit is that of the first network.
        matrices: int64 `(2, k, k)`, see `Scores`.
    """

    def __init__(self, k: int) -> None:
        self.equal, self.total = 0, 0
        self.difference, self.largest = 0.0, 0.0
        self.matrices = np.zeros((2, k, k), np.int64)

    def add(
        self, logits: np.ndarray, found: np.ndarray, label: np.ndarray | None
    ) -> None:
        """Counts a picture; `found` are labels `(h, w)`, or logits as the first."""
        expected = logits.argmax(-1).astype(np.uint8)
        if found.ndim == 3:
            # Not Python's max, which loses what is no number.
            self.difference = float(np.maximum(self.difference, _peak(found - logits)))
            self.largest = float(np.maximum(self.largest, _peak(logits)))
            found = found.argmax(-1).astype(np.uint8)
        self.equal += int(np.sum(found == expected))
        self.total += expected.size
        if label is not None:
            for matrix, of in zip(self.matrices, (expected, found)):
                matrix += count_at_size_of(label, of, len(matrix))


def _peak(values: np.ndarray) -> np.floating:
    return abs(values).max()


def _found(engine: Apart, images: list[np.ndarray], number: int) -> np.ndarray:
    """The output for a picture; of an open batch, in a call with the next one of its
    size."""
    batch = [images[number]]
    if engine.batch is None:
        others = images[number + 1 :] + images[: number + 1]
        batch += [x for x in others if x.shape == batch[0].shape][:1]
    return engine(np.stack(batch))[0][0]
