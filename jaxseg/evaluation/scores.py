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
        return _iou(self.matrix)

    @property
    def category_iou(self) -> dict[str, float]:
        """As `class_iou`, with the classes of a category taken as one."""
        names = list(dict.fromkeys(self.table.categories))
        if not names:
            return {}
        of = np.array(self.table.categories)
        member = np.array([of == name for name in names]).astype(np.int64)
        return dict(zip(names, _iou(member @ self.matrix @ member.T).tolist()))

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that have one; NaN if none has."""
        return _mean(self.class_iou)

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels that are not void whose class is right."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else np.nan

    def as_dict(self) -> dict:
        """Plain numbers for JSON; a class without IoU is None."""

        def number(value: float) -> float | None:
            return None if np.isnan(value) else float(value)

        by_category = self.category_iou
        result = {
            "miou": number(self.miou),
            "pixel_accuracy": number(self.pixel_accuracy),
            "class_iou": dict(zip(self.table.names, map(number, self.class_iou))),
            "pixels": int(self.matrix.sum()),
        }
        if by_category:
            result["category_miou"] = number(_mean(list(by_category.values())))
            result["category_iou"] = {k: number(v) for k, v in by_category.items()}
        return result


def _iou(matrix: np.ndarray) -> np.ndarray:
    hit = np.diag(matrix).astype(np.float64)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    return np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)


def _mean(ious: np.ndarray | list[float]) -> float:
    """Over those that are not NaN; NaN if all are."""
    known = np.asarray(ious)[~np.isnan(ious)]
    return float(known.mean()) if known.size else np.nan
