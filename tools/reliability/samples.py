"""The whole files that `hostile` damages, and those that were made to do harm."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from jaxseg.convert.files import read_state_dict
from jaxseg.data.classes import CAMVID
from jaxseg.data.loaders import resident_arrays
from jaxseg.data.pictures import read_rgb
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import Cityscapes, Folder
from jaxseg.runs import Run, describe
from tools.reliability import toy

TOKENS = (b"null", b"-1", b"1e999", b"{}", b"[]", b"\xff", b"\0", b"'", b"NaN", b"*a")
TOKENS += (b"99999999999999999999", b"&a", b"- ", b": ", b'"', b"'#12'", b"../", b"{")
TOKENS += (b"!!python/object/apply:os.system [touch ran]", b"inf", b"true", b"[[[[")

_COCO = {
    "images": [
        {"id": 1, "file_name": "images/train/a.png", "height": 4, "width": 6},
        {"id": 2, "file_name": "images/val/a.png", "height": 4, "width": 6},
    ],
    "annotations": [
        {"image_id": 1, "category_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3]]},
        {"image_id": 2, "category_id": 1, "segmentation": {"counts": [3, 4, 17]}},
    ],
    "categories": [{"id": 1, "name": "x"}],
}
DESCRIPTIONS = {
    "dataset.yaml": 'classes:\n  road: 7\n  sky: [2,3]\nvoid: [0]\nlabels: "{name}_m"\n'
    'colours: {road: "#804080"}\nsize: [4, 6]\n',
    "data.yaml": "train: images/train\nval: images/val\nnames:\n  0: a\n  1: b\n",
    "result.json": json.dumps(_COCO),
    "pairs.csv": "image,label,split\nimages/train/a.png,labels/train/a_m.png,train\n"
    "images/val/a.png,labels/val/a_m.png,val\n",
    "labelmap.txt": "background:0,0,0::\nroad:1,2,3::\n",
}


def pictures() -> dict[str, bytes]:
    """Whole pictures; a name begins with the suffix."""
    found = {}
    for name, mode, more in (
        ("png", "RGB", {}),
        ("png palette", "P", {}),
        ("png grey", "L", {}),
        ("png alpha", "RGBA", {}),
        ("jpg", "RGB", {}),
        ("tif", "RGB", {}),
        ("tif 16 bit", "I;16", {"compression": "tiff_lzw"}),
        ("webp", "RGB", {}),
        ("gif", "P", {}),
        ("bmp", "RGB", {}),
    ):
        found[name] = _encoded(name.split()[0], mode, **more)
    return found


def _encoded(suffix: str, mode: str, **more) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    if kind not in ("BMP", "GIF"):
        more["exif"] = exif
    wide = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    picture = wide if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    picture.save(file, kind, **more)
    return file.getvalue()


def write_set(root: Path, described_by: str) -> Path:
    """A set of two pictures of 4x6 that `DESCRIPTIONS[described_by]` describes."""
    cvat = described_by == "labelmap.txt"
    label = np.array([[0, 7, 7, 2, 2, 2]] * 4, np.uint8)
    colours = np.array([(0, 0, 0), (1, 2, 3)], np.uint8)[(label > 2).astype(int)]
    suffix = "_m" if described_by in ("dataset.yaml", "pairs.csv") else ""
    for split in ("train", "val"):
        for kind, name, pixels in (
            ("JPEGImages" if cvat else "images", "a", np.zeros((4, 6, 3), np.uint8)),
            ("SegmentationClass" if cvat else "labels", f"a{suffix}", label),
        ):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
            array = colours if kind == "SegmentationClass" else pixels
            Image.fromarray(array).save(root / kind / split / f"{name}.png")
        if described_by == "data.yaml":
            (root / "labels" / split / "a.png").unlink()
            (root / "labels" / split / "a.txt").write_text("0 0 0 1 0 1 1\n")
    if cvat:  # as it is exported: in one folder, with lists of names
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        for split in ("train", "val"):
            for kind in ("JPEGImages", "SegmentationClass"):
                os.rename(root / kind / split / "a.png", root / kind / f"{split}.png")
            (lists / f"{split}.txt").write_text(f"{split}\n")
    if described_by == "pairs.csv":
        (root / "dataset.yaml").write_text("classes: {road: 7, sky: 2}\nvoid: 0")
    (root / described_by).write_text(DESCRIPTIONS[described_by])
    return root


def weights(shapes: list[tuple[int, ...]]) -> dict[str, bytes]:
    """PyTorch's two formats, Darknet's of convolutions of `shapes`, a run's record."""
    files = toy.ROOT / "tests" / "convert" / "files"
    rng = np.random.default_rng(0)
    count = sum(int(np.prod(shape)) + 4 * shape[0] for shape in shapes)
    head = np.array([0, 2, 0], "<i4").tobytes() + np.array(32013, "<i8").tobytes()
    model = {"name": "dabnet", "num_classes": len(CAMVID)}
    record = describe(model, CAMVID, Preprocess(), {"data": {"name": "camvid"}})
    return {
        "zip.pth": (files / "zip.pth").read_bytes(),
        "legacy.pth": (files / "legacy.pth").read_bytes(),
        "net.weights": head + rng.normal(size=count).astype("<f4").tobytes(),
        "run.json": json.dumps(record, indent=2).encode(),
    }


def write_cityscapes_zips(root: Path) -> Path:
    """The official zip files, with one small picture too many bytes would hide in."""
    root.mkdir()
    name = "val/munster/munster_000000_000000"
    image = Image.new("RGB", (2048, 1024), (90, 90, 90))
    label = Image.new("L", (2048, 1024), 7)
    for archive, folder, kind, picture in (
        ("leftImg8bit_trainvaltest.zip", "leftImg8bit", "leftImg8bit", image),
        ("gtFine_trainvaltest.zip", "gtFine", "gtFine_labelIds", label),
    ):
        file = io.BytesIO()
        picture.save(file, "PNG", compress_level=9)
        with zipfile.ZipFile(root / archive, "w") as written:
            written.writestr(f"{folder}/{name}_{kind}.png", file.getvalue())
    return root


class _Harmful:
    """Pickled, it is a program that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


Crafted = dict[str, tuple[Path, Callable[[], bool]]]


def crafted(root: Path) -> Crafted:
    """By name, a file that was made to do harm and what reads it.

    What reads it raises `UserError`, or says whether it did read it rightly.
    """
    root.mkdir()
    return {
        **_bombs(root),
        **_programs(root),
        **_nested(root),
        **_folders(root),
    }


def unfinished_png(width: int, height: int) -> bytes:
    """A PNG whose header promises more than follows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def _bombs(root: Path) -> Crafted:
    header = root / "header.png"
    header.write_bytes(unfinished_png(60_000, 10_000))
    below = root / "below.png"  # Pillow's limit
    below.write_bytes(unfinished_png(12_000, 12_000))
    zips = write_cityscapes_zips(root / "deflated")
    label = zips / "gtFine_trainvaltest.zip"
    with zipfile.ZipFile(label) as archive:
        (name,) = archive.namelist()
    with zipfile.ZipFile(label, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(name, "w", force_zip64=True) as member:
            for _ in range(2300):
                member.write(bytes(1 << 20))
    escaping = write_cityscapes_zips(root / "escaping")
    with zipfile.ZipFile(escaping / "gtFine_trainvaltest.zip", "a") as archive:
        for evil in ("../../../evil_gtFine_labelIds.png", "/tmp/evil.png"):
            archive.writestr(f"gtFine/val/{evil}", b"evil")

    def read(folder: Path) -> Callable[[], bool]:
        def scene() -> bool:
            source = Cityscapes(folder)
            return source.read("val", source.ids("val")[0])[1].max() == 0

        return scene

    return {
        "600 million pixels promised": (header, lambda: bool(read_rgb(header, header))),
        "144 million pixels promised": (below, lambda: bool(read_rgb(below, below))),
        "a zip that inflates to 2.3 GB": (label, read(zips)),
        "names in a zip that leave it": (escaping, read(escaping)),
    }


def _programs(root: Path) -> Crafted:
    ran = root / "ran"
    content = pickle.dumps({"a": _Harmful(ran)})
    zipped, legacy = root / "evil.pth", root / "evil_legacy.pth"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("evil/data.pkl", content)
    legacy.write_bytes(content)
    inflating = root / "inflating.pth"
    with zipfile.ZipFile(inflating, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(100 << 20))
    data = toy.write_pictures(root / "toy", 2, 1)
    os.environ["JAXSEG_CACHE"] = str(root / "cache")
    source = Folder(data)
    truth = resident_arrays(source, "train")
    (prepared,) = (root / "cache" / "data").rglob("train.npz")
    evil = np.array([_Harmful(ran)], dtype=object)
    np.savez(prepared, ids=truth["ids"], images=evil, labels=truth["labels"])

    def again() -> bool:
        found = resident_arrays(source, "train")
        return np.array_equal(found["images"], truth["images"]) and not ran.exists()

    yaml = write_set(root / "yaml", "dataset.yaml")
    (yaml / "dataset.yaml").write_text(
        f"classes: !!python/object/apply:os.system ['touch {ran}']\n"
    )
    return {
        "a program in a .pth": (zipped, lambda: bool(read_state_dict(zipped))),
        "a program in an old .pth": (legacy, lambda: bool(read_state_dict(legacy))),
        "a .pth that inflates": (inflating, lambda: bool(read_state_dict(inflating))),
        "a program in prepared data": (prepared, again),
        "a program in dataset.yaml": (yaml, lambda: bool(Folder(yaml).splits)),
    }


def _nested(root: Path) -> Crafted:
    found: Crafted = {}
    deep = 100_000
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    for what, name, content in (
        ("aliases of aliases in YAML", "dataset.yaml", laughs + "classes: *a9\n"),
        ("brackets in brackets in YAML", "dataset.yaml", "classes: " + "[" * deep),
        ("brackets in brackets in JSON", "result.json", "[" * deep),
        ("dataset.yaml of 60 MB", "dataset.yaml", "# padding\n" * 6_000_000),
    ):
        folder = write_set(root / f"nested-{len(found)}", name)
        (folder / name).write_text(content)
        found[what] = folder, lambda folder=folder: bool(Folder(folder).splits)
    run = root / "nested-run"
    run.mkdir()
    (run / "run.json").write_text('{"format": ' + "[" * deep)
    found["brackets in brackets in run.json"] = run, lambda: bool(Run(run).record)
    return found


def _folders(root: Path) -> Crafted:
    loops = write_set(root / "loops", "dataset.yaml")
    (loops / "images" / "train" / "round").symlink_to(loops / "images")
    (loops / "images" / "train" / "itself.png").symlink_to("itself.png")
    pipe = write_set(root / "pipe", "dataset.yaml")
    os.mkfifo(pipe / "images" / "train" / "pipe.png")
    folder = write_set(root / "folder", "dataset.yaml")
    (folder / "dataset.yaml").unlink()
    (folder / "dataset.yaml").mkdir()
    outside = write_set(root / "outside", "pairs.csv")
    (outside / "pairs.csv").write_text(
        "image,label,split\n/etc/passwd,../../../etc/passwd,train\n"
    )

    def whole(where: Path) -> Callable[[], bool]:
        def read() -> bool:
            source = Folder(where)
            shapes = [source.read("train", s)[0].shape for s in source.ids("train")]
            return shapes == [(4, 6, 3)]

        return read

    return {
        "links in a circle": (loops, whole(loops)),
        "a pipe called .png": (pipe, whole(pipe)),
        "a folder called dataset.yaml": (folder, whole(folder)),
        "a CSV that names /etc/passwd": (Path("/etc/passwd"), whole(outside)),
    }


def write_odd_names(root: Path) -> Path:
    """Pictures whose names hold a new line, bytes that are no UTF-8, or brackets."""
    root.mkdir()
    content = _encoded("png", "RGB")
    for name in (b"new\nline.png", b"no\xffutf8.png", b"[red].png", b" .png"):
        with open(os.path.join(os.fsencode(root), name), "wb") as file:
            file.write(content)
    return root
