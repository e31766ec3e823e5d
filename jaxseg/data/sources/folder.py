"""Any folder of pictures and label images, explained by a small YAML file."""

from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg.data.pictures import NoIndices, pack, read_colours, read_indices, read_rgb
from jaxseg.data.sources import description
from jaxseg.data.sources.base import check_sizes, describe_files, digest
from jaxseg.data.sources.description import OTHERS, read_description
from jaxseg.data.sources.exports import READ, find_export, of_another_tool
from jaxseg.data.sources.pairs import find_pairs
from jaxseg.data.sources.shapes import Drawing
from jaxseg.errors import UserError

# More colours than this are no classes; and less than this share of the pixels is
# what smoothing leaves at edges.
_MOST_COLOURS = 64
_LEAST_SHARE = 1e-3


class Folder:
    """Pairs of a picture and a label image under `root`, which holds `dataset.yaml`:

        classes:             # in the order of the train ids
          road: 7            # a value of the label images, or several: [7, 8]
          sky: "#4682b4"     # or a colour, if the label images are in colours
        void: [0, 255]       # values that are never counted; `others` for all the rest
        colours:             # to show classes that are given by values; optional
          road: "#804080"
        size: [512, 1024]    # height, width to resize everything to; optional
        labels: "{name}_mask"  # how the label image of x.jpg is called; `{name}` else

    `classes: [road, sky]` is short for the values 0 and 1. Without `void` it is 255, if
    that is no class, and nothing for colours; `void: []` is nothing. Any other value or
    colour is an error. Pairs are, by what there is:

    - `pairs.csv` with the columns image, label, split: paths relative to `root`;
    - `images/<split>/` and `labels/<split>/`, where one split is `train`; those without
      label images are passed over, `valid` and `validation` are `val`;
    - `images/` and `labels/`: a tenth, by a hash of the names, is `val`.

    What other tools export is taken without a `dataset.yaml`: see `exports`. Otherwise
    partners have the same name but for `labels` and the suffix, and lie in the same
    sub-folder, if in any.
    """

    name = "folder"
    unlabelled = ()

    def __init__(self, root: Path) -> None:
        self.root = root = root.expanduser()
        export = find_export(root)
        if export:
            self._files, self._description = export.files, export.description
            self._pairs, self._remarks = export.pairs, export.remarks
        else:
            self._files = (root / description.NAME,)
            if not self._files[0].is_file():
                raise UserError(
                    f"folder: there is no {self._files[0]}; write one with the classes "
                    "of your label images, e.g.  classes: {road: 1, grass: 2}  (see "
                    f"docs/data.md). Taken without one are {READ}."
                    f"{of_another_tool(root)}"
                )
            self._description = read_description(self._files[0])
            self._pairs, self._remarks = find_pairs(root, self._description.labels)
        self.table = self._description.table
        self.splits = tuple(self._pairs)

    @cached_property
    def hw(self) -> tuple[int, int]:
        """`size`, or without it the size of the first picture that can be read."""
        if self._description.size:
            return self._description.size
        unreadable: list[UserError] = []
        for image, _ in (pair for of in self._pairs.values() for pair in of.values()):
            try:
                return read_rgb(image, image).shape[:2]
            except UserError as error:
                unreadable.append(error)
        raise unreadable[0]

    def ids(self, split: str) -> list[str]:
        return list(self._pairs[split])

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        paths = self._pairs[split][sample_id]
        image = read_rgb(paths[0], paths[0])
        label = self._read_label(paths[1], image.shape[:2])
        check_sizes(image, label, paths, image.shape[:2])
        if self._description.size and image.shape[:2] != self._description.size:
            wh = self._description.size[::-1]
            resized = Image.fromarray(image).resize(wh, Image.Resampling.BILINEAR)
            mapped = Image.fromarray(label).resize(wh, Image.Resampling.NEAREST)
            return np.asarray(resized), np.asarray(mapped)
        if image.shape[:2] != self.hw:
            raise UserError(
                f"folder: {paths[0]} is {image.shape[1]}x{image.shape[0]}, others are "
                f"{self.hw[1]}x{self.hw[0]}; all must have one size: add `size: "
                f"[{self.hw[0]}, {self.hw[1]}]` to {description.NAME} to resize them."
            )
        return image, label

    @property
    def is_resized(self) -> bool:
        """Whether `read` may return another size than the files have."""
        return self._description.size is not None

    def truth(self, split: str, sample_id: str) -> np.ndarray:
        """Train ids uint8 `(h, w)` as the label image has them, whatever `size` is."""
        picture, label = self._pairs[split][sample_id]
        drawn = isinstance(label, Drawing)  # at the size of its picture
        hw = read_rgb(picture, picture).shape[:2] if drawn else (0, 0)
        return self._read_label(label, hw)

    def fingerprint(self, split: str) -> str:
        files = [*self._files]
        for picture, label in self._pairs[split].values():
            files += [picture, label.path if isinstance(label, Drawing) else label]
        return digest(describe_files(path for path in files if path.exists()))

    def remarks(self, split: str) -> list[str]:
        return self._remarks

    def _read_label(self, path: Path | Drawing, hw: tuple[int, int]) -> np.ndarray:
        """Train ids uint8 `(h, w)`; `hw` is its picture's."""
        if isinstance(path, Drawing):
            codes = path.draw(hw)
        elif self._description.in_colours:
            codes = pack(read_colours(path, path))
        else:
            try:
                codes = read_indices(path, path)
            except NoIndices as error:
                raise UserError(f"folder: {error} {_advice(path)}") from error
        label, unknown = self._description.train_ids(codes)
        if unknown.size and not self._description.void_others:
            in_colours = self._description.in_colours
            written = [f"#{c:06x}" if in_colours else str(c) for c in unknown[:8]]
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            hint = f"to `void` (`void: {OTHERS}` takes all)"
            if in_colours and (unknown == (unknown & 0xFF) * 0x10101).all():  # grey
                hint += "; if it holds values, not colours, write  name: 7  a class"
            raise UserError(
                f"folder: {path} holds {', '.join(written)}{more} in "
                f"{np.isin(codes, unknown).sum()} pixels, which {self._files[0].name} "
                f"does not name; add them to a class or {hint}."
            )
        return label


def _advice(path: Path) -> str:
    """What to write in `dataset.yaml` for a label image that is in colours."""
    codes, counts = np.unique(pack(read_colours(path, path)), return_counts=True)
    shares = counts / counts.sum()
    order = [i for i in np.argsort(-shares) if shares[i] >= _LEAST_SHARE]
    if len(codes) < 2 or not 2 <= len(order) <= _MOST_COLOURS:
        return (
            "It looks like a picture, or like a mask that was smoothed, resized or "
            "compressed: export it again, with one flat colour or value per class."
        )
    lines = [
        f'  class_{n}: "#{codes[i]:06x}"  # {shares[i]:.1%} of the pixels'
        for n, i in enumerate(order)
    ]
    if len(order) < len(codes):  # the edges between them were smoothed
        lines.append(f"void: {OTHERS}  # {1 - shares[order].sum():.1%}, smoothed edges")
    return "\n".join(
        [f"If its colours are classes, write in {description.NAME}", "classes:", *lines]
    )
