"""Damaged files of a user's folder, seeded: read rightly or refused by name."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.pictures import read_colours, read_indices, read_rgb
from jaxseg.data.sources import Folder
from jaxseg.errors import UserError


def encoded(suffix, mode="RGB", **more):
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


def damaged(content, rng, tokens=()):
    """Cut off, with bits flipped, with bytes left out or with others in their place."""
    at, end = sorted(rng.integers(0, len(content), 2))
    kind = rng.integers(4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        return bytes(flipped)
    token = tokens[rng.integers(len(tokens))] if len(tokens) and kind == 2 else b""
    return content[:at] + token + content[min(end, at + 12) :]


@pytest.mark.parametrize(
    "suffix, more",
    [
        ("png", {}),
        ("png", {"mode": "P"}),
        ("jpg", {}),
        ("tif", {}),
        ("tif", {"mode": "I;16", "compression": "tiff_lzw"}),
        ("webp", {}),
        ("gif", {}),
        ("bmp", {}),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_pictures(tmp_path, suffix, more):
    whole = encoded(suffix, **more)
    path, rng, refused = tmp_path / f"x.{suffix}", np.random.default_rng(1), 0
    for _ in range(60):
        path.write_bytes(damaged(whole, rng))
        for read in (read_rgb, read_indices, read_colours):
            try:
                assert read(path, path).size
            except UserError as error:
                assert str(path) in str(error)
                refused += 1
    assert refused


TOKENS = (b"null", b"-1", b"1e999", b"{}", b"[]", b"\xff", b"\0", b"'", b"NaN", b"*a")
TOKENS += (b"99999999999999999999", b"&a", b"- ", b": ", b'"', b"'#12'", b"../", b"{")
TOKENS += (b"!!python/object/apply:os.system [touch ran]",)
COCO = {
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
FILES = {
    "dataset.yaml": 'classes:\n  road: 7\n  sky: [2,3]\nvoid: [0]\nlabels: "{name}_m"\n'
    'colours: {road: "#804080"}\nsize: [4, 6]\n',
    "data.yaml": "train: images/train\nval: images/val\nnames:\n  0: a\n  1: b\n",
    "result.json": json.dumps(COCO),
    "pairs.csv": "image,label,split\nimages/train/a.png,labels/train/a_m.png,train\n"
    "images/val/a.png,labels/val/a_m.png,val\n",
    "labelmap.txt": "background:0,0,0::\nroad:1,2,3::\n",
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_descriptions(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "val"):
        for kind, file in (("images", "a.png"), ("labels", "a_m.png")):
            (tmp_path / kind / split).mkdir(parents=True)
            mode = "RGB" if kind == "images" else "L"
            Image.new(mode, (6, 4), 7).save(tmp_path / kind / split / file)
        (tmp_path / "labels" / split / "a.txt").write_text("0 0 0 1 0 1 1\n")
    if name == "pairs.csv":
        (tmp_path / "dataset.yaml").write_text("classes: {road: 7, sky: 2}")
    whole, rng = FILES[name].encode(), np.random.default_rng(2)
    for _ in range(150):
        (tmp_path / name).write_bytes(damaged(whole, rng, TOKENS))
        try:
            source = Folder(tmp_path)
            for split in source.splits:
                for sample in source.ids(split):
                    image, label = source.read(split, sample)
                    assert image.shape[:2] == label.shape == source.hw
        except UserError as error:
            assert str(tmp_path) in str(error)
    assert not (tmp_path / "ran").exists()
