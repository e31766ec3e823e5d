"""The look at a data set before training: what it counts and what it finds."""

import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from jaxseg.data.check import check, check_quickly, weights
from jaxseg.data.sources import CamVid, Cityscapes
from jaxseg.data.sources.cityscapes import LABEL_IDS
from jaxseg.errors import UserError


@pytest.fixture
def tree(camvid_tree, tmp_path):
    return shutil.copytree(camvid_tree, tmp_path / "camvid")


def doctor(*arguments):
    command = [sys.executable, "-m", "jaxseg.data.check", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


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
    Image.new("RGB", (480, 360)).save(tree / "trainannot" / "train_006.png")
    shutil.copy(tree / "train" / "train_002.png", tree / "val" / "val_001.png")
    code, out, err = doctor("camvid", "--dir", tree, "--splits", "train,val")
    for sentence in (
        "train_001.png cannot be read",
        "train_004.png is 480x300",
        "train_006.png is a RGB picture",
        "val/val_001 is the same picture as train/train_002",
    ):
        assert sentence in out
    assert code == 1 and "error: 4 things to mend" in err and "Traceback" not in err


def test_a_whole_data_set_may_be_trained_on(camvid_tree):
    code, out, err = doctor("camvid", "--dir", camvid_tree)
    assert code == 0, err
    assert "--config.loss.class_weights='(" in out and "training may start" in out
    assert "camvid train: 16 pictures" in out and "camvid test: 2 pictures" in out


def test_train_ids_that_lie_where_label_ids_should(cityscapes_tree, tmp_path):
    for folder in ("leftImg8bit", "gtFine"):
        shutil.copytree(cityscapes_tree / folder / "val", tmp_path / folder / "val")
    train_ids = np.zeros(256, np.uint8)
    train_ids[list(LABEL_IDS)] = range(19)
    for path in (tmp_path / "gtFine").rglob("*_labelIds.png"):
        Image.fromarray(train_ids[np.asarray(Image.open(path))]).save(path)
    (report,) = check(Cityscapes(tmp_path), ["val"])
    assert len(report.errors) == 1 and "probably train ids" in report.errors[0]


def test_the_quick_look_reads_one_picture_a_split(tree):
    source = CamVid(tree)
    check_quickly(source, ["train", "val"])
    Image.new("RGB", (480, 360)).save(tree / "valannot" / "val_000.png")
    with pytest.raises(UserError, match="val_000.png is a RGB picture"):
        check_quickly(source, ["train", "val"])


def test_a_folder_that_is_not_there():
    code, _, err = doctor("cityscapes", "--dir", "nowhere")
    assert code == 1 and err.startswith("error: cityscapes: there is no folder nowhere")
