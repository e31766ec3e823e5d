"""Cityscapes from folders and from zip files, with the official names and ids."""

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.loaders import TfDataLoader
from jaxseg.data.sources import Cityscapes, check_split, open_source
from jaxseg.errors import UserError


@pytest.fixture(scope="module")
def zips(cityscapes_tree, tmp_path_factory):
    """The same files in the official zip files."""
    root = tmp_path_factory.mktemp("zips")
    content = {
        "leftImg8bit_trainvaltest.zip": ("leftImg8bit", ("train", "val", "test")),
        "leftImg8bit_trainextra.zip": ("leftImg8bit", ("train_extra",)),
        "gtFine_trainvaltest.zip": ("gtFine", ("train", "val", "test")),
        "gtCoarse.zip": ("gtCoarse", ("train_extra",)),
    }
    for name, (folder, splits) in content.items():
        with zipfile.ZipFile(root / name, "w") as archive:
            archive.writestr("README", "as in the official files")
            # As macOS packs them again.
            archive.writestr(f"__MACOSX/{folder}/train/x/._a_{folder}.png", "Mac OS X")
            archive.writestr(f"{folder}/train/x/._a_{folder}.png", "Mac OS X")
            archive.writestr(f"{folder}/train/x/._a_{folder}_labelIds.png", "Mac OS X")
            for split in splits:
                paths = (cityscapes_tree / folder / split).rglob("*.png")
                for path in sorted(paths, reverse=True):
                    archive.write(path, path.relative_to(cityscapes_tree))
    return root


@pytest.fixture
def tree(cityscapes_tree, tmp_path):
    """A copy, of the validation split alone, that a test may damage."""
    for folder in ("leftImg8bit", "gtFine"):
        shutil.copytree(cityscapes_tree / folder / "val", tmp_path / folder / "val")
    return tmp_path


@pytest.mark.parametrize("split", Cityscapes.splits)
def test_zips_and_folders_hold_the_same_samples_in_the_same_order(
    cityscapes_tree, zips, split
):
    folders, packed = open_source("cityscapes", str(cityscapes_tree)), Cityscapes(zips)
    names = folders.ids(split)
    assert names == sorted(names) == packed.ids(split)
    for name in names:
        pairs = zip(folders.read(split, name), packed.read(split, name), strict=True)
        for a, b in pairs:
            np.testing.assert_array_equal(a, b)
    assert packed.fingerprint(split) == Cityscapes(zips).fingerprint(split)


def test_what_a_mac_left_behind_is_passed_over(tree):
    source = Cityscapes(tree)
    names, before = source.ids("val"), source.fingerprint("val")
    for city in (tree / "leftImg8bit" / "val").iterdir():
        (city / f"._{names[0]}_leftImg8bit.png").write_bytes(b"Mac OS X")
    assert source.ids("val") == names
    assert Cityscapes(tree).ids("val") == names
    assert Cityscapes(tree).fingerprint("val") == before


def test_label_ids_become_the_official_train_ids(tree):
    labels = pytest.importorskip("cityscapesscripts.helpers.labels").labels
    source = Cityscapes(tree)
    name = source.ids("val")[0]
    path = next((tree / "gtFine").rglob(f"{name}_*.png"))
    stripes = (np.arange(2048) // 60).astype(np.uint8)  # every id from 0 to 33
    stripes = np.minimum(stripes, 33)
    Image.fromarray(np.tile(stripes, (1024, 1))).save(path, compress_level=1)
    label = source.read("val", name)[1]
    official = {label.id: label.trainId for label in labels}
    for column in range(0, 2048, 60):
        assert label[7, column] == official[int(stripes[column])] % 256


def test_the_black_coarse_picture_is_left_out_and_said_so(cityscapes_tree):
    source = Cityscapes(cityscapes_tree)
    assert source.ids("train_extra") == ["augsburg_000000_000000"]
    (remark,) = source.remarks("train_extra")
    assert "troisdorf_000000_000073 is left out" in remark
    assert source.remarks("train") == []


def test_labels_of_test_are_refused_and_its_pictures_are_not(cityscapes_tree):
    source = Cityscapes(cityscapes_tree)
    with pytest.raises(UserError, match="labels of cityscapes test are not published"):
        check_split(source, "test")
    check_split(source, "test", labelled=False)
    image, label = source.read("test", source.ids("test")[0])
    assert image.shape == (1024, 2048, 3) and (label == 255).all()


def test_what_is_missing_is_named(tree):
    source = Cityscapes(tree)
    with pytest.raises(UserError, match="no pictures of train were found.*trainval"):
        source.ids("train")
    next((tree / "gtFine").rglob("munster*.png")).unlink()
    message = "1 of 2 pictures of val have no label image, the first is munster_000002"
    with pytest.raises(UserError, match=message):
        Cityscapes(tree).ids("val")
    with pytest.raises(UserError, match=r"no folder .*config\.data\.dir"):
        Cityscapes(tree / "nowhere")


def test_train_ids_where_label_ids_should_be(tree):
    source = Cityscapes(tree)
    name = source.ids("val")[1]
    path = next((tree / "gtFine").rglob(f"{name}_*.png"))
    Image.fromarray(np.full((1024, 2048), 255, np.uint8)).save(path)
    with pytest.raises(UserError, match="value 255; .*holds train ids"):
        source.read("val", name)
    Image.fromarray(np.full((512, 1024), 7, np.uint8)).save(path)
    with pytest.raises(UserError, match="is 1024x512; both must be 2048x1024"):
        source.read("val", name)


def test_a_damaged_zip(tmp_path):
    (tmp_path / "leftImg8bit_trainvaltest.zip").write_bytes(b"PK not really")
    with pytest.raises(UserError, match="cannot be opened .*download it again"):
        Cityscapes(tmp_path).ids("train")


def test_shards_hold_what_the_zips_hold(zips):
    source = Cityscapes(zips)
    loader = TfDataLoader(source, "val")
    assert loader.ids == tuple(source.ids("val"))
    (batch,) = loader.batches(np.array([[1, 0]]))
    for position, index in enumerate((1, 0)):
        image, label = source.read("val", loader.ids[index])
        np.testing.assert_array_equal(batch["image"][position], image)
        np.testing.assert_array_equal(batch["label"][position], label)
