"""Confusion matrix and the scores read from it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.data.classes import VOID, ClassTable


def confusion_matrix(prediction: jax.Array, label: jax.Array, k: int) -> jax.Array:
    """int32 `(k, k)` of pixel counts: rows are the truth, columns the prediction.

    Both arguments hold class ids of any equal shape; void pixels of `label` count
    nowhere. Exact up to 2**31 pixels a call; the caller sums calls in int64.
    """
    label, prediction = label.astype(jnp.int32), prediction.astype(jnp.int32)
    cell = jnp.where(label == VOID, k * k, label * k + prediction)
    return jnp.bincount(cell.ravel(), length=k * k + 1)[:-1].reshape(k, k)


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix over a whole split says.

    Attributes:
        matrix: int64 `(k, k)`, rows are the truth.
        table: the k classes.
    """

    matrix: np.ndarray
    table: ClassTable

    @property
    def class_iou(self) -> np.ndarray:
        """`(k,)` in 0..1: TP / (TP + FP + FN); NaN for a class in neither map."""
        hit = np.diag(self.matrix).astype(np.float64)
        union = self.matrix.sum(0) + self.matrix.sum(1) - np.diag(self.matrix)
        return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that have one; NaN if none has."""
        iou = self.class_iou
        return float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else np.nan

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels that are not void whose class is right."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else np.nan

    def as_dict(self) -> dict:
        """Plain numbers for JSON; a class without IoU is None."""
        iou = [None if np.isnan(v) else float(v) for v in self.class_iou]
        return {
            "miou": None if np.isnan(self.miou) else self.miou,
            "pixel_accuracy": self.pixel_accuracy if self.matrix.sum() else None,
            "class_iou": dict(zip(self.table.names, iou)),
            "pixels": int(self.matrix.sum()),
        }
