"""Ultralytics' data sets, also as Roboflow exports them."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxseg.data.pictures import list_pictures
from jaxseg.data.sources.description import read_yaml
from jaxseg.data.sources.exports.export import (
    BACKGROUND,
    SPLITS,
    Export,
    by_value,
    in_splits,
    partnered,
    with_background,
)
from jaxseg.data.sources.pairs import Label, Pair
from jaxseg.data.sources.shapes import Drawing, draw_lines
from jaxseg.errors import UserError


def find(root: Path) -> Export | None:
    """The one in `root`, if any."""
    for file in sorted(root.glob("*.y*ml")):
        described = read_yaml(file)
        if isinstance(described, dict) and {"names", "train"} <= set(described):
            return _read(root, file, described)
    return None


def _read(root: Path, file: Path, described: Mapping[str, Any]) -> Export:
    names = described["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        raise UserError(
            f"folder: {file}: `names` is a list, or numbers the classes 0, 1, 2, ..."
        )
    names = [str(names[number]) for number in range(len(names))]
    pictures = {
        split: _pictures(root, described, described[split])
        for split in SPLITS
        if described.get(split)
    }
    folders = (described.get("masks_dir"), "masks", "labels")

    def mask(picture: Path) -> Path | None:
        beside = (_beside(picture, str(name), ".png") for name in folders if name)
        return next((path for path in beside if path.is_file()), None)

    label: Callable[[Path], Label | None] = mask
    if not any(map(mask, pictures["train"])):
        label, names = _polygons(names)
    found: dict[str | None, dict[str, Pair]] = {}
    remarks = []
    for split, of in pictures.items():
        if _any_label(of, label):
            found[split] = partnered(root, of, label)
        elif split == "test":
            remarks.append(f"folder: {file}: test is passed over: it has no labels.")
        else:
            example = f", such as {_beside(of[0], 'labels', '.txt')}" if of else ""
            raise UserError(
                f"folder: {file}: of {split} ({described[split]}) {len(of)} pictures "
                f"were found and no labels; those are polygons in labels/{example}, or "
                "PNG files in masks/."
            )
    pairs, remarks = in_splits(file, found, remarks)
    return Export((file,), by_value(file, names), pairs, remarks)


def _polygons(names: list[str]) -> tuple[Callable[[Path], Drawing], list[str]]:
    """What draws the labels of a picture; and the names with background."""
    all_names = with_background(names)
    first, ground = len(all_names) - len(names), all_names.index(BACKGROUND)

    def label(picture: Path) -> Drawing:
        path = _beside(picture, "labels", ".txt")
        return Drawing(path, partial(draw_lines, path, first, len(names), ground))

    return label, all_names


def _any_label(pictures: list[Path], label: Callable[[Path], Label | None]) -> bool:
    """Whether one has a label; pictures without are all background where others do."""
    found = (label(picture) for picture in pictures)
    return any(of.path.is_file() if isinstance(of, Drawing) else of for of in found)


def _pictures(root: Path, described: Mapping[str, Any], entry: Any) -> list[Path]:
    """Pictures of a split: of a folder, of a list in a text file, or of several."""
    if isinstance(entry, list):
        return [p for part in entry for p in _pictures(root, described, part)]
    base = Path(str(described.get("path") or ".")).expanduser()
    # What was moved since is looked for beside the file; Roboflow's begin with ../
    folders = (root / base, root, root.parent / base, root / base.name)
    names = (str(entry), str(entry).removeprefix("../"))
    for at in (folder / name for folder in folders for name in names):
        if at.is_dir():
            return list_pictures(at, "**/*")
        if at.is_file():
            lines = at.read_text(errors="replace").splitlines()
            return [at.parent / line.strip() for line in lines if line.strip()]
    return []


def _beside(picture: Path, folder: str, suffix: str) -> Path:
    """The file of that suffix where `folder` stands in place of the last `images`."""
    parts = list(picture.with_suffix(suffix).parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images")] = folder
    return Path(*parts)
