"""A look at a data set before hours go into it: what is wrong, and what it holds."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from jaxseg.data.classes import VOID
from jaxseg.data.sources import (
    Source,
    check_classes,
    check_split,
    is_training,
)
from jaxseg.errors import UserError

# A share of void in a labelled split that is worth a word: CamVid's val has 1.7 %.
# Read as label ids, train ids 0 to 6 are void, road and building among them.
_MUCH_VOID = 0.5
# What train.py asks for, unless it is told otherwise.
_NEEDED = ("train", "val")
_no_counts = partial(np.zeros, 0, np.int64)


@dataclass
class SplitReport:
    """What was found in one split.

    Attributes:
        samples: how many were listed.
        errors: a sentence for everything that training cannot start with.
        remarks: a sentence for what training does not mind and its user might.
        pixels: by train id, the last one void; int64 `(k + 1,)`.
        pictures: in how many pictures each of those occurs; int64 `(k + 1,)`.
        class_pixels_where: pixels of the pictures that a class occurs in; for median
            frequency.
        digests: of every picture's pixels, by sample id.
    """

    split: str
    samples: int
    errors: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=_no_counts)
    pictures: np.ndarray = field(default_factory=_no_counts)
    class_pixels_where: np.ndarray = field(default_factory=_no_counts)
    digests: dict[str, str] = field(default_factory=dict)


def check_quickly(source: Source, splits: Sequence[str]) -> None:
    """Lists the files of `splits` and reads the first picture of each.

    Raises:
        UserError: training cannot start; the sentence is the first thing found.
    """
    for split in splits:
        check_split(source, split)
        source.read(split, source.ids(split)[0])


def check(
    source: Source, splits: Sequence[str], console: Console | None = None
) -> list[SplitReport]:
    """Reads every sample of `splits`; what cannot be read is listed, all of it."""
    reports = [_check_split(source, split, console) for split in splits]
    owner: dict[str, str] = {}
    for report in reports:
        for sample_id, digest in report.digests.items():
            name = f"{report.split}/{sample_id}"
            if digest in owner and owner[digest].split("/")[0] != report.split:
                report.remarks.append(
                    f"{name} is the same picture as {owner[digest]}: remove one, or a "
                    "score means nothing."
                )
            owner.setdefault(digest, name)
    return reports


def _check_split(source: Source, split: str, console: Console | None) -> SplitReport:
    try:
        ids = source.ids(split)
    except UserError as error:
        return SplitReport(split, 0, [str(error)])
    k = len(source.table)
    report = SplitReport(split, len(ids))
    report.pixels, report.pictures, report.class_pixels_where = np.zeros(
        (3, k + 1), np.int64
    )

    def look(sample_id: str):
        try:
            image, label = source.read(split, sample_id)
        except UserError as error:
            return sample_id, str(error), None, None
        counts = np.bincount(np.where(label == VOID, k, label).ravel(), minlength=k + 1)
        return sample_id, None, hashlib.sha256(image.data).hexdigest(), counts

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looked = track(
            pool.map(look, ids),
            f"Reading {source.name} {escape(split)}",
            len(ids),
            console=console,
            transient=True,
        )
        for sample_id, wrong, digest, counts in looked:
            if wrong:
                report.errors.append(wrong)
                continue
            report.digests[sample_id] = digest
            report.pixels += counts
            report.pictures += counts > 0
            report.class_pixels_where += np.where(counts > 0, counts.sum(), 0)
    if split not in source.unlabelled and report.digests:
        try:
            check_classes(source, split, np.flatnonzero(report.pixels[:k]).tolist())
        except UserError as error:
            report.errors.append(str(error))
        void = report.pixels[k] / report.pixels.sum()
        if void > _MUCH_VOID:
            guess = ""
            if source.name == "cityscapes":
                guess = (
                    ": its label images are probably train ids where label ids are "
                    "expected; put back the original files, jaxseg maps ids itself"
                )
            report.remarks.append(
                f"{void:.0%} of the pixels of {split} are void{guess}."
            )
    return report


def weights(report: SplitReport) -> dict[str, np.ndarray]:
    """Suggested class weights by rule, float64 `(k,)`; NaN for classes that are absent.

    ENet (arXiv:1606.02147, section 5.2): 1 / ln(1.02 + share); ERFNet's code: 1.10;
    median frequency (SegNet, arXiv:1511.00561): the median of the classes' frequencies
    over this one's, a frequency being counted in the pictures that have the class.
    """
    pixels = report.pixels[:-1].astype(float)
    share = pixels / max(pixels.sum(), 1)
    where = report.class_pixels_where[:-1].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        frequency = np.where(where > 0, pixels / where, np.nan)
    present = pixels > 0
    median = np.median(frequency[present]) if present.any() else np.nan
    rules = {
        "ENet": 1 / np.log(1.02 + share),
        "ERFNet": 1 / np.log(1.10 + share),
        "median frequency": median / frequency,
    }
    return {name: np.where(present, values, np.nan) for name, values in rules.items()}


def print_report(source: Source, report: SplitReport, console: Console) -> None:
    """A table of classes, weights to paste, and what is wrong."""
    console.rule(escape(f"{source.name} {report.split}: {report.samples} pictures"))
    labelled = report.split not in source.unlabelled
    if labelled and report.pixels.sum():
        rules = weights(report) if is_training(report.split) else {}
        table = Table()
        for column in ("id", "class", "pixels %", "pictures", *rules):
            table.add_column(column, justify="left" if column == "class" else "right")
        total = report.pixels.sum()
        for i, name in enumerate((*source.table.names, "void")):
            values = [f"{w[i]:.4g}" for w in rules.values()] if name != "void" else []
            table.add_row(
                str(i) if name != "void" else str(VOID),
                escape(name),
                f"{100 * report.pixels[i] / total:.3f}",
                str(report.pictures[i]),
                *values,
            )
        console.print(table)
        if rules:
            ours = ",".join(f"{w:.4g}" for w in np.nan_to_num(rules["ERFNet"], nan=1.0))
            console.print(f"--config.loss.class_weights='({ours})'", soft_wrap=True)
        absent = [n for n, p in zip(source.table.names, report.pixels) if p == 0]
        if absent:
            names = escape(", ".join(absent))
            console.print(f"never occurs: {names}", soft_wrap=True)
    for remark in report.remarks:
        console.print(f"[yellow]remark:[/yellow] {escape(remark)}", soft_wrap=True)
    advised = False
    for error in report.errors:
        sentence, _, lines = error.partition("\n")  # to paste, once
        text = escape(sentence if advised else error)
        console.print(f"[red]error:[/red] {text}", soft_wrap=True)
        advised = advised or bool(lines)


def look_over(source: Source, splits: Sequence[str], console: Console) -> None:
    """Prints all that `check` finds in `splits`, or in all there are.

    Raises:
        UserError: training cannot start from them.
    """
    chosen = tuple(splits) or _present(source)
    for split in chosen:
        check_split(source, split, labelled=False)
    h, w = source.hw
    console.print(f"{source.name}: {len(source.table)} classes, {w}x{h} pixels.")
    for remark in dict.fromkeys(r for split in chosen for r in source.remarks(split)):
        console.print(remark, soft_wrap=True, markup=False)
    reports = check(source, chosen, console)
    for report in reports:
        print_report(source, report, console)
    wrong = sum(len(report.errors) for report in reports)
    if wrong:
        raise UserError(f"{wrong} things to mend before training (listed above).")
    if not splits:
        check_quickly(source, _NEEDED)
    what = ", ".join(splits) or f"{source.name}'s pictures"
    console.print(f"Nothing is wrong with {what}.", markup=False)


def _present(source: Source) -> tuple[str, ...]:
    """The splits to look at when none is named: those with samples, each once."""
    splits = [s for s in source.splits if s != "trainval"]
    if source.name == "cityscapes":  # few have the coarse ones
        splits = [s for s in splits if s != "train_extra"]
    return tuple(splits)
