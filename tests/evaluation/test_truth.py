"""Scores at the size of the truth, on the data that a run was trained on."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import open_source
from jaxseg.errors import UserError
from jaxseg.evaluation.data import source_of
from jaxseg.evaluation.evaluate import Evaluator, protocol, true_labels
from jaxseg.evaluation.report import print_scores
from jaxseg.evaluation.scores import Scores
from jaxseg.models.layers import Network
from jaxseg.runs import Run, describe

PLAIN = Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3)
CLASSES = {"red": 0, "green": 1, "blue": 2}


class Echo(Network):
    """A network whose logits are its input: red, green and blue pixels."""

    def __call__(self, image, *, train):
        return image


def write_folder(root, classes, size=None):
    """Two pictures of different sizes that show their labels, a row of void below."""
    rng = np.random.default_rng(0)
    for name, hw in (("a", (12, 20)), ("b", (30, 9))):
        label = rng.integers(0, 3, hw, dtype=np.uint8)
        picture = 255 * np.eye(3, dtype=np.uint8)[label]
        label[-1] = 255
        for kind, array in (("images", picture), ("labels", label)):
            for split in ("train", "val"):
                path = root / kind / split / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    described = {"classes": classes, **({"size": size} if size else {})}
    (root / "dataset.yaml").write_text(json.dumps(described))
    return root


def test_names_with_brackets_are_printed_as_they_are():
    table = ClassTable(("road [paved]", "[/b]"), ((0, 0, 0),) * 2)
    scores = Scores(np.diag([3, 1]), table).as_dict()
    console = Console(file=io.StringIO(), width=80)
    print_scores({"protocol": "folder [val]", **scores}, console)
    for name in ("road [paved]", "[/b]", "folder [val]"):
        assert name in console.file.getvalue()


class Whole:
    """A loader of a source's split, in batches as they are asked for."""

    def __init__(self, source):
        self.source, self.ids, self.hw = source, tuple(source.ids("val")), source.hw

    def batches(self, indices):
        for row in indices:
            pairs = [self.source.read("val", self.ids[i]) for i in row]
            yield dict(zip(("image", "label"), map(np.stack, zip(*pairs))))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_with_a_size_the_score_is_at_the_size_of_each_picture(tmp_path, batch_size):
    source = open_source("folder", str(write_folder(tmp_path, CLASSES, [15, 15])))
    expected = np.zeros((3, 3), int)
    for name in "ab":
        image, _ = source.read("val", name)
        label = np.asarray(Image.open(tmp_path / "labels" / "val" / f"{name}.png"))
        found, (h, w) = image.argmax(-1), label.shape
        for y in range(h - 1):
            for x in range(w):
                # The pixel of the small map under the middle of this one.
                seen = found[int((y + 0.5) * 15 / h), int((x + 0.5) * 15 / w)]
                expected[label[y, x], seen] += 1
    evaluator = Evaluator(Echo(num_classes=3), PLAIN, source.table, batch_size)
    truth = true_labels(source, "val")
    scores = evaluator({}, Whole(source), truth=truth)
    np.testing.assert_array_equal(scores.matrix, expected)
    assert scores.matrix.sum() == 11 * 20 + 29 * 9
    line = protocol(source, "val", 7, "train", 8, PLAIN)
    assert (
        "at the size of each picture's truth, from pictures resized to 15x15, padded "
        "to 16x16 for the network, 3 classes"
    ) in line


def run_on(folder, classes, workdir):
    """A run that was trained on `folder`."""
    source = open_source("folder", str(write_folder(folder, classes)))
    config = {"data": {"name": "folder", "dir": str(folder)}}
    model = {"name": "esnet", "num_classes": len(classes)}
    return Run.start(workdir, describe(model, source.table, Preprocess(), config))


@pytest.mark.parametrize(
    "now, sentence",
    [
        ({"red": 0, "blue": 2, "green": 1}, "class 1 is 'green' in the run and 'blue'"),
        ({"red": 0, "green": [1, 2]}, "'blue' is missing there"),
        ({**CLASSES, "sky": 7}, "'sky' is new there"),
    ],
)
def test_data_with_other_classes_than_the_run(tmp_path, now, sentence):
    folder = tmp_path / "data"
    run = run_on(folder, CLASSES, tmp_path / "run")
    assert true_labels(source_of(run), "val") is None
    write_folder(folder, now)
    with pytest.raises(UserError, match=f"other classes than .*data has: {sentence}"):
        source_of(run)


def test_data_that_were_moved(tmp_path):
    folder = tmp_path / "data"
    run = run_on(folder, CLASSES, tmp_path / "run")
    moved = shutil.move(folder, tmp_path / "moved")
    with pytest.raises(UserError, match="which is not there; say .* --data-dir"):
        source_of(run)
    assert source_of(run, str(moved)).root == moved
    run.record["config"]["data"] = {"name": "streets", "dir": ""}
    assert source_of(run, "anywhere").name == "streets"
