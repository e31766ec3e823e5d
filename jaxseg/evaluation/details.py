"""Where a network is right and wrong: by picture, along boundaries, by size."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
from scipy import ndimage

from jaxseg.data.classes import VOID, ClassTable
from jaxseg.evaluation.scores import Scores

BANDS = (1, 2, 4, 8, 16)  # pixels to the next boundary of the truth, at most
# Areas of connected regions, in pixels: COCO's small, medium and large.
SIZES = {"below 32x32": 32**2, "below 96x96": 96**2, "larger": np.inf}


@dataclass
class Details:
    """Counts over pictures, as they are added.

    Attributes:
        table: the k classes.
        matrices: of each picture, `(k, k)`, rows are the truth.
        bands: of all pixels at most so far from a boundary, `(k, k)` by `BANDS`.
        regions: of the truth, how many there are by class and size; `found`, of how
            many more than half the pixels were given their class.
    """

    table: ClassTable
    matrices: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        k = len(self.table)
        self.bands = np.zeros((len(BANDS), k, k), np.int64)
        self.regions = np.zeros((k, len(SIZES)), np.int64)
        self.found = np.zeros((k, len(SIZES)), np.int64)

    def add(self, name: str, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts a picture; both are uint8 `(h, w)`, void counts nowhere."""
        self.matrices[name] = self._confusion(truth, predicted)
        distance = distance_to_boundary(truth)
        for matrix, width in zip(self.bands, BANDS):
            near = distance <= width
            matrix += self._confusion(truth[near], predicted[near])
        limits = list(SIZES.values())
        for c in np.unique(truth[truth != VOID]):
            labelled, count = ndimage.label(truth == c)
            index = range(1, count + 1)
            areas = ndimage.sum_labels(truth == c, labelled, index)
            right = ndimage.sum_labels(predicted == c, labelled, index)
            bucket = np.searchsorted(limits, areas, side="right")
            np.add.at(self.regions[c], bucket, 1)
            np.add.at(self.found[c], bucket, 2 * right > areas)

    def _confusion(self, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        k, known = len(self.table), truth != VOID
        cell = truth[known].astype(np.int64) * k + predicted[known]
        return np.bincount(cell, minlength=k * k).reshape(k, k)

    @property
    def scores(self) -> Scores:
        return Scores(cast(np.ndarray, sum(self.matrices.values())), self.table)

    def worst(self, c: int, count: int, least_share: float = 1e-3) -> list[str]:
        """The pictures with the lowest IoU of class `c`, worst first.

        Of those where at least `least_share` of the known pixels are of the class.
        """
        known = {
            name: Scores(m, self.table).class_iou[c]
            for name, m in self.matrices.items()
            if m[c].sum() > least_share * m.sum()
        }
        return sorted(known, key=known.__getitem__)[:count]

    def most_confused(self, count: int) -> list[tuple[int, int, float]]:
        """Pairs (truth, prediction) with the largest shares of the truth's pixels."""
        matrix = self.scores.matrix
        shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        np.fill_diagonal(shares, 0)
        order = np.argsort(-shares, axis=None, kind="stable")[:count]
        pairs = [tuple(map(int, divmod(i, len(self.table)))) for i in order]
        return [(t, p, float(shares[t, p])) for t, p in pairs if shares[t, p] > 0]


def distance_to_boundary(truth: np.ndarray) -> np.ndarray:
    """Of each pixel, how far the next pixel is that touches another class.

    Chessboard distance, 1 for pixels that touch one themselves; edges of void are no
    boundaries, nor is the picture's. Without any boundary all is far away.
    """
    touches = np.zeros(truth.shape, bool)
    for axis in (0, 1):
        a, b = (truth.take(range(*ends), axis) for ends in _neighbours(truth, axis))
        differs = (a != b) & (a != VOID) & (b != VOID)
        for ends in _neighbours(truth, axis):
            where = [slice(None), slice(None)]
            where[axis] = slice(*ends)
            touches[tuple(where)] |= differs
    if not touches.any():
        return np.full(truth.shape, max(truth.shape) + 1)
    return ndimage.distance_transform_cdt(~touches, "chessboard") + 1


def _neighbours(truth: np.ndarray, axis: int) -> tuple[tuple[int, int], ...]:
    n = truth.shape[axis]
    return (0, n - 1), (1, n)
