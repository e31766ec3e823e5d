"""What travels to a machine with a GPU that has no network.

FOLDER/wheels       packages that are missing there
FOLDER/reference    recorded outputs of the authors' code
FOLDER/camvid-1, FOLDER/camvid-2
                    CamVid's train and val, lossless, in two halves
"""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from rich.progress import track

from jaxseg.errors import UserError

# Pure Python, and not among what such a machine was seen to have.
WHEELS = ("ml_collections", "tensorboardX", "onnx2torch")
HALVES = ("camvid-1", "camvid-2")
HALF_LIMIT_MB = 45  # of each half: what may travel with the working tree in a call
SPLITS = ("train", "val")


def pack(camvid: Path, reference: Path, folder: Path) -> None:
    """Fills `folder`, says how large each part is, and checks the pictures.

    Raises:
        UserError: something is missing, or a half is too large.
    """
    for source in (camvid / "train", reference / "fixtures"):
        if not source.is_dir():
            raise UserError(f"there is no folder {source}.")
    _wheels(folder / "wheels")
    _reference(reference, folder / "reference")
    _pictures(camvid, folder)
    for part in sorted(folder.iterdir()):
        size = sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
        print(f"{part}: {1e-6 * size:.1f} MB")
        if part.name in HALVES and size > 1e6 * HALF_LIMIT_MB:
            raise UserError(f"{part} is larger than {HALF_LIMIT_MB} MB.")


def _wheels(folder: Path) -> None:
    download = "pip", "download", "-q", "--no-deps", "-c", "constraints.txt"
    command = [sys.executable, "-m", *download, "--dest", str(folder), *WHEELS]
    if subprocess.run(command).returncode:
        raise UserError(f"pip could not download {', '.join(WHEELS)}; see above.")


def _reference(source: Path, folder: Path) -> None:
    """All that `tools.parity` reads: of FPENet there are other readings, too."""
    ignore = shutil.ignore_patterns("fpenet_esn*", "fpenet_zh*")
    shutil.copytree(source, folder, ignore=ignore, dirs_exist_ok=True)


def _pictures(camvid: Path, folder: Path) -> None:
    """Pictures as lossless WebP, label images as they are; every second to each."""
    pairs = [
        (path, camvid / f"{split}annot" / path.name, split)
        for split in SPLITS
        for path in sorted((camvid / split).glob("*.png"))
    ]

    def write(numbered) -> None:
        number, (picture, label, split) = numbered
        half = folder / HALVES[number % 2]
        for name in (split, f"{split}annot"):
            (half / name).mkdir(parents=True, exist_ok=True)
        target = half / split / f"{picture.stem}.webp"
        with Image.open(picture) as image:
            image.convert("RGB").save(target, lossless=True, quality=90, method=4)
            with Image.open(target) as back:
                if back.convert("RGB").tobytes() != image.convert("RGB").tobytes():
                    raise UserError(f"{target} does not hold what {picture} holds.")
        shutil.copy(label, half / f"{split}annot" / label.name)

    with ThreadPoolExecutor() as pool:
        done = pool.map(write, enumerate(pairs))
        for _ in track(done, "Packing CamVid", total=len(pairs)):
            pass


def unpack(carried: Path, camvid: Path) -> list[str]:
    """Copies the halves in `carried` to `camvid`; the names of those still missing."""
    for half in HALVES:
        if (carried / half).is_dir():
            shutil.copytree(carried / half, camvid, dirs_exist_ok=True)
            (camvid / f"{half}.there").touch()
    return [half for half in HALVES if not (camvid / f"{half}.there").is_file()]
