"""CamVid's original frames: 960x720, labels in 32 colours."""

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from jaxseg.data.classes import CAMVID, VOID
from jaxseg.data.pictures import pack, read_colours, read_rgb
from jaxseg.data.sources.base import check_sizes, describe_files, digest
from jaxseg.errors import UserError

# Colour of the published labels -> class of CAMVID in the merged convention (SegNet's
# and MathWorks'); the first of each class is the colour that the pure one keeps.
_MERGED = {
    "sky": ["808080"],  # Sky
    # Building, Bridge, Wall, Tunnel, Archway
    "building": ["800000", "008040", "40c000", "400040", "c00080"],
    "pole": ["c0c080", "000040"],  # Column_Pole, TrafficCone
    "road": ["804080", "8000c0", "c00040"],  # Road, LaneMkgsDriv, LaneMkgsNonDriv
    "pavement": ["0000c0", "40c080", "8080c0"],  # Sidewalk, ParkingBlock, RoadShoulder
    "tree": ["808000", "c0c000"],  # Tree, VegetationMisc
    "sign": ["c08080", "808040", "004040"],  # SignSymbol, Misc_Text, TrafficLight
    "fence": ["404080"],  # Fence
    # Car, SUVPickupTruck, Truck_Bus, Train, OtherMoving
    "car": ["400080", "4080c0", "c080c0", "c04080", "804040"],
    # Pedestrian, Child, CartLuggagePram, Animal
    "pedestrian": ["404000", "c08040", "4000c0", "408040"],
    "bicyclist": ["0080c0", "c000c0"],  # Bicyclist, MotorcycleScooter
}
_VOID_COLOUR = "000000"
# Labels were painted by hand and hold some pixels of no class at all; more than this
# share of them means that a file is something else, or was resized or compressed.
_STRAY_SHARE = 0.01

# Where the two archives unpack to, and what others call those folders.
_IMAGE_FOLDERS = ("701_StillsRaw_full", "images")
_LABEL_FOLDERS = ("LabeledApproved_full", "labels")


class CamVidRaw:
    """CamVid at 960x720 under one of two conventions, which give other figures.

    `camvid_merged` makes 11 classes of 31 colours; `camvid_pure` keeps the 11 colours
    that bear their names and makes the others void (PIDNet, DDRNet). Splits are those
    of SegNet, by file name: 367 / 101 / 233, whatever folders a copy came in.

    `root` holds `701_StillsRaw_full/*.png` and `LabeledApproved_full/*_L.png`, or the
    same files in `images/` and `labels/`.
    """

    table = CAMVID
    hw = (720, 960)
    splits = ("train", "val", "test", "trainval")
    unlabelled = ()

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self._images = self._folder(_IMAGE_FOLDERS)
        self._labels = self._folder(_LABEL_FOLDERS)
        self._colours, self._classes = _lookup(pure=name == "camvid_pure")

    def _folder(self, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.root / name).is_dir():
                return self.root / name
        raise UserError(
            f"{self.name}: {self.root} holds no folder {' or '.join(names)}; set "
            "--config.data.dir to where CamVid's archives were unpacked."
        )

    def ids(self, split: str) -> list[str]:
        names = [n for part in _parts(split) for n in _published_splits()[part]]
        missing = [str(p) for n in names for p in self._paths(n) if not p.is_file()]
        if missing:
            raise UserError(
                f"{self.name}: {len(missing)} files of {split} are missing, the first "
                f"is {missing[0]}."
            )
        return names

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._images / f"{name}.png", self._labels / f"{name}_L.png"

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        paths = self._paths(sample_id)
        image = read_rgb(paths[0], paths[0])
        colours = read_colours(paths[1], paths[1])
        check_sizes(image, colours[..., 0], paths, self.hw)
        packed = pack(colours)
        found = np.searchsorted(self._colours, packed).clip(max=len(self._colours) - 1)
        known = self._colours[found] == packed
        if (~known).mean() > _STRAY_SHARE:
            raise UserError(
                f"{self.name}: {(~known).mean():.0%} of the pixels of {paths[1]} have "
                f"none of CamVid's 32 colours, such as #{packed[~known][0]:06x}; copy "
                "the original label image again (it must not be resized or "
                "compressed as JPEG)."
            )
        return image, np.where(known, self._classes[found], VOID).astype(np.uint8)

    def fingerprint(self, split: str) -> str:
        paths = [path for name in self.ids(split) for path in self._paths(name)]
        return digest(describe_files(paths))

    def remarks(self, split: str) -> list[str]:
        if self.name == "camvid_pure":
            return ["camvid_pure: 11 pure colours; the 21 others are void."]
        return ["camvid_merged: 31 colours merged into 11 classes; Void is void."]


def _parts(split: str) -> tuple[str, ...]:
    return ("train", "val") if split == "trainval" else (split,)


@cache
def _published_splits() -> dict[str, list[str]]:
    """SegNet's lists, which other copies of CamVid often do not follow."""
    splits: dict[str, list[str]] = {}
    text = resources.files(__package__).joinpath("camvid_splits.txt").read_text()
    for line in text.splitlines():
        split, name = line.split()
        splits.setdefault(split, []).append(name)
    return splits


def _lookup(pure: bool) -> tuple[np.ndarray, np.ndarray]:
    """The known colours as sorted integers, and the train id of each."""
    ids = {_VOID_COLOUR: VOID}
    for train_id, name in enumerate(CAMVID.names):
        for position, colour in enumerate(_MERGED[name]):
            ids[colour] = VOID if pure and position else train_id
    colours = sorted(ids)
    return np.array([int(c, 16) for c in colours]), np.array([ids[c] for c in colours])
