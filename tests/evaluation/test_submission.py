"""eval.py on a Cityscapes tree against the official evaluation of what it writes."""

import json
import zipfile

import jax
import numpy as np
import pytest
from conftest import run
from PIL import Image

from jaxseg.checkpoints import Checkpoints
from jaxseg.data.classes import CITYSCAPES
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.evaluation.submission import check_submission, shortfall
from jaxseg.runs import Run, describe


@pytest.fixture(scope="module")
def ckpt(cityscapes_tree, tmp_path_factory):
    """A run of a network that was not trained, which predicts many classes."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    arguments = dict(name="fpenet", num_classes=19, p=1, q=1)
    data = dict(name="cityscapes", dir=str(cityscapes_tree), train_split="train")
    config = dict(
        model=arguments,
        data=dict(**data, loader="auto"),
        train=dict(eval_batch_size=2),
    )
    record = describe(arguments, CITYSCAPES, Preprocess(), config)
    run_ = Run.start(folder, record)
    model = run_.model()
    image = np.zeros((1, 32, 32, 3), np.float32)
    variables = jax.jit(lambda: model.init(jax.random.key(3), image, train=False))()
    with Checkpoints(run_.checkpoint_folder, keep=1) as checkpoints:
        checkpoints.save(1, {"variables": variables}, None, {})
    return folder


@pytest.fixture(scope="module")
def submission(ckpt, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "val.zip"
    code, out, err = run("eval.py", f"--ckpt={ckpt}", "--split=val", f"--submit={path}")
    assert code == 0, err
    assert "label ids of 2 pictures, checked" in out
    assert "This is no submission: the server wants all 1525" in out
    return path


def test_scores_are_the_official_ones(ckpt, cityscapes_tree, submission, tmp_path):
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    )
    scores_file = tmp_path / "scores.json"
    code, out, err = run("eval.py", f"--ckpt={ckpt}", f"--json={scores_file}")
    assert code == 0, err
    ours = json.loads(scores_file.read_text())
    assert ours["protocol"].startswith("cityscapes val, 2048x1024")

    with zipfile.ZipFile(submission) as archive:
        archive.extractall(tmp_path)
    predictions = sorted(map(str, tmp_path.glob("*_labelIds.png")))
    truths = sorted(map(str, cityscapes_tree.glob("gtFine/val/*/*_labelIds.png")))
    official.args.evalInstLevelScore = False
    official.args.JSONOutput = False
    official.args.quiet = True
    theirs = official.evaluateImgLists(predictions, truths, official.args)
    predicted = {int(i) for path in predictions for i in np.unique(Image.open(path))}
    assert len(predicted) > 2
    for key in ("class", "category"):
        known = {
            name: iou for name, iou in ours[f"{key}_iou"].items() if iou is not None
        }
        assert len(known) > 3
        for name, iou in known.items():
            assert iou == pytest.approx(theirs[f"{key}Scores"][name], abs=1e-12)
    assert ours["miou"] == pytest.approx(theirs["averageScoreClasses"], abs=1e-12)
    category = theirs["averageScoreCategories"]
    assert ours["category_miou"] == pytest.approx(category, abs=1e-12)
    # What people read: percent with two digits.
    assert f"{100 * theirs['averageScoreClasses']:.2f}" in out
    assert f"{100 * category:.2f}" in out


def test_test_is_not_scored(ckpt):
    code, _, err = run("eval.py", f"--ckpt={ckpt}", "--split=test")
    assert code == 2 and "labels of cityscapes test are not published" in err


def test_a_submission_is_checked(submission, tmp_path):
    with zipfile.ZipFile(submission) as archive:
        members = archive.namelist()
        good = archive.read(members[0])
    names = [member.removesuffix("_labelIds.png") for member in members]

    def written(content):
        path = tmp_path / "bad.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return path

    hw = (1024, 2048)
    check_submission(written(dict.fromkeys(members, good)), names, hw)
    with pytest.raises(UserError, match="1 files that are not one a picture"):
        check_submission(written({members[0]: good}), names, hw)
    for array, sentence in (
        (np.full((512, 1024), 7, np.uint8), r"is uint8 \(512, 1024\)"),
        (np.full(hw, 3, np.uint8), r"holds \[3\], no label id"),
    ):
        Image.fromarray(array).save(tmp_path / "a.png")
        bad = dict.fromkeys(members, good)
        bad[members[1]] = (tmp_path / "a.png").read_bytes()
        with pytest.raises(UserError, match=sentence):
            check_submission(written(bad), names, hw)


def test_only_cityscapes_can_be_submitted(ckpt, tmp_path):
    record = json.loads((ckpt / "run.json").read_text())
    record["config"]["data"]["name"] = "streets"
    (tmp_path / "run.json").write_text(json.dumps(record))
    code, _, err = run("eval.py", f"--ckpt={tmp_path}", "--submit=out.zip")
    assert code == 2 and "was trained on streets; the server takes Cityscapes" in err


def test_fewer_pictures_than_the_server_wants():
    assert shortfall("test", 1525) is None
    for split, count in (("test", 1524), ("val", 500)):
        assert "the server wants all 1525 pictures of test" in shortfall(split, count)
