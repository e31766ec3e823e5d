"""Losses and gradients of extreme labels and logits, and counts that are large."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.data.classes import VOID, ClassTable
from jaxseg.evaluation.scores import Scores, confusion_matrix
from jaxseg.training.losses import CrossEntropy
from tools.reliability.table import Row

K, SHAPE = 3, (2, 8, 8)
LOSSES = {
    "plain": {},
    "class weights": {"class_weights": (1.0, 20.0, 0.0)},
    "smoothing": {"label_smoothing": 0.1},
    "OHEM": {"ohem_threshold": 0.7, "ohem_least_kept": 0.1},
    "Dice": {"dice": 1.0},
    "OHEM and weights": {
        "ohem_threshold": 0.7,
        "ohem_least_kept": 0.1,
        "class_weights": (1.0, 20.0, 0.0),
    },
}
LOGITS = {"0": 0.0, "1e4": 1e4, "-1e4": -1e4, "1e30, both signs": None}
LOGITS["random"] = "random"
LABELS = ("all void", "one class", "one pixel", "mixed")


def _label(kind: str) -> np.ndarray:
    label = np.full(SHAPE, VOID, np.int32)
    if kind == "one class":
        label[:] = 1
    elif kind == "one pixel":
        label[0, 0, 0] = 2
    elif kind == "mixed":
        label[:] = np.random.default_rng(0).choice([0, 1, 2, VOID], SHAPE)
    return label


def _logits(kind: object, dtype: str) -> jax.Array:
    rng = np.random.default_rng(1)
    if kind == "random":
        return jnp.asarray(100 * rng.normal(size=(*SHAPE, K)), dtype)
    value = 1e30 if kind is None else kind
    signs = rng.choice([-1.0, 1.0], (*SHAPE, K)) if kind is None else 1.0
    return jnp.asarray(np.broadcast_to(value * signs, (*SHAPE, K)), dtype)


def finite_numbers() -> list[Row]:
    """Losses and gradients must be finite, whatever comes."""
    rows = []
    for dtype, (name, settings) in product(("float32", "bfloat16"), LOSSES.items()):
        row, loss = Row(f"{name}, {dtype}"), CrossEntropy(**settings)
        for label, (title, kind) in product(LABELS, LOGITS.items()):
            logits, truth = _logits(kind, dtype), _label(label)
            value, gradient = jax.value_and_grad(lambda x: loss(x, truth)[0])(logits)  # noqa: B023
            fine = np.isfinite(value) and np.isfinite(np.float32(gradient)).all()
            row.add("no effect" if fine else "unnoticed", f"{label}, logits {title}")
        rows.append(row)
    return [*rows, large_counts()]


def large_counts() -> Row:
    """2^31 pixels and more, added up picture by picture as an evaluation does."""
    row, hw = Row("counts of 4.3e9 pixels"), (1, 1 << 12, 1 << 12)
    ones = jnp.ones(hw, jnp.int32)
    once = np.asarray(confusion_matrix(ones, ones, 2), np.int64)
    total = sum((once for _ in range(1 << 8)), np.zeros((2, 2), np.int64))
    scores = Scores(total, ClassTable(("a", "b"), ((0, 0, 0),) * 2)).as_dict()
    exact = scores["pixels"] == 1 << 32 and scores["class_iou"]["b"] == 1.0
    row.add("no effect" if exact else "unnoticed", str(scores))
    return row
