"""What a data set is, and what its sources share."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from jaxseg.data.classes import ClassTable
from jaxseg.errors import UserError


class Source(Protocol):
    """A data set.

    Attributes:
        name: short name, one of `SOURCES`.
        table: its classes.
        hw: height and width that all its pictures have.
        splits: the names of its splits.
        unlabelled: those of them without labels; all of their pixels are void.
    """

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> ClassTable: ...
    @property
    def hw(self) -> tuple[int, int]: ...
    @property
    def splits(self) -> tuple[str, ...]: ...
    @property
    def unlabelled(self) -> tuple[str, ...]: ...

    def ids(self, split: str) -> Sequence[str]:
        """The samples of `split`, in the order that indices refer to."""

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 `(h, w, 3)` RGB and label uint8 `(h, w)`, 255 void."""

    def fingerprint(self, split: str) -> str:
        """Changes whenever what `read` returns might; names prepared copies."""

    def remarks(self, split: str) -> list[str]:
        """What a user of `split` should be told, a sentence each."""


def check_sizes(
    image: np.ndarray, label: np.ndarray, names: tuple[object, object], hw: tuple
) -> None:
    """Raises `UserError` unless both are of the data set's size."""

    def size(array):
        return f"{array.shape[1]}x{array.shape[0]}"

    if image.shape[:2] != hw or label.shape != hw:
        lies = image.shape[:2] == label.shape[::-1] != label.shape
        hint = " Was the label image drawn on a picture without its EXIF orientation?"
        raise UserError(
            f"{names[0]} is {size(image)} and {names[1]} is {size(label)}; both must "
            f"be {hw[1]}x{hw[0]} pixels.{hint if lies else ''}"
        )


def digest(lines: Iterable[str]) -> str:
    """A short name for content that `lines` describe."""
    text = "\n".join(lines)
    # Names of files may be no UTF-8.
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def describe_files(paths: Iterable[Path]) -> list[str]:
    """A line per file that changes when the file does."""
    described = []
    for path in paths:
        stat = path.stat()
        described.append(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}")
    return described
