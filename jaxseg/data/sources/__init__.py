"""Where pictures come from: data sets as they lie on disk, or as they are drawn.

A source lists the samples of a split and reads one of them with Pillow and NumPy,
checked: a file that cannot be trained on raises `UserError` with its name. Both the
TFDS builders and the resident arrays are made from it.
"""

from pathlib import Path

from jaxseg.data.sources.base import Source
from jaxseg.data.sources.camvid import CamVid
from jaxseg.data.sources.cityscapes import Cityscapes
from jaxseg.data.sources.scenes import Streets
from jaxseg.errors import UserError

__all__ = ["SOURCES", "CamVid", "Cityscapes", "Source", "Streets"]
__all__ += ["check_split", "open_source"]

SOURCES = ("camvid", "cityscapes", "streets")


def open_source(name: str, dir: str = "") -> Source:
    """The data set called `name`, read from the folder `dir` where it needs one.

    Raises:
        UserError: the name is unknown, the folder is missing, or one is given that the
            data set has no use for.
    """
    if name == "camvid":
        return CamVid(Path(dir).expanduser())
    if name == "cityscapes":
        return Cityscapes(Path(dir).expanduser())
    if name == "streets":
        if dir:
            raise UserError(
                f"streets is drawn, not read: leave config.data.dir ({dir})."
            )
        return Streets()
    known = ", ".join(SOURCES)
    raise UserError(f"no data set is called {name!r}; there are: {known}.")


def check_split(source: Source, split: str, labelled: bool = True) -> None:
    """Raises `UserError` unless `source` has `split`, and labels for it if need be."""
    if split not in source.splits:
        known = ", ".join(source.splits)
        raise UserError(f"{source.name} has no split {split!r}; there are: {known}.")
    if labelled and split in source.unlabelled:
        raise UserError(
            f"the labels of {source.name} {split} are not published (files of that "
            "name are dummies), so nothing can be trained on or scored with them."
        )
