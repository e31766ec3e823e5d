"""Cityscapes, from its zip files or from the folders that they unpack to."""

import io
import zipfile
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from jaxseg.data.classes import CITYSCAPES, VOID
from jaxseg.data.pictures import is_foreign, list_pictures, read_indices, read_rgb
from jaxseg.data.sources.base import check_sizes, describe_files, digest
from jaxseg.errors import UserError

LABEL_IDS = CITYSCAPES.values
_HIGHEST = 33
_TRAIN_IDS = np.full(256, VOID, np.uint8)
_TRAIN_IDS[list(LABEL_IDS)] = range(len(LABEL_IDS))

# Folder -> the zip files that it may still be in.
_ZIPS = {
    "leftImg8bit": ("leftImg8bit_trainvaltest.zip", "leftImg8bit_trainextra.zip"),
    "gtFine": ("gtFine_trainvaltest.zip",),
    "gtCoarse": ("gtCoarse.zip",),
}
_LARGEST = 256 << 20  # bytes of a picture file in a zip file
# A black picture that Cityscapes' site asks to delete.
_BAD = "troisdorf_000000_000073"


class Cityscapes:
    """Cityscapes at 2048x1024, 19 classes; plain `*_labelIds.png` are mapped.

    `root` holds `leftImg8bit/ gtFine/ gtCoarse/`, or the official zip files, or some of
    each. `train` and `val` have the fine labels, `train_extra` the coarse ones; those
    of `test` are not published.
    """

    name = "cityscapes"
    table = CITYSCAPES
    hw = (1024, 2048)
    splits = ("train", "val", "test", "train_extra")
    unlabelled = ("test",)

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"cityscapes: there is no folder {root}; set --config.data.dir to the "
                "folder that holds leftImg8bit/ and gtFine/, or their zip files."
            )
        self._list = cache(self._find)

    @classmethod
    def is_in(cls, root: Path) -> bool:
        """Whether `root` looks like a folder of Cityscapes."""
        names = ("leftImg8bit", *_ZIPS["leftImg8bit"])
        return any((root / name).exists() for name in names)

    def ids(self, split: str) -> list[str]:
        images = self._list("leftImg8bit", split)
        if not images:
            raise UserError(
                f"cityscapes: no pictures of {split} were found; {self.root} must hold "
                f"leftImg8bit/{split}/ or {' or '.join(_ZIPS['leftImg8bit'])}."
            )
        names = sorted(set(images) - {_BAD})
        if split in self.unlabelled:
            return names
        folder = _labels(split)
        labels = self._list(folder, split)
        missing = [name for name in names if name not in labels]
        if missing:
            raise UserError(
                f"cityscapes: {len(missing)} of {len(names)} pictures of {split} have "
                f"no label image, the first is {missing[0]}; {self.root} must hold "
                f"{folder}/{split}/*/*_{folder}_labelIds.png or {_ZIPS[folder][0]}."
            )
        return names

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        where = self._list("leftImg8bit", split)[sample_id]
        image = read_rgb(_open(where), _name(where))
        if split in self.unlabelled:
            return image, np.full(image.shape[:2], VOID, np.uint8)
        label_at = self._list(_labels(split), split)[sample_id]
        label = read_indices(_open(label_at), _name(label_at))
        check_sizes(image, label, (_name(where), _name(label_at)), self.hw)
        if label.max() > _HIGHEST:
            raise UserError(
                f"cityscapes: {_name(label_at)} holds the value {label.max()}; label "
                f"ids are 0 to {_HIGHEST}. If it holds train ids, put back the file of "
                "Cityscapes: jaxseg maps label ids itself."
            )
        return image, _TRAIN_IDS[label]

    def fingerprint(self, split: str) -> str:
        lines = []
        for folder in ("leftImg8bit", _labels(split)):
            for where in self._list(folder, split).values():
                if isinstance(where, Path):
                    lines += describe_files([where])
                else:
                    entry = where[0].getinfo(where[1])
                    lines.append(f"{where[1]} {entry.file_size} {entry.CRC}")
        return digest(lines)

    def remarks(self, split: str) -> list[str]:
        if _BAD in self._list("leftImg8bit", split):
            return [f"{_BAD} is left out: its picture is black."]
        return []

    def _find(self, folder: str, split: str) -> dict[str, "Path | _Member"]:
        """Sample id -> where its file is, in the order of ids; folders come first."""
        suffix = "_leftImg8bit.png"
        if folder != "leftImg8bit":
            suffix = f"_{folder}_labelIds.png"
        found: dict[str, Path | _Member] = {}
        for path in list_pictures(self.root / folder / split, f"*/*{suffix}"):
            found[path.name.removesuffix(suffix)] = path
        if found:
            return found
        for name in _ZIPS[folder]:
            if (self.root / name).is_file():
                archive = _archive(self.root / name)
                for member in sorted(archive.namelist()):
                    at = PurePosixPath(member)
                    in_split = at.parts[:2] == (folder, split)
                    if in_split and member.endswith(suffix) and not is_foreign(at):
                        found[at.name.removesuffix(suffix)] = (archive, member)
        return found


_Member = tuple[zipfile.ZipFile, str]


def _labels(split: str) -> str:
    return "gtCoarse" if split == "train_extra" else "gtFine"


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"cityscapes: {path} cannot be opened ({error}); download it again."
        ) from error


def _open(where: Path | _Member) -> Path | io.BytesIO:
    if isinstance(where, Path):
        return where
    try:
        size = where[0].getinfo(where[1]).file_size
        if size > _LARGEST:
            raise ValueError(f"it has {size >> 20} MB, a picture a few")
        return io.BytesIO(where[0].read(where[1]))
    except Exception as error:  # of damaged ones zipfile raises many kinds
        raise UserError(
            f"cityscapes: {_name(where)} cannot be read ({error}); download the zip "
            "file again."
        ) from error


def _name(where: Path | _Member) -> str:
    return str(where) if isinstance(where, Path) else f"{where[0].filename}:{where[1]}"
