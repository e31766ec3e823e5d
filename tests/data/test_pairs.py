"""Which label image belongs to which picture, and to which split."""

import hashlib
import os

import pytest

from jaxseg.data.sources.pairs import find_pairs
from jaxseg.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root, labels="{name}"):
    """Split -> pairs as names relative to `root`."""
    pairs, _ = find_pairs(root, labels)
    return {
        split: [tuple(str(p.relative_to(root)) for p in pair) for pair in of.values()]
        for split, of in pairs.items()
    }


def splits(root, *names, labels="{name}"):
    """A tree with these pictures, each with a label image of the same name."""
    touch(root, *(f"images/{name}.jpg" for name in names))
    touch(root, *(f"labels/{name}.png" for name in names))
    return find_pairs(root, labels)


def test_folders_of_splits(tmp_path):
    pairs, remarks = splits(tmp_path, "train/a", "train/b", "val/c")
    assert {split: list(of) for split, of in pairs.items()} == {
        "train": ["a", "b"],
        "val": ["c"],
    }
    assert not remarks


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_what_else_val_is_called(tmp_path, name):
    pairs, _ = splits(tmp_path, "train/a", f"{name}/c")
    assert list(pairs) == ["train", "val"]
    os.rename(tmp_path / "labels" / name, tmp_path / "labels" / "val")
    assert found(tmp_path)["val"] == [(f"images/{name}/c.jpg", "labels/val/c.png")]
    touch(tmp_path, "images/val/d.jpg")
    with pytest.raises(UserError, match="would both be the split val"):
        find_pairs(tmp_path, "{name}")


def test_a_split_without_labels_is_passed_over_with_a_line(tmp_path):
    splits(tmp_path, "train/a", "val/c")
    touch(tmp_path, "images/test/x.jpg")
    for _ in range(2):
        pairs, remarks = find_pairs(tmp_path, "{name}")
        assert list(pairs) == ["train", "val"]
        assert len(remarks) == 1 and "images/test is passed over" in remarks[0]
        touch(tmp_path, "labels/test/._x.png")  # a hidden file is no label
    touch(tmp_path, "images/val/e.jpg")
    with pytest.raises(UserError, match="1 of 2 pictures have no label .*val/e.jpg"):
        find_pairs(tmp_path, "{name}")
    touch(tmp_path, "images/valid.jpg")
    for path in (tmp_path / "labels" / "val").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="images/val has no label images"):
        find_pairs(tmp_path, "{name}")


def test_names_that_have_more_than_the_pictures(tmp_path):
    touch(tmp_path, "images/train/a.jpg", "labels/train/a_mask.png")
    touch(tmp_path, "images/val/b.jpg", "labels/val/b_mask.png")
    with pytest.raises(UserError, match='There is a_mask: .*labels: "{name}_mask"'):
        find_pairs(tmp_path, "{name}")
    assert found(tmp_path, "{name}_mask") == {
        "train": [("images/train/a.jpg", "labels/train/a_mask.png")],
        "val": [("images/val/b.jpg", "labels/val/b_mask.png")],
    }


def test_pictures_in_sub_folders(tmp_path):
    names = ["train/x/a", "train/y/a", "val/x/b"]
    pairs, _ = splits(tmp_path, *names)
    assert list(pairs["train"]) == ["x/a", "y/a"] and list(pairs["val"]) == ["x/b"]
    assert pairs["train"]["y/a"][1] == tmp_path / "labels/train/y/a.png"


def test_sub_folders_that_are_no_splits(tmp_path):
    pairs, remarks = splits(tmp_path, *(f"{c}/{n}" for c in "pqr" for n in range(4)))
    assert list(pairs) == ["train", "val"] and "by a hash" in remarks[0]
    assert sum(map(len, pairs.values())) == 12


def test_label_images_in_sub_folders_of_another_name_are_not_partners(tmp_path):
    touch(tmp_path, "images/train/x/a.jpg", "labels/train/y/a.png")
    with pytest.raises(UserError, match="would be called x/a.png"):
        find_pairs(tmp_path, "{name}")


def share(name):
    return int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) / 16**12


def test_a_flat_folder_is_split_by_a_hash_of_the_names(tmp_path):
    names = [f"{i:03d}" for i in range(80)]
    pairs, remarks = splits(tmp_path, *names)
    assert list(pairs["val"]) == [name for name in names if share(name) < 0.1]
    assert sorted([*pairs["train"], *pairs["val"]]) == names
    assert f"{len(pairs['val'])} of 80 pairs are val" in remarks[0]


@pytest.mark.parametrize("start", [2, 5, 30])
def test_pictures_that_come_later_move_none_into_val(tmp_path, start):
    names = sorted((f"p{i}" for i in range(start + 40)), key=lambda n: share(n[::-1]))
    trained: set[str] = set()
    splits(tmp_path, *names[:start])
    for name in names[start:]:
        pairs, _ = splits(tmp_path, name)
        assert pairs["train"] and pairs["val"]
        assert not trained & set(pairs["val"])
        trained |= set(pairs["train"])


def test_few_pictures(tmp_path):
    pairs, _ = splits(tmp_path, *"abcde")
    assert len(pairs["train"]) == 4 and len(pairs["val"]) == 1
    for name in "bcde":
        (tmp_path / "images" / f"{name}.jpg").unlink()
    with pytest.raises(UserError, match="is one picture, .*a.jpg; training needs"):
        find_pairs(tmp_path, "{name}")
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.raises(UserError, match="images holds no pictures"):
        find_pairs(tmp_path, "{name}")


def test_what_a_computer_put_there_is_passed_over(tmp_path):
    splits(tmp_path, "train/a", "val/b")
    for kind in ("images", "labels"):
        touch(tmp_path, f"{kind}/.DS_Store", f"{kind}/train/Thumbs.db")
        touch(tmp_path, f"{kind}/train/._a.png", f"{kind}/__MACOSX/train/._a.png")
        touch(tmp_path, f"{kind}/.ipynb_checkpoints/a.png")
    pairs, remarks = find_pairs(tmp_path, "{name}")
    assert {split: list(of) for split, of in pairs.items()} == {
        "train": ["a"],
        "val": ["b"],
    }
    assert not remarks


def test_what_is_missing_or_double_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no folder .*images"):
        find_pairs(tmp_path, "{name}")
    splits(tmp_path, "train/a", "val/b")
    touch(tmp_path, "labels/train/a.tif")
    with pytest.raises(UserError, match="a.tif and .*a.png have the same name"):
        find_pairs(tmp_path, "{name}")


@pytest.mark.parametrize("name", [b"a\xff.jpg", b"a\n.jpg"])
def test_names_that_cannot_be_written_down(tmp_path, name):
    splits(tmp_path, "train/a", "train/at\u202f9 Uhr, ü", "val/b")
    with open(os.path.join(os.fsencode(tmp_path), b"images/train", name), "w"):
        pass
    with pytest.raises(UserError, match="is no name for a picture"):
        find_pairs(tmp_path, "{name}")


ROWS = (("images/ä [1].jpg", "masks/m.png", "train"), ("images/b.jpg", "m2.png", "val"))


def listed(tmp_path, separator=",", encoding="utf-8", end="\n", before="", rows=ROWS):
    for image, label, _ in ROWS:
        touch(tmp_path, image, label)
    lines = [separator.join(row) for row in (("image", "label", "split"), *rows)]
    text = before + end.join(lines) + end
    (tmp_path / "pairs.csv").write_bytes(text.encode(encoding))
    return found(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t", " , "])
def test_a_list_as_spreadsheets_write_it(tmp_path, separator, encoding):
    pairs = listed(tmp_path, separator, encoding, "\r\n")
    assert pairs == {"train": [ROWS[0][:2]], "val": [ROWS[1][:2]]}


def test_a_list_with_backslashes_quotes_and_more_columns(tmp_path):
    rows = [
        ('"images\\ä [1].jpg"', "masks\\m.png", "train", "7"),
        ("images\\b.jpg", "m2.png", "validation", ""),
        ("", "", ""),
    ]
    pairs = listed(tmp_path, ";", before="sep=;\n", rows=rows)
    assert pairs == {"train": [ROWS[0][:2]], "val": [ROWS[1][:2]]}


@pytest.mark.parametrize(
    "rows, sentence",
    [
        ([("images/c.jpg", "m2.png", "val")], "line 2: there is no file .*c.jpg"),
        ([("images/b.jpg", "", "val")], "line 2 is incomplete"),
        ([("images/b.jpg", "m2.png")], "line 2 is incomplete"),
        ([ROWS[1], (*ROWS[1][:2], "train")], "line 3: .*twice, first in line 2"),
        ([], "needs the columns image, label, split; its first line is 'image,label"),
    ],
)
def test_a_list_that_cannot_be_meant(tmp_path, rows, sentence):
    with pytest.raises(UserError, match=sentence):
        listed(tmp_path, rows=rows)


def test_a_list_without_its_columns(tmp_path):
    (tmp_path / "pairs.csv").write_text("image,mask\na,b\n")
    with pytest.raises(UserError, match="columns image, label, split; .*'image,mask'"):
        find_pairs(tmp_path, "{name}")
    (tmp_path / "pairs.csv").write_text("")
    with pytest.raises(UserError, match="needs the columns"):
        find_pairs(tmp_path, "{name}")
