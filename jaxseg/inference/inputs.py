"""What is to be segmented: pictures, folders, globs, lists, videos and cameras."""

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from jaxseg.data.pictures import SUFFIXES, list_pictures
from jaxseg.errors import UserError
from jaxseg.inference.results import is_ours

VIDEOS = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")
LISTS = (".txt", ".lst")


@dataclass(frozen=True)
class Item:
    """A picture file.

    Attributes:
        path: what is read.
        name: where its results go below the output, as far as their suffix.
    """

    path: Path
    name: PurePath


def is_video(source: str) -> bool:
    """Whether it is the path of a video, `camera:0`, or the address of a stream."""
    suffix = Path(source).suffix.lower()
    return suffix in VIDEOS or bool(re.match(r"camera:|rtsp://|https?://", source))


def find_items(sources: Iterable[str | os.PathLike]) -> list[Item]:
    """All pictures of `sources`, in their order, those of a folder sorted.

    A source is a picture; a folder, whose tree is kept; a glob; a `.txt` file with a
    path a line; or `-`, the same from standard input. What `predict_files` wrote is
    passed over.

    Raises:
        UserError: a source does not exist or has no pictures, or the results of two
            pictures would have the same name.
    """
    items = [item for source in sources for item in _items_of(str(source))]
    first: dict[PurePath, Path] = {}
    for item in items:
        other = first.setdefault(item.name, item.path)
        if other != item.path:
            raise UserError(
                f"{other} and {item.path}: there is more than one picture called "
                f"{item.name}; their label maps would have the same name: rename one."
            )
    return [Item(path, name) for name, path in first.items()]


def _items_of(source: str) -> Iterator[Item]:
    path = Path(source).expanduser()
    if source == "-":
        yield from _listed(sys.stdin.read(), "standard input")
    elif path.is_dir():
        pictures = [p for p in list_pictures(path, "**/*") if not is_ours(p)]
        if not pictures:
            raise UserError(f"{source} holds no pictures ({', '.join(SUFFIXES)}).")
        for picture in pictures:
            yield Item(picture, PurePath(picture.relative_to(path)).with_suffix(""))
    elif path.is_file() and path.suffix.lower() in LISTS:
        yield from _listed(path.read_text(errors="replace"), source)
    elif path.is_file():
        yield Item(path, PurePath(path.stem))
    elif glob.has_magic(str(path)) and not path.exists():
        yield from _globbed(str(path))
    else:
        raise UserError(f"there is no picture or folder {source}.")


def _globbed(pattern: str) -> Iterator[Item]:
    found = [Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
    pictures = [
        path
        for path in found
        if path.suffix.lower() in SUFFIXES and path.is_file() and not is_ours(path)
    ]
    if not pictures:
        raise UserError(f"no picture's path fits {pattern}.")
    yield from _below_their_folder(pictures)


def _listed(text: str, where: str) -> Iterator[Item]:
    paths = [Path(line.strip()).expanduser() for line in text.splitlines()]
    paths = [path for path in paths if path != Path(".")]  # empty lines
    if not paths:
        raise UserError(f"{where} names no picture; it has to have a path a line.")
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(paths)} pictures that {where} names are not "
            f"there, such as {missing[0]}; paths are taken from the current folder."
        )
    yield from _below_their_folder(paths)


def _below_their_folder(paths: list[Path]) -> Iterator[Item]:
    """Names as in the folder that all have in common."""
    common = os.path.commonpath([path.absolute().parent for path in paths])
    for path in paths:
        name = PurePath(path.absolute().relative_to(common))
        yield Item(path, name.with_suffix(""))
