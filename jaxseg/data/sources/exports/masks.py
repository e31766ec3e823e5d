"""PNG masks with a table of colours: CVAT's "segmentation mask", and Supervisely's."""

import json
from collections import defaultdict
from pathlib import Path

from jaxseg.data.pictures import list_pictures
from jaxseg.data.sources.exports.export import (
    SPLITS,
    Export,
    by_colour,
    in_splits,
    partnered,
)
from jaxseg.data.sources.pairs import Pair, split_name
from jaxseg.errors import UserError

_CVAT, _SUPERVISELY = "labelmap.txt", "obj_class_to_machine_color.json"


def find_cvat(root: Path) -> Export | None:
    """CVAT's in `root`, if any."""
    file = root / _CVAT
    if not file.is_file():
        return None
    pictures = list_pictures(root / "JPEGImages", "**/*")
    if not pictures:
        raise UserError(
            f"folder: {root / 'JPEGImages'} holds no pictures; export the task again, "
            "with its images."
        )
    masks = {p.stem: p for p in list_pictures(root / "SegmentationClass", "**/*.png")}
    split_of: dict[str, str] = {}
    for listed in sorted((root / "ImageSets" / "Segmentation").glob("*.txt")):
        split = split_name(listed.stem.lower())
        if split in SPLITS:
            split_of |= dict.fromkeys(listed.read_text().splitlines(), split)
    found: dict[str | None, dict[str, Pair]] = defaultdict(dict)
    for picture in pictures:
        used = not split_of or picture.stem in split_of
        if used and picture.stem in masks:  # CVAT's has none where nothing was drawn
            of_split = found[split_of.get(picture.stem)]
            of_split |= partnered(root, [picture], lambda p: masks[p.stem])
    pairs, remarks = in_splits(file, found, [])
    return Export((file,), by_colour(file, _labelmap(file)), pairs, remarks)


def _labelmap(file: Path) -> dict[str, list[int]]:
    colours = {}
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            colours[name] = _rgb(rest.split(":")[0].split(","))
        except ValueError as error:
            raise UserError(
                f"folder: {file}: line {number} is not  name:red,green,blue:: "
            ) from error
    return colours


def _rgb(colour: list) -> list[int]:
    r, g, b = map(int, colour)
    if not all(0 <= part <= 255 for part in (r, g, b)):
        raise ValueError("no colour")
    return [r, g, b]


def find_supervisely(root: Path) -> Export | None:
    """Supervisely's in `root`, if any."""
    file = root / _SUPERVISELY
    if not file.is_file():
        return None
    try:
        listed = json.loads(file.read_bytes())
        colours = {str(name): _rgb(colour) for name, colour in listed.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"folder: {file} gives no colours ({error}).") from error

    def mask(picture: Path) -> Path | None:
        folder = picture.parent.parent / "masks_machine"
        paths = [folder / f"{name}.png" for name in (picture.stem, picture.name)]
        return next((path for path in paths if path.is_file()), None)

    found: dict[str | None, dict[str, Pair]] = defaultdict(dict)
    for folder in sorted(path for path in root.glob("*/img") if path.is_dir()):
        split = split_name(folder.parent.name.lower())
        of_split = found[split if split in SPLITS else None]
        of_split |= partnered(root, list_pictures(folder), mask)
    if None in found and len(found) > 1:
        raise UserError(
            f"folder: {root}: some of its data sets are called train, val or test and "
            "others are not; name all of them so, or none."
        )
    pairs, remarks = in_splits(file, found, [])
    return Export((file,), by_colour(file, colours), pairs, remarks)
