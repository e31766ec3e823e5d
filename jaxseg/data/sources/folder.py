"""Any folder of pictures and label images, explained by a small YAML file."""

import colorsys
import csv
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from jaxseg.data.classes import VOID, ClassTable
from jaxseg.data.sources.base import (
    check_sizes,
    describe_files,
    digest,
    read_indices,
    read_rgb,
)
from jaxseg.errors import UserError

DESCRIPTION = "dataset.yaml"
_PAIRS = "pairs.csv"
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_LABELS = (".png", ".bmp", ".tif", ".tiff", ".gif")
_KEYS = {"classes", "void", "colours", "size"}
_VAL_EVERY = 10
_OTHERS = "others"


class Folder:
    """Pairs of a picture and a label image under `root`, which holds `dataset.yaml`:

        classes:             # in the order of the train ids
          road: 7            # a value of the label images, or several: [7, 8]
          sky: "#4682b4"     # or a colour, if the label images are in colours
        void: [0, 255]       # values that are never counted; `others` for all the rest
        colours:             # to show classes that are given by values; optional
          road: "#804080"
        size: [512, 1024]    # height, width to resize everything to; optional

    Without `void` it is 255 for values and nothing for colours. Any other value or
    colour is an error. Pairs are, by what there is:

    - `pairs.csv` with the columns image, label, split: paths relative to `root`;
    - `images/<split>/` and `labels/<split>/`, partners with the same name but for the
      extension;
    - `images/` and `labels/`: every tenth pair is `val`, the others are `train`.
    """

    name = "folder"
    unlabelled = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / DESCRIPTION
        if not path.is_file():
            raise UserError(
                f"folder: there is no {path}; write one with the classes of your label "
                "images, e.g.  classes: {road: 1, grass: 2}  (see the README)."
            )
        try:
            described = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"folder: {path} is not YAML ({reason}).") from error
        if not isinstance(described, dict) or not described.get("classes"):
            raise UserError(f"folder: {path} needs `classes:` with a name a class.")
        unknown = sorted(set(map(str, described)) - _KEYS)
        if unknown:
            raise UserError(
                f"folder: nothing reads {unknown[0]!r} in {path}; the keys are "
                f"{', '.join(sorted(_KEYS))}."
            )
        try:
            self._values = _Values(described)
            self.table = self._values.table()
            self._size = _size(described.get("size"))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"folder: {path}: {error}") from error
        self._pairs = self._find_pairs()
        self.splits = tuple(self._pairs)

    @cached_property
    def hw(self) -> tuple[int, int]:
        """`size`, or without it the size of the first picture."""
        if self._size:
            return self._size
        image, _ = next(iter(next(iter(self._pairs.values())).values()))
        return read_rgb(image, image).shape[:2]

    def ids(self, split: str) -> list[str]:
        return list(self._pairs[split])

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        paths = self._pairs[split][sample_id]
        image = read_rgb(paths[0], paths[0])
        label = self._values.read(paths[1])
        check_sizes(image, label, paths, image.shape[:2])
        if self._size and image.shape[:2] != self._size:
            wh = self._size[::-1]
            image = Image.fromarray(image).resize(wh, Image.Resampling.BILINEAR)
            label = Image.fromarray(label).resize(wh, Image.Resampling.NEAREST)
            return np.asarray(image), np.asarray(label)
        if image.shape[:2] != self.hw:
            raise UserError(
                f"folder: {paths[0]} is {image.shape[1]}x{image.shape[0]}, others are "
                f"{self.hw[1]}x{self.hw[0]}; all must have one size: add `size: "
                f"[{self.hw[0]}, {self.hw[1]}]` to {DESCRIPTION} to resize them."
            )
        return image, label

    @property
    def is_resized(self) -> bool:
        """Whether `read` may return another size than the files have."""
        return self._size is not None

    def truth(self, split: str, sample_id: str) -> np.ndarray:
        """Train ids uint8 `(h, w)` as the label image has them, whatever `size` is."""
        return self._values.read(self._pairs[split][sample_id][1])

    def fingerprint(self, split: str) -> str:
        pairs = self._pairs[split].values()
        return digest(describe_files([p for pair in pairs for p in pair])) + digest(
            [(self.root / DESCRIPTION).read_text()]
        )

    def remarks(self, split: str) -> list[str]:
        if self._is_flat:
            return [f"folder: no splits are given; every {_VAL_EVERY}th pair is val."]
        return []

    def _find_pairs(self) -> dict[str, dict[str, tuple[Path, Path]]]:
        """Split -> sample id -> picture and label image, sorted by id."""
        self._is_flat = False
        if (self.root / _PAIRS).is_file():
            return self._listed_pairs()
        images, labels = self.root / "images", self.root / "labels"
        for folder in (images, labels):
            if not folder.is_dir():
                raise UserError(
                    f"folder: there is no folder {folder}; put pictures in images/ and "
                    f"label images in labels/, or list them in {_PAIRS}."
                )
        splits = sorted(path.name for path in images.iterdir() if path.is_dir())
        if splits:
            return {s: _partners(images / s, labels / s) for s in splits}
        self._is_flat = True
        pairs = list(_partners(images, labels).items())
        val = pairs[_VAL_EVERY - 1 :: _VAL_EVERY]
        return {"train": dict(p for p in pairs if p not in val), "val": dict(val)}

    def _listed_pairs(self) -> dict[str, dict[str, tuple[Path, Path]]]:
        path = self.root / _PAIRS
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        columns = {"image", "label", "split"}
        if not rows or not columns <= set(rows[0]):
            raise UserError(f"folder: {path} needs the columns image, label, split.")
        splits: dict[str, dict[str, tuple[Path, Path]]] = {}
        for number, row in enumerate(rows, 2):
            if not all(row[column] for column in columns):
                raise UserError(f"folder: {path}: line {number} is incomplete.")
            pair = self.root / row["image"], self.root / row["label"]
            missing = [str(p) for p in pair if not p.is_file()]
            if missing:
                raise UserError(
                    f"folder: {path}: line {number}: there is no file {missing[0]}."
                )
            if any(row["image"] in pairs for pairs in splits.values()):
                raise UserError(
                    f"folder: {path}: line {number}: {row['image']} is listed twice; a "
                    "score on pictures that were trained on says nothing."
                )
            splits.setdefault(row["split"], {})[row["image"]] = pair
        return {split: dict(sorted(pairs.items())) for split, pairs in splits.items()}


def _partners(images: Path, labels: Path) -> dict[str, tuple[Path, Path]]:
    """Name without extension -> picture and label image."""

    def files(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
        if not folder.is_dir():
            raise UserError(f"folder: there is no folder {folder}.")
        paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes]
        found: dict[str, Path] = {}
        for path in paths:
            if path.stem in found:
                raise UserError(
                    f"folder: {path} and {found[path.stem]} have the same name but for "
                    "the extension; rename or remove one."
                )
            found[path.stem] = path
        return found

    pictures, masks = files(images, _IMAGES), files(labels, _LABELS)
    alone = [str(path) for name, path in pictures.items() if name not in masks]
    if alone:
        raise UserError(
            f"folder: {len(alone)} of {len(pictures)} pictures have no label image in "
            f"{labels}, the first is {alone[0]}; partners have the same name but for "
            f"the extension, or are listed in {_PAIRS}."
        )
    if not pictures:
        raise UserError(f"folder: {images} holds no pictures ({', '.join(_IMAGES)}).")
    return {name: (path, masks[name]) for name, path in pictures.items()}


class _Values:
    """What the values or colours of label images mean."""

    def __init__(self, described: Mapping[str, Any]) -> None:
        if not isinstance(described["classes"], dict):
            raise ValueError("classes must be `name: value` lines")
        self._names = tuple(map(str, described["classes"]))
        if len(self._names) >= VOID:
            raise ValueError(f"at most {VOID - 1} classes, got {len(self._names)}.")
        of_class = [_listed(v) for v in described["classes"].values()]
        void = described.get("void")
        self._void_others = void == _OTHERS
        void = [] if self._void_others or void is None else _listed(void)
        kinds = {isinstance(v, str) for values in (*of_class, void) for v in values}
        if len(kinds) > 1:
            raise ValueError("classes and void are all values or all colours, not both")
        self._in_colours = kinds == {True}
        self._ids: dict[int, int] = {}
        if not self._in_colours and not void and not self._void_others:
            void = [VOID]
        rows = [(VOID, v) for v in void]
        rows += [(k, v) for k, values in enumerate(of_class) for v in values]
        for train_id, value in rows:
            code = _rgb_code(value) if self._in_colours else _checked_value(value)
            if code in self._ids:
                raise ValueError(f"{value!r} is given twice")
            self._ids[code] = train_id
        self._colours = {str(k): v for k, v in (described.get("colours") or {}).items()}
        unknown = sorted(set(self._colours) - set(self._names))
        if unknown:
            raise ValueError(f"colours: there is no class {unknown[0]!r}")
        self._first = [values[0] for values in of_class]

    def table(self) -> ClassTable:
        palette = []
        for train_id, (name, value) in enumerate(zip(self._names, self._first)):
            if name in self._colours or self._in_colours:
                code = _rgb_code(self._colours.get(name, value))
                palette.append((code >> 16, code >> 8 & 255, code & 255))
            else:  # hues that lie apart: steps of the golden ratio
                hue = train_id * 0.618034 % 1
                rgb = colorsys.hsv_to_rgb(hue, 0.75, 0.9 - 0.35 * (train_id % 2))
                palette.append(tuple(round(255 * part) for part in rgb))
        return ClassTable(self._names, tuple(palette))

    def read(self, path: Path) -> np.ndarray:
        """Train ids uint8 `(h, w)` of a label image."""
        if self._in_colours:
            codes = read_rgb(path, path).astype(np.int32) @ [1 << 16, 1 << 8, 1]
        else:
            codes = read_indices(path, path).astype(np.int32)
        present, inverse = np.unique(codes, return_inverse=True)
        unknown = [int(code) for code in present if code not in self._ids]
        if unknown and not self._void_others:
            written = [f"#{c:06x}" if self._in_colours else str(c) for c in unknown]
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            pixels = np.isin(codes, unknown).sum()
            raise UserError(
                f"folder: {path} holds {', '.join(written[:8])}{more} in {pixels} "
                f"pixels, which {DESCRIPTION} does not name; add them to a class or "
                f"to `void` (`void: {_OTHERS}` takes all)."
            )
        ids = np.array([self._ids.get(int(c), VOID) for c in present], np.uint8)
        return ids[inverse].reshape(codes.shape)


def _listed(value: Any) -> list:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("a class needs at least one value or colour")
    return values


def _checked_value(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 255:
        raise ValueError(f"{value!r} is no value of a label image (0 to 255)")
    return value


def _rgb_code(colour: Any) -> int:
    text = str(colour)
    try:
        if len(text) == 7 and text[0] == "#":
            return int(text[1:], 16)
    except ValueError:
        pass
    raise ValueError(f'{colour!r} is no colour; write it as "#804080", in quotes')


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    whole = isinstance(size, list) and all(isinstance(n, int) and n > 0 for n in size)
    if not whole or len(size) != 2:
        raise ValueError(f"size must be [height, width], got {size!r}")
    return tuple(size)
