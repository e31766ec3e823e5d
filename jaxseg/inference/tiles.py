"""Pictures that are too large for the device's memory, tile by tile."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxseg.models.sizes import SIZE_MULTIPLE

OVERLAP = 128  # pixels that neighbouring tiles have in common


class Tiled:
    """What `predict` says of a picture, found tile by tile.

    Tiles are of one size, so that there is one program. Each is kept as far as the
    middle of what it has in common with its neighbours: at least `OVERLAP / 2` pixels
    of the picture lie between what is kept and a tile's edge. A network that looks no
    further says what it says of the whole picture; one that averages over the whole
    map (FPENet, LiteSeg) sees a tile in place of the picture.

    Args:
        predict: uint8 `(h, w, 3)` to an array `(h, w)`, or to several.
        hw: height and width of a tile, multiples of 8, larger than `OVERLAP`.
    """

    def __init__(self, predict: Callable, hw: tuple[int, int]) -> None:
        if min(hw) <= OVERLAP or any(n % SIZE_MULTIPLE for n in hw):
            raise ValueError(
                f"tiles must be multiples of {SIZE_MULTIPLE} and larger than their "
                f"overlap, {OVERLAP}, got {hw[0]}x{hw[1]}."
            )
        self._predict, self._hw = predict, hw

    def __call__(self, image: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        if all(n <= tile for n, tile in zip(image.shape, self._hw)):
            return self._predict(image)
        h, w = image.shape[:2]
        # Tiles begin at multiples of 8, the stride of most networks.
        more = [(0, max(-n % SIZE_MULTIPLE, t - n)) for n, t in zip((h, w), self._hw)]
        padded = np.pad(image, [*more, (0, 0)], "edge")
        whole: list[np.ndarray] = []
        for rows, keep_rows in _parts(padded.shape[0], self._hw[0]):
            for columns, keep_columns in _parts(padded.shape[1], self._hw[1]):
                found = self._predict(padded[rows, columns])
                parts = found if isinstance(found, tuple) else (found,)
                if not whole:
                    hw = padded.shape[:2]
                    whole = [np.empty(hw, np.asarray(p).dtype) for p in parts]
                inside = (
                    slice(keep_rows.start - rows.start, keep_rows.stop - rows.start),
                    slice(
                        keep_columns.start - columns.start,
                        keep_columns.stop - columns.start,
                    ),
                )
                for result, part in zip(whole, parts):
                    result[keep_rows, keep_columns] = np.asarray(part)[inside]
        cropped = tuple(result[:h, :w] for result in whole)
        return cropped if len(cropped) > 1 else cropped[0]


def _parts(length: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Tiles of an axis, and what is kept of each; together they keep all of it."""
    starts = [*range(0, length - tile, tile - OVERLAP), length - tile]
    ends = [(a + b + tile) // 2 for a, b in zip(starts[1:], starts)]
    for start, low, high in zip(starts, [0, *ends], [*ends, length]):
        yield slice(start, start + tile), slice(low, high)
