"""Where pictures come from: data sets as they lie on disk, or as they are drawn.

A source lists the samples of a split and reads one of them with Pillow and NumPy,
checked: a file that cannot be trained on raises `UserError` with its name. Both the
TFDS builders and the resident arrays are made from it.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from jaxseg.data import streets
from jaxseg.data.classes import CAMVID, CITYSCAPES, VOID, ClassTable
from jaxseg.errors import UserError


class Source(Protocol):
    """A data set.

    Attributes:
        name: short name, a key of `SOURCES`.
        table: its classes.
        hw: height and width that all its pictures have.
        splits: the names of its splits.
    """

    name: str
    table: ClassTable
    hw: tuple[int, int]
    splits: tuple[str, ...]

    def ids(self, split: str) -> Sequence[str]:
        """The samples of `split`, in the order that indices refer to."""

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 `(h, w, 3)` RGB and label uint8 `(h, w)`, 255 void."""

    def fingerprint(self, split: str) -> str:
        """Changes whenever what `read` returns might; names prepared copies."""


class CamVid:
    """CamVid as SegNet published it: 480x360, 11 classes, 11 in a file is void.

    `root` holds `train/ trainannot/ val/ valannot/ test/ testannot/`; a picture and its
    label image have the same file name.
    """

    name = "camvid"
    table = CAMVID
    hw = (360, 480)
    splits = ("train", "val", "test")
    _VOID_IN_FILES = 11

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"camvid: there is no folder {root}; set --config.data.dir to the "
                "folder that holds train/ and trainannot/."
            )

    def ids(self, split: str) -> list[str]:
        images, labels = self.root / split, self.root / f"{split}annot"
        for folder in (images, labels):
            if not folder.is_dir():
                raise UserError(
                    f"camvid: there is no folder {folder}; every split needs its "
                    f"pictures in {split}/ and its label images in {split}annot/."
                )
        names = sorted(path.stem for path in images.glob("*.png"))
        unlabelled = [name for name in names if not (labels / f"{name}.png").is_file()]
        if unlabelled:
            raise UserError(
                f"camvid: {len(unlabelled)} of {len(names)} pictures in {images} have "
                f"no label image in {labels}, the first is {unlabelled[0]}.png."
            )
        if not names:
            raise UserError(f"camvid: {images} holds no .png files.")
        return names

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        image_path = self.root / split / f"{sample_id}.png"
        label_path = self.root / f"{split}annot" / f"{sample_id}.png"
        image, label = _read_rgb(image_path), _read_indices(label_path)
        if image.shape[:2] != label.shape or label.shape != self.hw:
            raise UserError(
                f"camvid: {image_path} is {_size(image)} and {label_path} is "
                f"{_size(label)}; both must be {self.hw[1]}x{self.hw[0]} pixels."
            )
        wrong = label > self._VOID_IN_FILES
        if wrong.any():
            raise UserError(
                f"camvid: {label_path} holds the value {label[wrong][0]} in "
                f"{wrong.sum()} pixels; label images hold class indices 0 to "
                f"{len(self.table) - 1} and {self._VOID_IN_FILES} for void."
            )
        return image, np.where(label == self._VOID_IN_FILES, VOID, label)

    def fingerprint(self, split: str) -> str:
        digest = hashlib.sha256()
        for folder in (self.root / split, self.root / f"{split}annot"):
            for path in sorted(folder.glob("*.png")):
                stat = path.stat()
                line = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}\n"
                digest.update(line.encode())
        return digest.hexdigest()[:16]


class Streets:
    """The bundled set: street scenes drawn by `jaxseg.data.streets`, 19 classes."""

    name = "streets"
    table = CITYSCAPES
    hw = (256, 512)
    splits = ("train", "val", "test")
    _SEEDS = {
        "train": range(300),
        "val": range(10_000, 10_050),
        "test": range(20_000, 20_050),
    }

    def ids(self, split: str) -> list[str]:
        return [f"{seed:06d}" for seed in self._SEEDS[split]]

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        return streets.draw_scene(int(sample_id), self.hw)

    def fingerprint(self, split: str) -> str:
        program = sorted(Path(streets.__file__).parent.glob("*.py"))
        content = b"".join(path.read_bytes() for path in program)
        return hashlib.sha256(content).hexdigest()[:16]


SOURCES = ("camvid", "streets")


def open_source(name: str, dir: str = "") -> Source:
    """The data set called `name`, read from the folder `dir` where it needs one.

    Raises:
        UserError: the name is unknown, the folder is missing, or one is given that the
            data set has no use for.
    """
    if name == "camvid":
        return CamVid(Path(dir).expanduser())
    if name == "streets":
        if dir:
            raise UserError(
                f"streets is drawn, not read: leave config.data.dir ({dir})."
            )
        return Streets()
    known = ", ".join(SOURCES)
    raise UserError(f"no data set is called {name!r}; there are: {known}.")


def check_split(source: Source, split: str) -> None:
    """Raises `UserError` unless `source` has `split`."""
    if split not in source.splits:
        known = ", ".join(source.splits)
        raise UserError(f"{source.name} has no split {split!r}; there are: {known}.")


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as a picture ({error}); copy it again or remove it "
            "together with its partner."
        ) from error
    return image


def _read_rgb(path: Path) -> np.ndarray:
    return np.asarray(_open(path).convert("RGB"))


def _read_indices(path: Path) -> np.ndarray:
    image = _open(path)
    if image.mode not in ("L", "P"):
        raise UserError(
            f"{path} is a {image.mode} picture; a label image has one channel of class "
            "indices (mode L or P), not colours."
        )
    return np.asarray(image)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
