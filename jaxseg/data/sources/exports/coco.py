"""COCO's JSON, as COCO, Roboflow, CVAT and label-studio write it."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

from jaxseg.data.sources.exports.export import (
    BACKGROUND,
    SPLITS,
    Export,
    by_value,
    in_splits,
    with_background,
)
from jaxseg.data.sources.pairs import Pair, split_name
from jaxseg.data.sources.shapes import Drawing, draw_instances
from jaxseg.errors import UserError

_WHERE = ("*.json", "annotations/*.json", "*/_annotations.coco.json")
_PARTS = {"images", "annotations", "categories"}


def find(root: Path) -> Export | None:
    """The one in `root`, if any."""
    files = {}
    for path in sorted(path for pattern in _WHERE for path in root.glob(pattern)):
        try:
            held = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            continue
        if isinstance(held, dict) and _PARTS <= set(held):
            files[path] = held
    # Beside them lie captions and key points of the same pictures.
    instances = {p: held for p, held in files.items() if p.stem.startswith("instances")}
    files = instances or files
    if not files:
        return None
    try:
        return _read(root, files)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"folder: {', '.join(map(str, files))} is not as COCO's are ({error!r})."
        ) from error


def _read(root: Path, files: Mapping[Path, Mapping[str, Any]]) -> Export:
    categories = {
        int(category["id"]): str(category["name"])
        for held in files.values()
        for category in held["categories"]
    }
    names = with_background(categories[i] for i in sorted(categories))
    values = {i: names.index(name) for i, name in categories.items()}
    ground = names.index(BACKGROUND)
    found: dict[str | None, dict[str, Pair]] = defaultdict(dict)
    remarks = []
    for file, held in files.items():
        if held["annotations"]:
            found[_split(file)] |= _pairs(root, file, held, values, ground)
        else:
            remarks.append(f"folder: {file} is passed over: it has no annotations.")
    file = next(iter(files))
    pairs, remarks = in_splits(file, found, remarks)
    return Export(tuple(files), by_value(file, names), pairs, remarks)


def _split(file: Path) -> str | None:
    """The split of `instances_train2017.json`, or of `valid/_annotations.coco.json`."""
    text = file.parent.name if file.stem.startswith("_") else file.stem
    words = map(split_name, re.findall("[a-z]+", text.lower()))
    return next((word for word in words if word in SPLITS), None)


def _pairs(
    root: Path,
    file: Path,
    held: Mapping[str, Any],
    values: Mapping[int, int],
    ground: int,
) -> dict[str, Pair]:
    instances: dict[Any, list] = defaultdict(list)
    for instance in held["annotations"]:
        if instance["category_id"] not in values:
            raise UserError(
                f"folder: {file} has an instance of the category "
                f"{instance['category_id']}, which it does not name."
            )
        instances[instance["image_id"]].append(instance)
    tail = file.stem.rpartition("_")[2]  # train2017, or CVAT's default
    folders = [file.parent, root, root / "images", root / "images" / tail, root / tail]
    pairs: dict[str, Pair] = {}
    for picture in held["images"]:
        name = PureWindowsPath(picture["file_name"]).as_posix()
        path = next((f / name for f in folders if (f / name).is_file()), None)
        if path is None:
            looked = ", ".join(dict.fromkeys(map(str, folders)))
            raise UserError(f"folder: {file}: {name} is in none of {looked}.")
        size = int(picture["height"]), int(picture["width"])
        of = instances[picture["id"]]
        draw = partial(draw_instances, str(path), size, of, values, ground)
        pairs[str(path.relative_to(root))] = path, Drawing(file, draw)
    return pairs
