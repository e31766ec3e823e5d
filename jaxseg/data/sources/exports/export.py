"""What an export says, and what the readers of all of them do alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxseg.data.classes import VOID, ClassTable
from jaxseg.data.sources.description import Description, palette
from jaxseg.data.sources.pairs import Label, Pair, Pairs, split_by_hash
from jaxseg.errors import UserError

SPLITS = ("train", "val", "test")
BACKGROUND = "background"


@dataclass(frozen=True)
class Export:
    """What `dataset.yaml` and the folders would have said.

    Attributes:
        files: what it was told by.
    """

    files: tuple[Path, ...]
    description: Description
    pairs: Pairs
    remarks: list[str]


def by_value(file: Path, names: Sequence[str]) -> Description:
    """Classes whose values are their positions; 255 is void."""
    if len(set(names)) < len(names) or not 1 < len(names) < VOID:
        raise UserError(
            f"folder: {file} has the classes {', '.join(names)}; it needs 2 to "
            f"{VOID - 1}, each once."
        )
    ids = {value: value for value in (*range(len(names)), VOID)}
    return Description(ClassTable(tuple(names), palette(names, {})), False, ids)


def by_colour(file: Path, colours: Mapping[str, Sequence[int]]) -> Description:
    """Classes that are told by their colours; black is background if nothing else."""
    if BACKGROUND not in colours and [0, 0, 0] not in map(list, colours.values()):
        colours = {BACKGROUND: (0, 0, 0), **colours}
    codes = {name: (r << 16) + (g << 8) + b for name, (r, g, b) in colours.items()}
    ids = {code: train_id for train_id, code in enumerate(codes.values())}
    if len(ids) < len(codes) or not 1 < len(codes) < VOID:
        raise UserError(
            f"folder: {file} must give 2 to {VOID - 1} classes a colour of their own "
            "each."
        )
    return Description(ClassTable(tuple(codes), palette(list(codes), codes)), True, ids)


def with_background(names: Iterable[str]) -> list[str]:
    """Names with `background`, in front if it was not among them."""
    names = list(map(str, names))
    return names if BACKGROUND in names else [BACKGROUND, *names]


def partnered(
    root: Path, pictures: Iterable[Path], label: Callable[[Path], Label | None]
) -> dict[str, Pair]:
    """Pairs by their pictures' paths."""
    pairs = {}
    for picture in pictures:
        partner = label(picture)
        if partner is None:
            raise UserError(f"folder: {picture} has no label image.")
        inside = picture.is_relative_to(root)
        pairs[str(picture.relative_to(root) if inside else picture)] = picture, partner
    return pairs


def in_splits(
    file: Path, found: Mapping[str | None, dict[str, Pair]], remarks: list[str]
) -> tuple[Pairs, list[str]]:
    """Splits, sorted; where none has a name, by a hash."""
    found = {split: dict(sorted(of.items())) for split, of in found.items() if of}
    if not found:
        raise UserError(f"folder: {file}: no picture with a label was found.")
    if list(found) == [None]:
        pairs, more = split_by_hash(found[None])
        return pairs, remarks + more
    return {str(split): found[split] for split in sorted(found, key=str)}, remarks
