"""CamVid as SegNet published it."""

from pathlib import Path

import numpy as np

from jaxseg.data.classes import CAMVID, VOID
from jaxseg.data.sources.base import (
    check_sizes,
    describe_files,
    digest,
    read_indices,
    read_rgb,
)
from jaxseg.errors import UserError


class CamVid:
    """CamVid at 480x360, 11 classes; 11 in a file is void.

    `root` holds `train/ trainannot/ val/ valannot/ test/ testannot/`; a picture and its
    label image have the same file name. `trainval` is `train` followed by `val`.
    Pictures may be lossless `.webp` files of the same names, which are smaller.
    """

    name = "camvid"
    table = CAMVID
    hw = (360, 480)
    splits = ("train", "val", "test", "trainval")
    unlabelled = ()
    _VOID_IN_FILES = 11
    _PICTURES = (".png", ".webp")

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise UserError(
                f"camvid: there is no folder {root}; set --config.data.dir to the "
                "folder that holds train/ and trainannot/."
            )

    def ids(self, split: str) -> list[str]:
        if split == "trainval":
            return [f"{s}/{name}" for s in ("train", "val") for name in self.ids(s)]
        images, labels = self.root / split, self.root / f"{split}annot"
        for folder in (images, labels):
            if not folder.is_dir():
                raise UserError(
                    f"camvid: there is no folder {folder}; every split needs its "
                    f"pictures in {split}/ and its label images in {split}annot/."
                )
        names = sorted({p.stem for s in self._PICTURES for p in images.glob(f"*{s}")})
        unlabelled = [name for name in names if not (labels / f"{name}.png").is_file()]
        if unlabelled:
            raise UserError(
                f"camvid: {len(unlabelled)} of {len(names)} pictures in {images} have "
                f"no label image in {labels}, the first is {unlabelled[0]}.png."
            )
        if not names:
            raise UserError(f"camvid: {images} holds no pictures (.png or .webp).")
        return names

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        if split == "trainval":
            split, sample_id = sample_id.split("/")
        found = [self.root / split / f"{sample_id}{s}" for s in self._PICTURES]
        image_path = next((path for path in found if path.is_file()), found[0])
        label_path = self.root / f"{split}annot" / f"{sample_id}.png"
        image = read_rgb(image_path, image_path)
        label = read_indices(label_path, label_path)
        check_sizes(image, label, (image_path, label_path), self.hw)
        wrong = label > self._VOID_IN_FILES
        if wrong.any():
            raise UserError(
                f"camvid: {label_path} holds the value {label[wrong][0]} in "
                f"{wrong.sum()} pixels; label images hold class indices 0 to "
                f"{len(self.table) - 1} and {self._VOID_IN_FILES} for void."
            )
        return image, np.where(label == self._VOID_IN_FILES, VOID, label)

    def fingerprint(self, split: str) -> str:
        splits = ("train", "val") if split == "trainval" else (split,)
        folders = [self.root / f"{s}{kind}" for s in splits for kind in ("", "annot")]
        paths = [
            path
            for folder in folders
            for suffix in self._PICTURES
            for path in sorted(folder.glob(f"*{suffix}"))
        ]
        return digest(describe_files(paths))

    def remarks(self, split: str) -> list[str]:
        return []
