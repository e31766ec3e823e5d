"""Where pictures come from: data sets as they lie on disk, or as they are drawn.

A source lists the samples of a split and reads one of them with Pillow and NumPy,
checked: a file that cannot be trained on raises `UserError` with its name. Both the
TFDS builders and the resident arrays are made from it.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxseg.data.classes import CAMVID, CITYSCAPES, VOID, ClassTable
from jaxseg.data.sources.base import Source
from jaxseg.data.sources.camvid import CamVid
from jaxseg.data.sources.camvid_raw import CamVidRaw
from jaxseg.data.sources.cityscapes import Cityscapes
from jaxseg.data.sources.folder import Folder
from jaxseg.data.sources.scenes import Streets
from jaxseg.errors import UserError

__all__ = ["SOURCES", "CamVid", "CamVidRaw", "Cityscapes", "Folder", "Source"]
__all__ += ["Streets", "check_classes", "check_split", "data_folder", "is_training"]
__all__ += ["open_source", "table_of"]

# Name -> how it is opened, from its folder. Streets has none.
_FROM_FOLDER: dict[str, Callable[[Path], Source]] = {
    "camvid": CamVid,
    "camvid_merged": lambda root: CamVidRaw(root, "camvid_merged"),
    "camvid_pure": lambda root: CamVidRaw(root, "camvid_pure"),
    "cityscapes": Cityscapes,
    "folder": Folder,
}
SOURCES = (*_FROM_FOLDER, "streets")


def data_folder(name: str, dir: str = "") -> Path:
    """Where the data set `name` is looked for: `dir`, or `$JAXSEG_DATA/<name>`.

    `JAXSEG_DATA` is `data` by default. Both CamVids of 960x720 share `camvid_raw`.
    """
    if dir:
        return Path(dir).expanduser()
    root = Path(os.environ.get("JAXSEG_DATA", "data")).expanduser()
    raw = name in ("camvid_merged", "camvid_pure")
    return root / ("camvid_raw" if raw else name)


def open_source(name: str, dir: str = "") -> Source:
    """The data set called `name`, read from `data_folder(name, dir)` if it needs one.

    Raises:
        UserError: the name is unknown, the folder is missing, or one is given that the
            data set has no use for.
    """
    if name == "streets":
        if dir:
            raise UserError(
                f"streets is drawn, not read: leave config.data.dir ({dir})."
            )
        return Streets()
    if name not in _FROM_FOLDER:
        known = ", ".join(SOURCES)
        raise UserError(f"no data set is called {name!r}; there are: {known}.")
    return _FROM_FOLDER[name](data_folder(name, dir))


def table_of(name: str, dir: str = "") -> ClassTable:
    """The classes of the data set called `name`, also where it is not at hand.

    Raises:
        UserError: the name is unknown, or the classes stand in a description that is
            not there.
    """
    known = {"camvid": CAMVID, "cityscapes": CITYSCAPES, "streets": CITYSCAPES}
    known |= {"camvid_merged": CAMVID, "camvid_pure": CAMVID}
    return known[name] if name in known else open_source(name, dir).table


def check_split(source: Source, split: str, labelled: bool = True) -> None:
    """Raises `UserError` unless `source` has `split`, and labels for it if need be."""
    if split not in source.splits:
        known = ", ".join(source.splits)
        hint = ""
        if isinstance(source, Folder):
            where = source.root / "images" / split, source.root / "labels" / split
            hint = f" Its pictures would be in {where[0]} and {where[1]}."
        raise UserError(
            f"{source.name} has no split {split!r}; there are: {known}.{hint}"
        )
    if labelled and split in source.unlabelled:
        raise UserError(
            f"the labels of {source.name} {split} are not published (files of that "
            "name are dummies), so nothing can be trained on or scored with them."
        )


def is_training(split: str) -> bool:
    """Whether a split is one that is trained on, by its name."""
    return split.startswith("train")


def check_classes(source: Source, split: str, occurring: Iterable[int]) -> None:
    """Raises `UserError` where a split whose labels hold these ids teaches nothing."""
    names = [source.table.names[i] for i in sorted(set(occurring) - {VOID})]
    if not names:
        raise UserError(
            f"not one pixel of {source.name} {split} has a class, all are void; look "
            "at the values of its label images and at what they are said to mean."
        )
    if len(names) == 1 and is_training(split):
        hint = ", as 255 does if no class has it" if source.name == "folder" else ""
        raise UserError(
            f"all pixels of {source.name} {split} that are not void are "
            f"{names[0]!r}, so there is nothing to learn; do the label images have "
            f"another value, or does it count as void{hint}?"
        )
