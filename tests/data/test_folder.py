"""A user's own folder: what label images and their description may be."""

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


def described(tree, text):
    (tree / "dataset.yaml").write_text(text)
    return Folder(tree)


def label(tree, text, array):
    """Train ids of a label image that is `array`, under the description `text`."""
    root, array = tree / "own", np.asarray(array)
    for split in ("train", "val"):
        put(root / "images" / split / "p0.png", np.zeros((*array.shape[:2], 3)))
        put(root / "labels" / split / "p0.png", array)
    return described(root, text).read("val", "p0")[1].tolist()


def test_values(tree):
    source = open_source("folder", str(tree))
    assert source.splits == ("train", "val") and source.hw == (4, 6)
    assert source.ids("train") == ["p0", "p1", "p2"]
    image, found = source.read("train", "p2")
    assert (image == 20).all()
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, 1, 255, 255, 1]] * 4
    assert source.table.names == ("road", "grass")
    assert source.table.palette[1] == (0, 0xAA, 0)
    assert len(set(source.table.palette)) == 2


def test_colours(tree):
    road, sky = (128, 64, 128), (70, 130, 180)
    assert label(tree, BY_COLOUR, [[road, (0, 0, 0), sky]]) == [[0, 255, 1]]
    assert Folder(tree / "own").table.palette == (road, sky)


def test_binary_masks(tree):
    text = "classes: {background: 0, thing: 255}"
    assert label(tree, text, [[0, 255, 255]]) == [[0, 1, 1]]
    with pytest.raises(UserError, match="p0.png holds 128 in 1 pixels"):
        label(tree, text, [[0, 128, 255]])
    three = np.repeat(np.array([[0, 255]])[..., None], 3, -1)
    assert label(tree, text, three) == [[0, 1]]  # what drawing programs save
    path = tree / "own" / "labels" / "val" / "p0.png"
    Image.fromarray(np.array([[False, True]])).save(path)  # of one bit
    found = described(tree / "own", "classes: [no, yes]").read("val", "p0")[1]
    assert found.tolist() == [[0, 1]]


def test_what_is_void_by_default(tree):
    assert label(tree, "classes: {a: 0, b: 1}", [[0, 1, 255]]) == [[0, 1, 255]]
    with pytest.raises(UserError, match="holds 255 in 1 pixels"):
        label(tree, "classes: {a: 0, b: 1}\nvoid: []", [[0, 1, 255]])
    with pytest.raises(UserError, match="255 is given twice"):
        label(tree, "classes: {a: 0, b: 255}\nvoid: 255", [[0, 1, 255]])
    text = "classes: {a: 0, b: 255}\nvoid: others"
    assert label(tree, text, [[0, 7, 255]]) == [[0, 255, 1]]


def test_a_list_of_names(tree):
    source = described(tree, "classes: [background, off, on]")
    assert source.table.names == ("background", "off", "on")
    assert label(tree, "classes: [background, off, on]", [[2, 0, 1]]) == [[2, 0, 1]]


def test_masks_of_16_and_32_bits(tree):
    source = described(tree, "classes: {a: 0, b: 1000}")
    for kind, suffix in ((np.uint16, "png"), (np.int32, "tif")):
        path = tree / "labels" / "val" / f"p0.{suffix}"
        (tree / "labels" / "val" / "p0.png").unlink(missing_ok=True)
        Image.fromarray(np.array([[0, 1000, 255, 0, 0, 0]] * 4, kind)).save(path)
        source = Folder(tree)
        assert source.read("val", "p0")[1][0].tolist() == [0, 1, 255, 0, 0, 0]
    with pytest.raises(UserError, match="holds 0, 255, 1000 in 24 pixels"):
        described(tree, "classes: {a: 2, b: 3}\nvoid: []").read("val", "p0")


def test_a_telephones_picture_fits_its_mask(tree):
    """It lies on its side in the file, and its mask does not."""
    halves = np.zeros((8, 16, 3), np.uint8)
    halves[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tree / "images" / "val" / "p0.png").unlink()
    Image.fromarray(halves).save(tree / "images" / "val" / "p0.jpg", exif=exif)
    mask = np.full((16, 8), 7, np.uint8)
    mask[8:] = 2
    put(tree / "labels" / "val" / "p0.png", mask)
    for split in ("train", "val"):
        for path in (tree / "images" / split).glob("p[12].png"):
            put(path, np.zeros((16, 8, 3)))
        put(tree / "images" / "train" / "p0.png", np.zeros((16, 8, 3)))
    image, found = Folder(tree).read("val", "p0")
    assert (image[8:] > 128).all() and (found[8:] == 1).all()
    assert (image[:8] < 128).all() and (found[:8] == 0).all()


def test_sizes(tree):
    put(tree / "images" / "val" / "p1.png", np.zeros((8, 12, 3)))
    with pytest.raises(UserError, match="p1.png is 12x8 and .*p1.png is 6x4"):
        Folder(tree).read("val", "p1")
    put(tree / "labels" / "val" / "p1.png", np.full((8, 12), 2))
    with pytest.raises(UserError, match=r"12x8, others are 6x4.*`size: \[4, 6\]`"):
        Folder(tree).read("val", "p1")
    source = described(tree, BY_VALUE + "size: [2, 3]\n")
    image, found = source.read("val", "p1")
    assert source.hw == image.shape[:2] == found.shape == (2, 3)
    # By the nearest, so that no new value appears.
    assert set(source.read("train", "p0")[1].ravel()) <= {0, 1, 255}


def test_the_size_is_that_of_the_first_picture_that_can_be_read(tree):
    (tree / "images" / "train" / "p0.png").write_bytes(b"")
    source = Folder(tree)
    assert source.hw == (4, 6)
    with pytest.raises(UserError, match="train/p0.png cannot be read"):
        source.read("train", "p0")
    for path in (tree / "images").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="train/p0.png cannot be read"):
        assert Folder(tree).hw


def test_a_mask_that_was_drawn_on_the_picture_as_it_lies(tree):
    put(tree / "labels" / "val" / "p0.png", np.full((6, 4), 2))
    with pytest.raises(UserError, match="6x4 and .*4x6.*without its EXIF orientation"):
        Folder(tree).read("val", "p0")


def test_a_value_without_a_class_is_named(tree):
    put(tree / "labels" / "val" / "p0.png", [[7, 9, 9, 31, 0, 2]] * 4)
    with pytest.raises(UserError, match="p0.png holds 9, 31 in 12 pixels"):
        Folder(tree).read("val", "p0")
    source = described(tree, BY_VALUE.replace("void: [0, 255]", "void: others"))
    assert source.read("val", "p0")[1][0].tolist() == [0, 255, 255, 255, 255, 1]


def test_values_where_colours_should_be(tree):
    with pytest.raises(UserError, match="#070707 .*if it holds values, not colours"):
        label(tree, BY_COLOUR, [[0, 7, 7]])


def test_colours_where_values_should_be_are_ready_to_paste(tree):
    colours = [[(128, 64, 128)] * 3 + [(70, 130, 180)]] * 4
    with pytest.raises(
        UserError, match="RGB picture .channels: 3, different colours: 2"
    ) as info:
        label(tree, BY_VALUE, colours)
    advice = str(info.value).partition("write in dataset.yaml\n")[2]
    assert advice.splitlines() == [
        "classes:",
        '  class_0: "#804080"  # 75.0% of the pixels',
        '  class_1: "#4682b4"  # 25.0% of the pixels',
    ]
    assert label(tree, advice, colours) == [[0, 0, 0, 1]] * 4
    smoothed = np.repeat(np.repeat(np.array(colours), 20, 0), 20, 1)
    smoothed[0, 0] = 1, 2, 3
    with pytest.raises(UserError, match="void: others  # 0.0%, smoothed edges") as info:
        label(tree, BY_VALUE, smoothed)
    advice = str(info.value).partition("write in dataset.yaml\n")[2]
    assert label(tree, advice, smoothed)[0][:2] == [255, 0]
    noise = np.random.default_rng(0).integers(0, 256, (4, 60, 3))
    with pytest.raises(UserError, match="looks like a picture, or like a mask that"):
        label(tree, BY_VALUE, noise)


def test_jpeg_masks_are_refused_with_the_reason(tree):
    path = tree / "labels" / "val" / "p0.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()
    with pytest.raises(UserError, match="p0.jpg is a JPEG, whose compression"):
        Folder(tree).read("val", "p0")


def test_a_fingerprint_is_of_files_and_description(tree):
    before = Folder(tree).fingerprint("val")
    assert described(tree, BY_VALUE + "size: [2, 3]\n").fingerprint("val") != before
    assert described(tree, BY_VALUE).fingerprint("train") != before


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("classes: {a: 1", "is not YAML"),
        ("void: [1]", "needs `classes:`"),
        ("- a\n- b", "needs `classes:`"),
        ("classes: {a: 1, b: 2}\nclass: 2", "nothing reads 'class'"),
        ("classes: 7", "`?name: value"),
        ("classes: [a, a]", "class 'a' is given twice"),
        ("classes:\n- a: 1\n- b: 2", "lines without a dash"),
        ("classes: {0: a, 1: b}", "name: value:\nclasses:\n  a: 0\n  b: 1"),
        ("classes: {a: 1}", "one class cannot be told from anything"),
        ("classes: {a: 1, b: 1}", "1 is given twice"),
        ("classes: {a: 1, b: 70000}", "70000 is no value"),
        ("classes: {a: 1, b: 2.5}", "2.5 is no value"),
        ("classes: {a: 1, b: []}", "b has no value; a class needs"),
        ('classes: {a: 1, b: "#00ff00"}', "all values or all colours"),
        ('classes: {a: "#00ff0", b: "#00ff00"}', "'#00ff0' is no colour"),
        ("classes: {a: yes, b: 1}", "'yes' is no colour"),
        ("classes: {a: 0, b: 1}\nvoid: other", "'other' is no colour.*void may be"),
        ("classes: {a: 1, b: 2}\nsize: [4]", "size must be .height, width."),
        ('classes: {a: 1, b: 2}\ncolours: {c: "#000000"}', "there is no class 'c'"),
        ("classes: {a: 1, b: 2}\ncolours: [1]", "colours: write  road"),
        ("classes: {a: 1, b: 2}\nlabels: mask", 'such as  labels: "{name}_mask"'),
        # What YAML eats.
        ("classes:\n  road: #804080\n  sky: 1", 'road has no value.*road: "#804080"'),
        ("classes: {road: #804080}", 'is not YAML.*quotes, "#804080", for #'),
        ("classes: [a, b]\nvoid: [#000000]", "is not YAML.*needs quotes"),
        ("classes:\n  a: 1\n  b: 2\nvoid:\n  - #000000", "void has no value"),
        ("classes:\n  a: 1\n  b: 2\n  a: 3", "line 4: 'a' is written twice"),
        (
            "classes: {a: [40, 40, 40], b: [70, 130, 180]}",
            '40 is given twice.*if these are colours.*\n  a: "#282828"\n  b: "#4682b4"',
        ),
    ],
)
def test_a_description_that_cannot_be_meant(tree, text, sentence):
    with pytest.raises(UserError, match=f"(?s){sentence}"):
        described(tree, text)


def test_words_that_yaml_takes_for_truth_are_names(tree):
    source = described(tree, "classes: {yes: 1, no: 0, off: 2, on: 3, 2020-01-01: 4}")
    assert source.table.names == ("yes", "no", "off", "on", "2020-01-01")


def test_a_list_of_three_is_a_colour_where_others_are_colours(tree):
    text = 'classes: {a: [40, 40, 40], b: "#4682b4"}\nvoid: [[0, 0, 0], "#ffffff"]'
    colours = [[(40, 40, 40), (70, 130, 180), (0, 0, 0), (255, 255, 255)]]
    assert label(tree, text, colours) == [[0, 1, 255, 255]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_description_as_windows_writes_it(tree, encoding):
    text = "classes: {Straße: 0, grün: 1}\r\n"
    (tree / "dataset.yaml").write_bytes(text.encode(encoding))
    assert Folder(tree).table.names == ("Straße", "grün")
    (tree / "dataset.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match="is not YAML"):
        Folder(tree)


def test_a_home_folder(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree.parent))
    home = f"~/{tree.name}"
    assert open_source("folder", home).ids("val") == ["p0", "p1"]


def test_what_is_missing_is_named(tree):
    (tree / "dataset.yaml").unlink()
    with pytest.raises(UserError, match="there is no .*dataset.yaml"):
        Folder(tree)
