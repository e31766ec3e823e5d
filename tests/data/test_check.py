"""The look at a data set before training: what it counts and what it finds."""

import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from rich.console import Console

from configs import dabnet
from jaxseg.data.check import check, check_quickly, look_over, weights
from jaxseg.data.loaders import load_split
from jaxseg.data.sources import CamVid, Cityscapes, Folder
from jaxseg.data.sources.cityscapes import LABEL_IDS
from jaxseg.errors import UserError
from tools.reliability.samples import unfinished_png


@pytest.fixture
def tree(camvid_tree, tmp_path):
    return shutil.copytree(camvid_tree, tmp_path / "camvid")


def doctor(name, root, *more):
    recipe = f"--config=configs/dabnet.py:{name}", f"--config.data.dir={root}"
    command = [sys.executable, "check.py", *recipe, *map(str, more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def mine(tmp_path):
    """A folder of a user's own: 2 / 2 pictures of two classes, 4x3 pixels."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(2):
            noise = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "images" / split / f"{i} [x].png")
            mask = np.array([[0, 0, 0, 1]] * 3, np.uint8)
            Image.fromarray(mask).save(root / "labels" / split / f"{i} [x].png")
    (root / "dataset.yaml").write_text("classes: {'road [paved]': 0, '[/b]': 1}")
    return root


@pytest.fixture
def looked_over(monkeypatch, capsys):
    """What the command prints about a folder, and the error that it ends with."""

    def run(root, *splits):
        monkeypatch.setenv("COLUMNS", "120")
        try:
            look_over(Folder(root), splits, Console(highlight=False))
        except UserError as error:
            return capsys.readouterr().out, str(error)
        return capsys.readouterr().out, ""

    return run


def test_names_with_brackets_are_printed(mine, looked_over):
    out, error = looked_over(mine)
    assert not error and "Nothing is wrong with folder's pictures" in out
    assert "road [paved]" in out and "[/b]" in out
    (mine / "images" / "val" / "1 [x].png").write_bytes(b"")
    out, error = looked_over(mine)
    assert "1 [x].png cannot be read" in out and "1 things to mend" in error


def test_weights_are_those_of_the_training_split_alone(mine, looked_over):
    out, _ = looked_over(mine)
    train, _, val = out.partition("folder val: 2 pictures")
    assert "ERFNet" in train and train.count("class_weights='(") == 1
    assert "ERFNet" not in val and "class_weights" not in val and "75.000" in val


def test_what_stops_training_stops_the_check(mine, looked_over):
    for kind in ("images", "labels"):
        shutil.rmtree(mine / kind / "val")
    out, error = looked_over(mine)
    assert "no split 'val'; there are: train. Its pictures would be in " in error
    assert "Nothing is wrong" not in out
    with pytest.raises(UserError, match="no split 'val'"):
        check_quickly(Folder(mine), ["train", "val"])
    out, error = looked_over(mine, "train")  # which was all that was asked
    assert not error and "Nothing is wrong with train." in out


def put_masks(root, value, splits=("train", "val")):
    for path in (p for split in splits for p in (root / "labels" / split).iterdir()):
        Image.fromarray(np.full((3, 4), value, np.uint8)).save(path)


@pytest.mark.parametrize("loader", ["resident", "tfdata"])
def test_labels_that_teach_nothing_stop_both(mine, looked_over, loader):
    put_masks(mine, 255)
    out, _ = looked_over(mine)
    assert "not one pixel of folder train has a class" in out
    with pytest.raises(UserError, match="not one pixel of folder train has a class"):
        load_split(Folder(mine), "train", loader)
    put_masks(mine, 0)
    out, _ = looked_over(mine)
    sentence = "not void are 'road [paved]', so there is nothing to learn"
    assert sentence in out and out.count("nothing to learn") == 1
    with pytest.raises(UserError, match="nothing to learn"):
        load_split(Folder(mine), "train", loader)
    assert load_split(Folder(mine), "val", loader).hw == (3, 4)


def test_much_void_and_a_picture_twice_are_remarks(mine, looked_over):
    (mine / "dataset.yaml").write_text("classes: {a: 1, b: 2}\nvoid: others")
    mask = np.array([[0, 0, 0, 1]] * 2 + [[0, 0, 2, 1]], np.uint8)
    for split in ("train", "val"):
        for path in (mine / "labels" / split).iterdir():
            Image.fromarray(mask).save(path)
    shutil.copy(mine / "images/train/0 [x].png", mine / "images/val/1 [x].png")
    out, error = looked_over(mine)
    assert not error and "Nothing is wrong with folder's pictures" in out
    assert "remark: 67% of the pixels of train are void." in out
    assert "val/1 [x] is the same picture as train/0 [x]" in out
    assert "train ids" not in out


def test_lines_to_paste_are_printed_once(mine, looked_over):
    colours = np.zeros((3, 4, 3), np.uint8)
    colours[:, 1:] = 128, 64, 128
    for path in (mine / "labels" / "train").iterdir():
        Image.fromarray(colours).save(path)
    out, error = looked_over(mine)
    assert error.startswith("2 things") and out.count("different colours: 2") == 2
    assert out.count('  class_0: "#804080"  # 75.0% of the pixels') == 1


def test_a_split_that_is_passed_over_is_said_once(mine, looked_over):
    shutil.copytree(mine / "images" / "val", mine / "images" / "test")
    out, error = looked_over(mine)
    assert not error and out.count("images/test is passed over") == 1


def test_one_picture_that_promises_too_much_hides_none(mine, looked_over):
    bomb = unfinished_png(30_000, 20_000)
    (mine / "images" / "train" / "0 [x].png").write_bytes(bomb)
    (mine / "images" / "val" / "1 [x].png").write_bytes(b"")
    out, error = looked_over(mine)
    assert "more than 178 million pixels" in out and "cannot be read" in out
    assert error.startswith("2 things to mend")


def test_a_pipe_among_pictures_does_not_stop_the_check(mine, looked_over):
    os.mkfifo(mine / "images" / "train" / "2.png")
    os.mkfifo(mine / "labels" / "train" / "2.png")
    out, error = looked_over(mine)
    assert not error and "folder train: 2 pictures" in out


def test_counts_and_weights(camvid_tree):
    source = CamVid(camvid_tree)
    (report,) = check(source, ["train"])
    assert report.samples == 16 and not report.errors
    files = sorted((camvid_tree / "trainannot").glob("*.png"))
    labels = np.stack([np.asarray(Image.open(path)) for path in files])
    suggested, frequencies = weights(report), {}
    valid = (labels != 11).sum()
    for k in range(11):
        assert report.pixels[k] == (labels == k).sum()
        having = [label for label in labels if (label == k).any()]
        assert report.pictures[k] == len(having)
        if not having:
            assert math.isnan(suggested["ENet"][k])
            continue
        share = (labels == k).sum() / valid
        assert suggested["ENet"][k] == pytest.approx(1 / math.log(1.02 + share))
        assert suggested["ERFNet"][k] == pytest.approx(1 / math.log(1.10 + share))
        frequencies[k] = (labels == k).sum() / sum(label.size for label in having)
    for k, frequency in frequencies.items():
        expected = np.median(list(frequencies.values())) / frequency
        assert suggested["median frequency"][k] == pytest.approx(expected)


def test_everything_that_is_wrong_is_listed(tree):
    label = tree / "trainannot" / "train_001.png"
    label.write_bytes(label.read_bytes()[:500])
    Image.new("L", (480, 300)).save(tree / "trainannot" / "train_004.png")
    Image.new("RGB", (480, 360), "red").save(tree / "trainannot" / "train_006.png")
    shutil.copy(tree / "train" / "train_002.png", tree / "val" / "val_001.png")
    code, out, err = doctor("camvid", tree, "--splits=train,val")
    for sentence in (
        "train_001.png cannot be read",
        "train_004.png is 480x300",
        "train_006.png is a RGB picture",
        "val/val_001 is the same picture as train/train_002",
    ):
        assert sentence in out
    assert code == 2 and "error: 3 things to mend" in err and "Traceback" not in err


def test_a_whole_data_set_may_be_trained_on(camvid_tree):
    code, out, err = doctor("camvid", camvid_tree)
    assert code == 0, err
    assert "--config.loss.class_weights='(" in out and "Training may start." in out
    assert "camvid train: 16 pictures" in out and "camvid test: 2 pictures" in out
    # 16 pictures, DABNet's batch for CamVid and 2.8 microseconds a pixel and core.
    config = dabnet.get_config("camvid")
    batch, (h, w) = config.train.batch_size, config.augment.crop_hw
    steps = 16 // batch
    assert (
        f"dabnet, 16 pictures of 480x360, crops of {w}x{h}, batches of {batch}" in out
    )
    assert f": {steps} steps an epoch, {steps * config.train.num_epochs} in" in out
    seconds = 2.8e-6 * h * w * batch * steps * config.train.num_epochs
    hours = seconds / len(os.sched_getaffinity(0)) / 3600
    assert f"{hours:.1f} hours" in out or f"{60 * hours:.0f} minutes" in out


def test_train_ids_that_lie_where_label_ids_should(cityscapes_tree, tmp_path):
    for folder in ("leftImg8bit", "gtFine"):
        shutil.copytree(cityscapes_tree / folder / "val", tmp_path / folder / "val")
    train_ids = np.zeros(256, np.uint8)
    train_ids[list(LABEL_IDS)] = range(19)
    for path in (tmp_path / "gtFine").rglob("*_labelIds.png"):
        Image.fromarray(train_ids[np.asarray(Image.open(path))]).save(path)
    (report,) = check(Cityscapes(tmp_path), ["val"])
    assert not report.errors
    assert len(report.remarks) == 1 and "probably train ids" in report.remarks[0]


def test_the_quick_look_reads_one_picture_a_split(tree):
    source = CamVid(tree)
    check_quickly(source, ["train", "val"])
    Image.new("RGB", (480, 360), "red").save(tree / "valannot" / "val_000.png")
    with pytest.raises(UserError, match="val_000.png is a RGB picture"):
        check_quickly(source, ["train", "val"])


def test_a_folder_that_is_not_there():
    code, _, err = doctor("cityscapes", "nowhere")
    assert code == 2 and err.startswith("error: cityscapes: there is no folder nowhere")
