"""What is read from disk or drawn, and what a damaged folder is answered with."""

import shutil

import numpy as np
import pytest
from conftest import shared_or_skip
from PIL import Image

from jaxseg.data.classes import CAMVID, CITYSCAPES
from jaxseg.data.sources import CamVid, Streets, check_split, open_source
from jaxseg.errors import UserError


@pytest.fixture
def tree(camvid_tree, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(camvid_tree, tmp_path / "camvid")


def test_camvid_has_the_published_splits_and_void():
    source = CamVid(shared_or_skip("camvid"))
    counts = {split: len(source.ids(split)) for split in source.splits}
    assert counts == {"train": 367, "val": 101, "test": 233, "trainval": 468}
    path = source.root / "valannot" / f"{source.ids('val')[7]}.png"
    raw = np.asarray(Image.open(path))
    image, label = source.read("val", source.ids("val")[7])
    assert image.shape == (360, 480, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(label == 255, raw == 11)
    np.testing.assert_array_equal(label[raw < 11], raw[raw < 11])
    assert len(source.table) == 11


def test_reads_rgb_in_that_order(tree):
    path = tree / "train" / "train_000.png"
    Image.new("RGB", (480, 360), (10, 20, 30)).save(path)
    image, _ = CamVid(tree).read("train", "train_000")
    assert image[0, 0].tolist() == [10, 20, 30]


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*config\.data\.dir"):
        open_source("camvid", str(tmp_path / "nowhere"))


def test_unknown_data_set_and_split(tree):
    with pytest.raises(UserError, match="'kitti'; there are: camvid, .*, streets"):
        open_source("kitti")
    with pytest.raises(UserError, match="no split 'dev'; there are: train, val, test"):
        check_split(CamVid(tree), "dev")


def test_trainval_is_train_then_val(tree):
    source = CamVid(tree)
    ids = source.ids("trainval")
    assert len(ids) == 16 + 3
    for index, (split, position) in {2: ("train", 2), 17: ("val", 1)}.items():
        expected = source.read(split, source.ids(split)[position])
        for a, b in zip(source.read("trainval", ids[index]), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    before = source.fingerprint("trainval")
    Image.new("RGB", (480, 360)).save(tree / "val" / "val_000.png")
    assert source.fingerprint("trainval") != before


def test_a_folder_for_a_set_that_is_drawn():
    with pytest.raises(UserError, match="leave config.data.dir"):
        open_source("streets", "/tmp")


def test_pictures_without_labels(tree):
    (tree / "trainannot" / "train_003.png").unlink()
    with pytest.raises(UserError, match="1 of 16 pictures .* first is train_003.png"):
        CamVid(tree).ids("train")
    shutil.rmtree(tree / "valannot")
    with pytest.raises(UserError, match="no folder .*valannot"):
        CamVid(tree).ids("val")


def test_no_pictures(tree):
    for path in (tree / "test").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"holds no pictures \(.png or .webp"):
        CamVid(tree).ids("test")


def test_truncated_png(tree):
    path = tree / "train" / "train_001.png"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"train_001\.png cannot be read"):
        CamVid(tree).read("train", "train_001")


def test_what_a_mac_left_behind_is_passed_over(tree):
    source = CamVid(tree)
    names, before = source.ids("val"), source.fingerprint("val")
    for folder in ("val", "valannot"):
        (tree / folder / "._val_000.png").write_bytes(b"Mac OS X")
        (tree / folder / ".DS_Store").touch()
    assert source.ids("val") == names and source.fingerprint("val") == before


def test_sizes_that_differ(tree):
    Image.new("L", (480, 352)).save(tree / "trainannot" / "train_002.png")
    message = r"train_002\.png is 480x360 and .*train_002\.png is 480x352"
    with pytest.raises(UserError, match=message):
        CamVid(tree).read("train", "train_002")


def test_label_value_outside_the_classes(tree):
    label = np.full((360, 480), 3, np.uint8)
    label[5, 5:9] = 17
    Image.fromarray(label).save(tree / "valannot" / "val_000.png")
    with pytest.raises(UserError, match="value 17 in 4 pixels; .* 0 to 10 and 11"):
        CamVid(tree).read("val", "val_000")


def test_colours_where_indices_should_be(tree):
    Image.new("RGB", (480, 360), "red").save(tree / "valannot" / "val_001.png")
    with pytest.raises(UserError, match="is a RGB picture .*not colours"):
        CamVid(tree).read("val", "val_001")


def test_fingerprint_changes_with_the_files(tree):
    source = CamVid(tree)
    before = source.fingerprint("train"), source.fingerprint("val")
    Image.new("RGB", (480, 360)).save(tree / "train" / "train_000.png")
    assert source.fingerprint("train") != before[0]
    assert source.fingerprint("val") == before[1]


def test_class_tables():
    # Spot checks against SegNet's and Cityscapes' published tables.
    assert (CAMVID.names[3], CAMVID.palette[3]) == ("road", (128, 64, 128))
    assert (CITYSCAPES.names[13], CITYSCAPES.palette[13]) == ("car", (0, 0, 142))
    assert CITYSCAPES.colours()[18].tolist() == [119, 11, 32]
    assert CITYSCAPES.colours()[255].tolist() == [0, 0, 0]


def test_cityscapes_table_is_the_official_one():
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    official = {label.trainId: label for label in labels if 0 <= label.trainId < 19}
    for i, name in enumerate(CITYSCAPES.names):
        assert (official[i].name, official[i].color) == (name, CITYSCAPES.palette[i])


def test_streets_splits_share_no_scene():
    source = Streets()
    ids = [sample for split in source.splits for sample in source.ids(split)]
    assert len(ids) == len(set(ids))
