"""Which label image belongs to which picture of a folder, and to which split."""

import csv
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from jaxseg.data.pictures import SUFFIXES, is_foreign, list_pictures
from jaxseg.data.sources import description
from jaxseg.data.sources.shapes import Drawing
from jaxseg.errors import UserError

LIST = "pairs.csv"
_COLUMNS = ("image", "label", "split")
_VAL_SHARE = 0.1
_CALLED_VAL = ("valid", "validation")

Label = Path | Drawing
Pair = tuple[Path, Label]  # picture and label image
Pairs = dict[str, dict[str, Pair]]  # split -> sample id -> pair, sorted by id


def find_pairs(root: Path, labels: str) -> tuple[Pairs, list[str]]:
    """The pairs of `Folder`, and what its user should be told about them.

    Args:
        labels: how a label image is called, from `{name}` of its picture.

    Raises:
        UserError: there are none, or a picture has no label image.
    """
    if (root / LIST).is_file():
        return _listed(root, root / LIST), []
    images, masks = root / "images", root / "labels"
    for folder in (images, masks):
        if not folder.is_dir():
            raise UserError(
                f"folder: there is no folder {folder}; put pictures in images/ and "
                f"label images in labels/, or list them in {LIST}."
            )
    folders = _folders(images)
    if "train" not in folders:
        return split_by_hash(_partners(images, masks, labels))
    pairs, remarks, of_labels = {}, [], _folders(masks)
    for split, folder in folders.items():
        if split in of_labels and list_pictures(of_labels[split], "**/*"):
            pairs[split] = _partners(folder, of_labels[split], labels)
        elif split in ("train", "val"):  # training could not do without them
            raise UserError(
                f"folder: {folder} has no label images; put them in "
                f"{masks / folder.name}."
            )
        else:
            remarks.append(
                f"folder: {folder} is passed over: it has no label images in "
                f"{masks / folder.name}."
            )
    return pairs, remarks


def _folders(parent: Path) -> dict[str, Path]:
    """Split -> its folder in `parent`."""
    found: dict[str, Path] = {}
    for path in sorted(parent.iterdir()):
        if not path.is_dir() or is_foreign(path.relative_to(parent)):
            continue
        split = split_name(path.name)
        if split in found:
            raise UserError(
                f"folder: {found[split]} and {path} would both be the split {split}; "
                "rename or remove one."
            )
        found[split] = path
    return found


def split_name(name: str) -> str:
    """The split that a folder or a cell of this name is for."""
    return "val" if name in _CALLED_VAL else name


def _partners(images: Path, masks: Path, labels: str) -> dict[str, Pair]:
    """Path below `images` without suffix -> picture and label image."""
    pictures, candidates = _by_name(images), _by_name(masks)

    def partner(name: str) -> str:
        at = PurePosixPath(name)
        return str(at.with_name(labels.replace("{name}", at.name)))

    if not pictures:
        raise UserError(f"folder: {images} holds no pictures ({', '.join(SUFFIXES)}).")
    alone = [name for name in pictures if partner(name) not in candidates]
    if alone:
        raise UserError(
            f"folder: {len(alone)} of {len(pictures)} pictures have no label image in "
            f"{masks}, the first is {pictures[alone[0]]}; its label image would be "
            f"called {partner(alone[0])}.png.{_guess(alone[0], candidates)}"
        )
    return {name: (path, candidates[partner(name)]) for name, path in pictures.items()}


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_pictures(folder, "**/*"):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if re.search("[\x00-\x1f\ud800-\udfff]", name):
            raise UserError(
                f"folder: {str(path)!r} is no name for a picture (a line break, or no "
                "UTF-8); rename it."
            )
        if name in found:
            raise UserError(
                f"folder: {path} and {found[name]} have the same name but for the "
                "suffix; rename or remove one."
            )
        found[name] = path
    return found


def _guess(name: str, candidates: Iterable[str]) -> str:
    """What to write where label images are called after their pictures."""
    stem = PurePosixPath(name).name
    for candidate in map(PurePosixPath, candidates):
        before, found, after = candidate.name.partition(stem)
        if found and candidate.parent == PurePosixPath(name).parent:
            pattern = f'labels: "{before}{{name}}{after}"'
            return (
                f" There is {candidate}: for that write  {pattern}  in "
                f"{description.NAME}."
            )
    return f" Any other names can be listed in {LIST}."


def split_by_hash(pairs: dict[str, Pair]) -> tuple[Pairs, list[str]]:
    """A tenth of the pairs for validation, chosen by their names.

    A picture that comes later moves none that was trained on into `val`: the choice
    looks at each name alone. Where that takes none, `val` is the name with the least
    hash; a later one with a lesser hash then takes its place.
    """
    if len(pairs) < 2:
        picture, _ = next(iter(pairs.values()))
        raise UserError(
            f"folder: there is one picture, {picture}; training needs two at least, of "
            "which one is for validation."
        )

    def share(name: str) -> float:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48

    ordered = sorted(pairs, key=share)
    chosen = sum(share(name) < _VAL_SHARE for name in ordered)
    val = set(ordered[: min(max(chosen, 1), len(pairs) - 1)])
    splits = {
        "train": {name: pair for name, pair in pairs.items() if name not in val},
        "val": {name: pair for name, pair in pairs.items() if name in val},
    }
    return splits, [
        f"folder: no splits are given; by a hash of their names {len(val)} of "
        f"{len(pairs)} pairs are val, which stay so when pictures are added."
    ]


def _listed(root: Path, path: Path) -> Pairs:
    lines = _text(path).splitlines()
    if lines and lines[0].startswith("sep="):  # Excel's
        lines = lines[1:]
    first = lines[0] if lines else ""
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.reader(lines, delimiter=delimiter, skipinitialspace=True))
    header = [column.strip().lower() for column in rows[0]] if rows else []
    if len(rows) < 2 or not set(_COLUMNS) <= set(header):
        raise UserError(
            f"folder: {path} needs the columns image, label, split; its first line is "
            f"{first[:80]!r}."
        )
    at = [header.index(column) for column in _COLUMNS]
    splits: Pairs = {}
    listed: dict[str, int] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        cells = [row[i].strip() if i < len(row) else "" for i in at]
        if not all(cells):
            raise UserError(f"folder: {path}: line {number} is incomplete.")
        image, label = (cell.replace("\\", "/") for cell in cells[:2])
        pair = (root / Path(image).expanduser(), root / Path(label).expanduser())
        missing = [str(p) for p in pair if not p.is_file()]
        if missing:
            raise UserError(
                f"folder: {path}: line {number}: there is no file {missing[0]}."
            )
        if image in listed:
            raise UserError(
                f"folder: {path}: line {number}: {image} is listed twice, first in "
                f"line {listed[image]}; a score on pictures that were trained on says "
                "nothing."
            )
        listed[image] = number
        splits.setdefault(split_name(cells[2]), {})[image] = pair
    return {split: dict(sorted(pairs.items())) for split, pairs in splits.items()}


def _text(path: Path) -> str:
    """Whatever a spreadsheet wrote: UTF-8 or UTF-16 with their marks, or Latin-1."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
