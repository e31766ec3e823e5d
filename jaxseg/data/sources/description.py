"""`dataset.yaml`: what the values or colours of a folder's label images mean."""

import colorsys
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jaxseg.data.classes import VOID, ClassTable
from jaxseg.data.pictures import SUFFIXES
from jaxseg.errors import UserError

NAME = "dataset.yaml"
OTHERS = "others"
_KEYS = {"classes", "void", "colours", "size", "labels"}
_HIGHEST = (1 << 16) - 1
_PARTNER = "{name}"

_LARGEST = 2 << 20  # bytes; reading YAML takes some seconds a megabyte


@dataclass(frozen=True)
class Description:
    """What `dataset.yaml` says.

    Attributes:
        table: the classes.
        in_colours: whether `ids` are keyed by 0xRRGGBB or by values of label images.
        ids: value or colour -> train id, 255 for void.
        void_others: whether all that `ids` lacks is void too.
        size: height and width to resize everything to, if any.
        labels: a label image's name without suffix, `{name}` being its picture's.
    """

    table: ClassTable
    in_colours: bool
    ids: Mapping[int, int]
    void_others: bool = False
    size: tuple[int, int] | None = None
    labels: str = _PARTNER

    def train_ids(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Train ids uint8 `(h, w)` of codes `(h, w)`; and those without one, sorted."""
        present, inverse = np.unique(codes, return_inverse=True)
        ids = np.array([self.ids.get(int(c), VOID) for c in present], np.uint8)
        known = np.isin(present, list(self.ids))
        return ids[inverse].reshape(codes.shape), present[~known]


def read_description(path: Path) -> Description:
    """What the file says.

    Raises:
        UserError: it says nothing that can be meant.
    """
    described = read_yaml(path)
    if not isinstance(described, dict) or not described.get("classes"):
        raise UserError(
            f"folder: {path} needs `classes:` with a name per class."
            f"{_of_names(described)}"
        )
    unknown = sorted(set(map(str, described)) - _KEYS)
    if unknown:
        raise UserError(
            f"folder: nothing reads {unknown[0]!r} in {path}; the keys are "
            f"{', '.join(sorted(_KEYS))}."
        )
    try:
        return _understood(described)
    except ValueError as error:
        raise UserError(f"folder: {path}: {error}") from error


def size(path: Path, described: Mapping[str, Any]) -> tuple[int, int] | None:
    """The height and width that the content of a `dataset.yaml` asks for, if any."""
    try:
        return _hw(described.get("size"))
    except ValueError as error:
        raise UserError(f"folder: {path}: {error}") from error


def read_yaml(path: Path) -> Any:
    """The file's content; yes, no, on, off and dates are words.

    Raises:
        UserError: it cannot be read, is not YAML, or a key is written twice.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise UserError(
                f"folder: {path} has {size >> 20} MB; a description has some lines, so "
                "this is another file of that name."
            )
        content = path.read_bytes()  # of UTF-16 and byte order marks YAML knows itself
    except OSError as error:
        raise UserError(
            f"folder: {path} cannot be read ({error.strerror}); it should be a file "
            "that describes the data set."
        ) from error
    try:
        return yaml.load(content, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        if re.search(rb"[\s:,\[]#[0-9a-fA-F]{6}\b", content):
            reason += '; a colour needs quotes, "#804080", for # begins a comment'
        raise UserError(f"folder: {path} is not YAML ({reason}).") from error


class _Loader(yaml.SafeLoader):
    """YAML without truth values and dates, and without keys that are written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value!r} is written twice",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [r for r in resolvers if not r[0].endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _understood(described: Mapping[str, Any]) -> Description:
    classes = _classes(described["classes"])
    of_class = {name: _listed(name, value) for name, value in classes.items()}
    void = described.get("void")
    void_others = void == OTHERS
    listed = [] if void is None or void_others else _listed("void", void)
    every = [*of_class.values(), listed]
    in_colours = any(isinstance(v, str) for values in every for v in values)
    if in_colours:  # where it cannot be meant as values, [128, 64, 128] is a colour
        of_class = {name: _with_triples(values) for name, values in of_class.items()}
        listed = _with_triples(listed)
    every = [*of_class.values(), listed]
    for words in (v for values in every for v in values if isinstance(v, str)):
        _colour(words)
    if len({isinstance(v, str) for values in every for v in values}) > 1:
        raise ValueError("classes and void are all values or all colours, not both.")
    code = _colour if in_colours else _value
    ids: dict[int, int] = {}
    rows = [(k, v) for k, values in enumerate(of_class.values()) for v in values]
    for train_id, value in [*rows, *((VOID, v) for v in listed)]:
        if code(value) in ids:
            raise ValueError(f"{value!r} is given twice.{_triples(classes)}")
        ids[code(value)] = train_id
    if void is None and not in_colours:
        ids.setdefault(VOID, VOID)
    shown = described.get("colours") or {}
    if not isinstance(shown, dict):
        raise ValueError('colours: write  road: "#804080"  a class.')
    shown = {str(name): _colour(colour) for name, colour in shown.items()}
    unknown = sorted(set(shown) - set(of_class))
    if unknown:
        raise ValueError(f"colours: there is no class {unknown[0]!r}.")
    if in_colours:
        shown = {n: _colour(values[0]) for n, values in of_class.items()} | shown
    first = () if in_colours else tuple(_value(v[0]) for v in of_class.values())
    values = first if first != tuple(range(len(first))) else ()
    return Description(
        ClassTable(tuple(of_class), palette(list(of_class), shown), values=values),
        in_colours,
        ids,
        void_others,
        _hw(described.get("size")),
        _pattern(described.get("labels", _PARTNER)),
    )


def _of_names(described: Any) -> str:
    """The lines to write for the `names` of another tool's file."""
    names = described.get("names") if isinstance(described, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return ""
    lines = "\n".join(f"  {name}: {value}" for value, name in names.items())
    return f" For its `names` that is\nclasses:\n{lines}"


def _classes(classes: Any) -> dict[str, Any]:
    """Name -> what is written beside it; of a list its position."""
    if isinstance(classes, list):
        if any(isinstance(name, dict | list) or name is None for name in classes):
            raise ValueError(
                "classes are either a list of names alone (their values are 0, 1, 2, "
                "...) or  name: value  lines without a dash."
            )
        names = list(map(str, classes))
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"the class {twice[0]!r} is given twice.")
        classes = {name: value for value, name in enumerate(names)}
    if not isinstance(classes, dict):
        raise ValueError(f"classes are  name: value  lines or a list, got {classes!r}.")
    if all(isinstance(name, int) and isinstance(v, str) for name, v in classes.items()):
        lines = "\n".join(f"  {name}: {value}" for value, name in classes.items())
        raise ValueError(f"a class is written  name: value:\nclasses:\n{lines}")
    if len(classes) < 2:
        raise ValueError(
            "one class cannot be told from anything; name what is around it too, such "
            "as  background: 0."
        )
    if len(classes) >= VOID:
        raise ValueError(f"at most {VOID - 1} classes, got {len(classes)}.")
    return {str(name): value for name, value in classes.items()}


def _listed(name: str, value: Any) -> list:
    if value is None:
        raise ValueError(
            f"{name} has no value. After a blank # begins a comment: if it is a "
            f'colour, write  {name}: "#804080"  with quotes.'
        )
    values = value if isinstance(value, list) else [value]
    if None in values:
        return _listed(name, None)
    if not values and name != "void":
        raise ValueError(f"{name} has no value; a class needs at least one.")
    return values


def _is_triple(values: Any) -> bool:
    whole = isinstance(values, list) and all(isinstance(v, int) for v in values)
    return whole and len(values) == 3 and all(0 <= v <= 255 for v in values)


def _hex(triple: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*triple)


def _with_triples(values: list) -> list:
    """Colours, of which some may be written `[r, g, b]`."""
    if _is_triple(values):
        return [_hex(values)]
    return [_hex(value) if _is_triple(value) else value for value in values]


def _triples(classes: Mapping[str, Any]) -> str:
    """What to write for lists that look like colours."""
    lines = [f'  {n}: "{_hex(v)}"' for n, v in classes.items() if _is_triple(v)]
    if not lines:
        return ""
    return (
        " A list holds several values of one class; if these are colours, write\n"
        "classes:\n" + "\n".join(lines)
    )


def _value(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= _HIGHEST:
        raise ValueError(f"{value!r} is no value of a label image (0 to {_HIGHEST}).")
    return value


def _colour(colour: Any) -> int:
    if _is_triple(colour):
        colour = _hex(colour)
    if not re.fullmatch("#[0-9a-fA-F]{6}", str(colour)):
        raise ValueError(
            f'{colour!r} is no colour; write one as "#804080", in quotes, and a value '
            f"as a number (void may be `{OTHERS}`)."
        )
    return int(colour[1:], 16)


def palette(
    names: Sequence[str], shown: Mapping[str, int]
) -> tuple[tuple[int, int, int], ...]:
    """A colour per name: that of `shown`, 0xRRGGBB, or one unlike the others."""
    palette = []
    for train_id, name in enumerate(names):
        if name in shown:
            code = shown[name]
            palette.append((code >> 16, code >> 8 & 255, code & 255))
        else:  # hues that lie apart: steps of the golden ratio
            hue = train_id * 0.618034 % 1
            rgb = colorsys.hsv_to_rgb(hue, 0.75, 0.9 - 0.35 * (train_id % 2))
            r, g, b = (round(255 * part) for part in rgb)
            palette.append((r, g, b))
    return tuple(palette)


def _hw(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    whole = isinstance(size, list) and all(isinstance(n, int) and n > 0 for n in size)
    if not whole or len(size) != 2:
        raise ValueError(f"size must be [height, width], got {size!r}.")
    return tuple(size)


def _pattern(labels: Any) -> str:
    text = str(labels)
    suffix = next((s for s in SUFFIXES if text.lower().endswith(s)), "")
    text = text[: len(text) - len(suffix)]
    if text.count(_PARTNER) != 1 or "/" in text:
        raise ValueError(
            f"labels is {labels!r}; write how a label image of the picture {_PARTNER} "
            'is called, such as  labels: "{name}_mask".'
        )
    return text
