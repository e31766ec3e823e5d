"""Data sets of other tools, as their files lie."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.check import check_quickly
from jaxseg.data.sources import Folder
from jaxseg.errors import UserError

HW = 4, 6
# A polygon over the right half, in pixels and in shares of the picture.
RIGHT = [3, 0, 6, 0, 6, 4, 3, 4]
RIGHT_SHARES = "0.5 0 1 0 1 1 0.5 1"


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (*HW, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def mask(path, row):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([row] * HW[0], np.uint8)).save(path)


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def rows(source, split):
    """The first row of every label of a split, by sample."""
    return {i: source.read(split, i)[1][0].tolist() for i in source.ids(split)}


def ultralytics(root, splits=("train", "val")):
    for split in splits:
        for name in "ab":
            picture(root / "images" / split / f"{name}.jpg")
    return root / "labels"


YAML = "path: ../somewhere/{}\ntrain: images/train\nval: images/val\n"
NAMES = "names:\n  0: person\n  1: no\n"


def test_ultralytics_polygons(tmp_path):
    labels = ultralytics(tmp_path)
    text(tmp_path / "data.yaml", YAML + "test:  # optional\n" + NAMES)
    for split in ("train", "val"):
        text(labels / split / "a.txt", f"1 {RIGHT_SHARES}\n")
    source = Folder(tmp_path)
    assert source.splits == ("train", "val")
    assert source.table.names == ("background", "person", "no")
    assert rows(source, "train") == {
        "images/train/a.jpg": [0, 0, 0, 2, 2, 2],
        "images/train/b.jpg": [0] * 6,  # without a file: nothing is on it
    }
    check_quickly(source, ["train", "val"])
    before = source.fingerprint("train")
    text(labels / "train" / "a.txt", f"0 {RIGHT_SHARES}\n0 0 0 1 0 1 1")
    assert Folder(tmp_path).fingerprint("train") != before


def test_ultralytics_names_as_a_list_and_a_background(tmp_path):
    labels = ultralytics(tmp_path)
    text(tmp_path / "data.yaml", YAML + "names: [person, background]\nnc: 2\n")
    for split in ("train", "val"):
        text(labels / split / "a.txt", f"0 {RIGHT_SHARES}\n")
    source = Folder(tmp_path)
    assert source.table.names == ("person", "background")
    assert rows(source, "val")["images/val/a.jpg"] == [1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    "folder, more", [("masks", ""), ("labels", ""), ("seg", "masks_dir: seg\n")]
)
def test_ultralytics_masks(tmp_path, folder, more):
    ultralytics(tmp_path)
    text(tmp_path / "dataset.yaml", YAML + more + NAMES)
    for split in ("train", "val"):
        for name in "ab":
            mask(tmp_path / folder / split / f"{name}.png", [0, 1, 255, 0, 0, 0])
    source = Folder(tmp_path)
    assert source.table.names == ("person", "no")
    assert rows(source, "val")["images/val/b.jpg"] == [0, 1, 255, 0, 0, 0]
    (tmp_path / folder / "val" / "b.png").unlink()
    with pytest.raises(UserError, match="val/b.jpg has no label image"):
        Folder(tmp_path)


def test_roboflow_and_lists_of_pictures(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "a.jpg")
        text(tmp_path / split / "labels" / "a.txt", f"0 {RIGHT_SHARES}\n")
    lines = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    text(tmp_path / "data.yaml", lines + "nc: 1\nnames: ['person']\n")
    source = Folder(tmp_path)
    assert source.ids("val") == ["valid/images/a.jpg"]
    assert "test is passed over" in source.remarks("train")[0]
    text(tmp_path / "t.txt", "./train/images/a.jpg\n")
    text(tmp_path / "data.yaml", "train: [t.txt]\nval: valid/images\nnames: [person]\n")
    assert rows(Folder(tmp_path), "train") == {"train/images/a.jpg": [0, 0, 0, 1, 1, 1]}


def test_ultralytics_that_lacks_something(tmp_path):
    ultralytics(tmp_path)
    text(tmp_path / "data.yaml", YAML + NAMES)
    with pytest.raises(UserError, match="of train .*2 pictures were found and no lab"):
        Folder(tmp_path)
    text(tmp_path / "data.yaml", (YAML + NAMES).replace("images/val", "images/none"))
    text(tmp_path / "labels" / "train" / "a.txt", "0 0.5 0.5 0.2 0.2")
    with pytest.raises(UserError, match="of val .images/none. 0 pictures were found"):
        Folder(tmp_path)
    for names in ("names: 7", "names: {1: a, 2: b}", "names: {a: 0}"):
        text(tmp_path / "data.yaml", YAML + names)
        with pytest.raises(UserError, match="data.yaml: `names` is a list, or numb"):
            Folder(tmp_path)
    text(tmp_path / "data.yaml", YAML + NAMES)
    text(tmp_path / "labels" / "val" / "a.txt", "0 0.5 0.5 0.2 0.2")
    with pytest.raises(UserError, match="a.txt: line 1 is a box, not a polygon"):
        check_quickly(Folder(tmp_path), ["train", "val"])


@pytest.mark.parametrize(
    "name, content, answer",
    [
        ("images/a.json", {"shapes": [], "imagePath": "a.jpg"}, "is LabelMe's: its la"),
        ("export.json", [{"data": {}, "annotations": []}], "as COCO, which is taken"),
        ("task-1-annotation-2-by-1-tag-car-0.png", None, "one a class and picture"),
        ("other.json", [1, "x"], "and masks exported by CVAT or Supervisely.$"),
    ],
)
def test_exports_that_are_not_taken(tmp_path, name, content, answer):
    text(tmp_path / name, json.dumps(content))
    with pytest.raises(UserError, match=answer):
        Folder(tmp_path)


def test_a_foreign_file_is_answered_with_the_lines_to_write(tmp_path):
    for names in (NAMES, "names: [person, no]"):
        text(tmp_path / "dataset.yaml", names)
        with pytest.raises(UserError, match="(?s)classes:\n  person: 0\n  no: 1$"):
            Folder(tmp_path)


def test_nothing_that_is_known(tmp_path):
    text(tmp_path / "a.json", {"shapes": [], "imagePath": "a.jpg"})
    text(tmp_path / "b.json", "not JSON")
    with pytest.raises(UserError, match="no .*dataset.yaml; .*without one are Ultral"):
        Folder(tmp_path)


def coco(*names, first=1, hw=HW):
    """COCO's content for pictures that all have a car on the right."""
    images = [
        {"id": i, "file_name": name, "height": hw[0], "width": hw[1]}
        for i, name in enumerate(names)
    ]
    annotations = [
        {"id": i, "image_id": i, "category_id": 3, "segmentation": [RIGHT], "area": 12}
        for i, _ in enumerate(names)
    ]
    categories = [{"id": 3, "name": "car"}, {"id": first, "name": "person"}]
    return dict(images=images, annotations=annotations, categories=categories)


def test_coco(tmp_path):
    crowd = {"counts": [0, 4, 20], "size": list(HW)}
    for split in ("train", "val"):
        picture(tmp_path / f"{split}2017" / "1.jpg")
        held = coco("1.jpg")
        held["annotations"].append(
            dict(image_id=0, category_id=1, iscrowd=1, segmentation=crowd, area=99)
        )
        text(tmp_path / "annotations" / f"instances_{split}2017.json", held)
        text(tmp_path / "annotations" / f"person_keypoints_{split}2017.json", coco("9"))
        text(tmp_path / "annotations" / f"captions_{split}2017.json", {"images": []})
    test = coco() | {"images": [{"file_name": "2.jpg"}]}
    text(tmp_path / "annotations" / "instances_test2017.json", test)
    source = Folder(tmp_path)
    assert source.splits == ("train", "val")
    assert source.table.names == ("background", "person", "car")
    assert rows(source, "val") == {"val2017/1.jpg": [255, 0, 0, 2, 2, 2]}
    assert "test2017.json is passed over" in source.remarks("train")[0]
    check_quickly(source, ["train", "val"])


def test_coco_of_roboflow_cvat_and_label_studio(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / "roboflow" / split / "1.jpg")
        text(tmp_path / "roboflow" / split / "_annotations.coco.json", coco("1.jpg"))
    source = Folder(tmp_path / "roboflow")
    assert source.splits == ("train", "val") and source.ids("val") == ["valid/1.jpg"]
    for tool, file, at, name in (
        ("cvat", "annotations/instances_default.json", "images/default", "{}.jpg"),
        ("label-studio", "result.json", ".", "images\\{}.jpg"),
    ):
        names = [name.format(i) for i in range(12)]
        text(tmp_path / tool / file, coco(*names))
        for i in range(12):
            name = names[i].replace("\\", "/")
            picture(tmp_path / tool / at / name, seed=i)
        source = Folder(tmp_path / tool)
        assert len(source.ids("train")) + len(source.ids("val")) == 12
        assert "by a hash" in source.remarks("train")[0]
        found = rows(source, "train") | rows(source, "val")
        assert all(row == [0, 0, 0, 2, 2, 2] for row in found.values())


def test_pictures_of_many_sizes_take_a_size(tmp_path):
    names = ["1.jpg", "2.jpg", "3.jpg"]
    text(tmp_path / "result.json", coco(*names))
    for name in names:
        picture(tmp_path / name)
    text(tmp_path / "dataset.yaml", "size: [2, 3]")
    source = Folder(tmp_path)
    assert source.hw == (2, 3)
    for split in ("train", "val"):
        assert all(row == [0, 2, 2] for row in rows(source, split).values())
    text(tmp_path / "dataset.yaml", "size: [2]")
    with pytest.raises(UserError, match="size must be .height, width."):
        Folder(tmp_path)


@pytest.mark.parametrize(
    "held, sentence",
    [
        (coco("1.jpg", "none.jpg"), "result.json: none.jpg is in none of"),
        (coco("1.jpg") | {"categories": [{"id": 1, "name": "a"}]}, "category 3, which"),
        (coco("1.jpg") | {"images": [{"id": 0}]}, "is not as COCO's are .*file_name"),
        (coco("1.jpg") | {"images": 7}, "is not as COCO's are"),
        (coco("1.jpg") | {"images": []}, "no picture with a label was found"),
    ],
)
def test_coco_that_lacks_something(tmp_path, held, sentence):
    picture(tmp_path / "1.jpg")
    text(tmp_path / "result.json", held)
    with pytest.raises(UserError, match=sentence):
        Folder(tmp_path)


LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n"


def cvat(root, names):
    colours = np.zeros((*HW, 3), np.uint8)
    colours[:, 3:] = 128, 64, 128
    for name in names:
        picture(root / "JPEGImages" / f"{name}.jpg")
        (root / "SegmentationClass").mkdir(exist_ok=True)
        Image.fromarray(colours).save(root / "SegmentationClass" / f"{name}.png")
    text(root / "labelmap.txt", LABELMAP)


def test_masks_of_cvat(tmp_path):
    cvat(tmp_path, "abc")
    lists = tmp_path / "ImageSets" / "Segmentation"
    text(lists / "default.txt", "a\nb\nc\n")
    assert sum(len(Folder(tmp_path).ids(split)) for split in ("train", "val")) == 3
    text(lists / "Train.txt", "a\n")
    text(lists / "Validation.txt", "b\n")
    source = Folder(tmp_path)
    assert source.table.names == ("background", "road")
    assert source.table.palette[1] == (128, 64, 128)
    assert rows(source, "train") == {"JPEGImages/a.jpg": [0, 0, 0, 1, 1, 1]}
    assert source.ids("val") == ["JPEGImages/b.jpg"]


def test_masks_of_cvat_that_lack_something(tmp_path):
    cvat(tmp_path, "ab")
    text(tmp_path / "labelmap.txt", "background:0,0,0::\nroad:1,2,3::\n")
    with pytest.raises(UserError, match="#804080 in 12 pixels, which labelmap.txt"):
        check_quickly(Folder(tmp_path), ["train"])
    for wrong in ("road:1,2::", "road:1,2,300::", "road"):
        text(tmp_path / "labelmap.txt", "background:0,0,0::\n" + wrong)
        with pytest.raises(UserError, match="labelmap.txt: line 2 is not  name:red"):
            Folder(tmp_path)
    text(tmp_path / "labelmap.txt", "a:0,0,0::\nb:0,0,0::\n")
    with pytest.raises(UserError, match="a colour of their own"):
        Folder(tmp_path)
    for path in (tmp_path / "JPEGImages").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="export the task again, with its images"):
        Folder(tmp_path)


def supervisely(root, data_sets):
    text(root / "obj_class_to_machine_color.json", {"road": [1, 1, 1]})
    for data_set in data_sets:
        for name in "ab":
            picture(root / data_set / "img" / f"{name}.jpg")
            drawn = [0, 0, 0, 1, 1, 1]
            mask(root / data_set / "masks_machine" / f"{name}.png", drawn)


def test_masks_of_supervisely(tmp_path):
    supervisely(tmp_path / "named", ["train", "val"])
    source = Folder(tmp_path / "named")
    assert source.table.names == ("background", "road")
    assert rows(source, "val")["val/img/b.jpg"] == [0, 0, 0, 1, 1, 1]
    supervisely(tmp_path / "one", ["ds0"])
    assert sorted(Folder(tmp_path / "one").splits) == ["train", "val"]
    supervisely(tmp_path / "named", ["ds0"])
    with pytest.raises(UserError, match="name all of them so, or none"):
        Folder(tmp_path / "named")
    text(tmp_path / "one" / "obj_class_to_machine_color.json", {"road": [1]})
    with pytest.raises(UserError, match="color.json gives no colours"):
        Folder(tmp_path / "one")
