"""A user's own folder: layouts, values, colours, and what is wrong with them."""

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.sources import Folder, open_source
from jaxseg.errors import UserError

BY_VALUE = """
classes:
  road: [7, 8]
  grass: 2
void: [0, 255]
colours: {grass: "#00aa00"}
"""
BY_COLOUR = """
classes: {road: "#804080", sky: "#4682b4"}
void: ["#000000"]
"""


def put(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def tree(tmp_path):
    """images/<split>/ and labels/<split>/ by value, 6x4 pixels."""
    (tmp_path / "dataset.yaml").write_text(BY_VALUE)
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            put(tmp_path / "images" / split / f"p{i}.png", np.full((4, 6, 3), 10 * i))
            put(tmp_path / "labels" / split / f"p{i}.png", [[7, 8, 2, 0, 255, 2]] * 4)
    return tmp_path


def test_values(tree):
    source = open_source("folder", str(tree))
    assert source.splits == ("train", "val") and source.hw == (4, 6)
    assert source.ids("train") == ["p0", "p1", "p2"]
    image, label = source.read("train", "p2")
    assert (image == 20).all()
    assert label.tolist() == [[0, 0, 1, 255, 255, 1]] * 4
    assert source.table.names == ("road", "grass")
    assert source.table.palette[1] == (0, 0xAA, 0)
    assert len(set(source.table.palette)) == 2


def test_colours_and_every_tenth_for_validation(tmp_path):
    (tmp_path / "dataset.yaml").write_text(BY_COLOUR)
    for i in range(21):
        put(tmp_path / "images" / f"{i:02d}.jpg", np.zeros((2, 3, 3)))
        row = [(128, 64, 128), (0, 0, 0), (70, 130, 180)]
        put(tmp_path / "labels" / f"{i:02d}.png", [row, row])
    source = Folder(tmp_path)
    assert source.ids("val") == ["09", "19"] and len(source.ids("train")) == 19
    assert source.read("val", "09")[1].tolist() == [[0, 255, 1]] * 2
    assert source.table.palette == ((128, 64, 128), (70, 130, 180))
    assert "every 10th" in source.remarks("train")[0]


def test_a_list_of_pairs(tree):
    rows = ["image,label,split"]
    rows += [f"images/val/p{i}.png, labels/train/p0.png, val" for i in (1, 0)]
    rows += ["images/train/p2.png,labels/train/p2.png,train"]
    (tree / "pairs.csv").write_text("\n".join(rows) + "\n")
    source = Folder(tree)
    assert source.ids("val") == ["images/val/p0.png", "images/val/p1.png"]
    assert source.ids("train") == ["images/train/p2.png"]
    for broken, sentence in (
        ("image,mask\na,b\n", "needs the columns image, label, split"),
        (rows[0] + "\nimages/val/p9.png,labels/val/p0.png,val\n", "line 2.*p9.png"),
        ("\n".join([*rows, rows[1].replace("val\n", "train")]), "line 5.*twice"),
        (rows[0] + "\nimages/val/p0.png,,val\n", "line 2 is incomplete"),
    ):
        (tree / "pairs.csv").write_text(broken)
        with pytest.raises(UserError, match=sentence):
            Folder(tree)


def test_sizes(tree):
    put(tree / "images" / "val" / "p1.png", np.zeros((8, 12, 3)))
    with pytest.raises(UserError, match="p1.png is 12x8 and .*p1.png is 6x4"):
        Folder(tree).read("val", "p1")
    put(tree / "labels" / "val" / "p1.png", np.full((8, 12), 2))
    with pytest.raises(UserError, match=r"12x8, others are 6x4.*`size: \[4, 6\]`"):
        Folder(tree).read("val", "p1")
    (tree / "dataset.yaml").write_text(BY_VALUE + "size: [2, 3]\n")
    source = Folder(tree)
    image, label = source.read("val", "p1")
    assert source.hw == image.shape[:2] == label.shape == (2, 3)
    # By the nearest, so that no new value appears.
    assert set(source.read("train", "p0")[1].ravel()) <= {0, 1, 255}


def test_a_value_without_a_class_is_named(tree):
    put(tree / "labels" / "val" / "p0.png", [[7, 9, 9, 31, 0, 2]] * 4)
    with pytest.raises(UserError, match="p0.png holds 9, 31 in 12 pixels"):
        Folder(tree).read("val", "p0")
    text = BY_VALUE.replace("void: [0, 255]", "void: others")
    (tree / "dataset.yaml").write_text(text)
    assert Folder(tree).read("val", "p0")[1][0].tolist() == [0, 255, 255, 255, 255, 1]


def test_colours_where_values_should_be(tree):
    put(tree / "labels" / "val" / "p0.png", np.zeros((4, 6, 3)))
    with pytest.raises(UserError, match="RGB picture; a label image has one channel"):
        Folder(tree).read("val", "p0")


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("classes: {a: 1", "is not YAML"),
        ("void: [1]", "needs `classes:`"),
        ("classes: {a: 1}\nclass: 2", "nothing reads 'class'"),
        ("classes: [a, b]", "`name: value` lines"),
        ("classes: {a: 1, b: 1}", "1 is given twice"),
        ("classes: {a: 300}", "300 is no value"),
        ('classes: {a: 1, b: "#00ff00"}', "all values or all colours"),
        ('classes: {a: "#00ff0"}', "is no colour"),
        ("classes: {a: 1}\nsize: [4]", "size must be .height, width."),
        ('classes: {a: 1}\ncolours: {b: "#000000"}', "there is no class 'b'"),
    ],
)
def test_a_description_that_cannot_be_meant(tree, text, sentence):
    (tree / "dataset.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        Folder(tree)


def test_what_is_missing_is_named(tree, tmp_path):
    (tree / "labels" / "val" / "p1.png").unlink()
    with pytest.raises(UserError, match="1 of 2 pictures have no label .*p1.png"):
        Folder(tree)
    (tree / "dataset.yaml").unlink()
    with pytest.raises(UserError, match="there is no .*dataset.yaml"):
        Folder(tree)
