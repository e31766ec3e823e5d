"""Scores against a NumPy loop and against the official Cityscapes evaluation."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxseg.data.classes import CITYSCAPES, ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.evaluation.evaluate import Evaluator
from jaxseg.evaluation.report import print_scores
from jaxseg.evaluation.scores import Scores, confusion_matrix
from jaxseg.models.layers import Network


def random_maps(k, seed=0, shape=(3, 17, 23)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, shape, dtype=np.uint8)
    truth[rng.random(shape) < 0.2] = 255
    guess = rng.integers(0, k, shape, dtype=np.uint8)
    return truth, np.where(rng.random(shape) < 0.6, np.minimum(truth, k - 1), guess)


def test_confusion_matrix_counts_every_known_pixel():
    truth, guess = random_maps(5)
    expected = np.zeros((5, 5), int)
    for t, g in zip(truth.ravel().tolist(), guess.ravel().tolist(), strict=True):
        if t != 255:
            expected[t, g] += 1
    matrix = confusion_matrix(jnp.asarray(guess), jnp.asarray(truth), 5)
    np.testing.assert_array_equal(matrix, expected)


TABLE = ClassTable(("a", "b", "c", "d"), ((0, 0, 0),) * 4)


def test_a_class_that_is_never_seen_is_left_out_of_the_mean():
    matrix = np.array([[6, 2, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    scores = Scores(matrix, TABLE)
    np.testing.assert_allclose(scores.class_iou[:2], [6 / 8, 4 / 6])
    assert np.isnan(scores.class_iou[2:]).all()
    assert scores.miou == pytest.approx((6 / 8 + 4 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(10 / 12)
    assert scores.as_dict()["class_iou"]["c"] is None


def test_a_class_that_is_only_predicted_counts_as_zero():
    matrix = np.array([[6, 0, 2, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert Scores(matrix, TABLE).class_iou[2] == 0.0


def test_nothing_but_void_has_no_score():
    result = Scores(np.zeros((4, 4), int), TABLE).as_dict()
    assert result["miou"] is None and result["pixel_accuracy"] is None


def test_equals_the_official_cityscapes_evaluation():
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    )
    from cityscapesscripts.helpers.labels import id2label, trainId2label

    truth, guess = random_maps(19, seed=1, shape=(2, 64, 96))
    to_id = np.zeros(256, np.uint8)  # label id 0, unlabelled, is ignored there
    for i in range(19):
        to_id[i] = trainId2label[i].id
    matrix = official.generateMatrix(official.args)
    for t, g in zip(to_id[truth], to_id[guess], strict=True):
        for a, b in zip(t.ravel().tolist(), g.ravel().tolist(), strict=True):
            matrix[a][b] += 1
    ours = confusion_matrix(jnp.asarray(guess), jnp.asarray(truth), 19)
    scores = Scores(np.asarray(ours), CITYSCAPES)
    theirs = [
        official.getIouScoreForLabel(trainId2label[i].id, matrix, official.args)
        for i in range(19)
    ]
    assert id2label[trainId2label[18].id].name == "bicycle"
    np.testing.assert_array_equal(scores.class_iou, theirs)
    by_name = {trainId2label[i].name: theirs[i] for i in range(19)}
    mean = official.getScoreAverage(by_name, official.args)
    assert scores.miou == pytest.approx(mean, rel=1e-12)


def test_categories_equal_the_official_evaluation():
    official = pytest.importorskip(
        "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    )
    from cityscapesscripts.helpers.labels import trainId2label

    truth, guess = random_maps(19, seed=2)
    ours = np.asarray(confusion_matrix(jnp.asarray(guess), jnp.asarray(truth), 19))
    ids = [trainId2label[i].id for i in range(19)]
    matrix = official.generateMatrix(official.args)
    matrix[np.ix_(ids, ids)] = ours
    scores = Scores(ours, CITYSCAPES).as_dict()
    assert len(scores["category_iou"]) == 7
    for name, iou in scores["category_iou"].items():
        assert iou == official.getIouScoreForCategory(name, matrix, official.args)
    mean = official.getScoreAverage(scores["category_iou"], official.args)
    assert scores["category_miou"] == pytest.approx(mean, rel=1e-12)
    assert Scores(ours, TABLE19).as_dict().keys() == scores.keys() - {
        "category_iou",
        "category_miou",
    }


TABLE19 = ClassTable(CITYSCAPES.names, CITYSCAPES.palette)


class Echo(Network):
    """A network whose logits are its input."""

    @nn.compact
    def __call__(self, image, *, train):
        return image


class FakeLoader:
    """Five samples of 2x3 pixels; sample i shows class i % 3."""

    ids = tuple("abcde")
    hw = (2, 3)

    def batches(self, indices):
        for row in indices:
            label = np.broadcast_to((row % 3)[:, None, None], (len(row), *self.hw))
            yield {"image": 200 * np.eye(3, dtype=np.uint8)[label], "label": label}


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8])
def test_every_sample_counts_once_whatever_the_batch(batch_size):
    table = ClassTable(tuple("abc"), ((0, 0, 0),) * 3)
    evaluator = Evaluator(Echo(num_classes=3), Preprocess(), table, batch_size)
    scores = evaluator({}, FakeLoader())
    np.testing.assert_array_equal(scores.matrix, 6 * np.diag([2, 2, 1]))


def test_names_with_brackets_are_printed(capsys):
    table = ClassTable(("road [paved]", "[/b]"), ((1, 2, 3), (4, 5, 6)))
    result = Scores(np.array([[3, 1], [0, 4]]), table).as_dict()
    print_scores(result | {"protocol": "folder val"}, Console())
    out = capsys.readouterr().out
    assert "road [paved]" in out and "[/b]" in out and "75.00" in out
