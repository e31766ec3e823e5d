"""The page of mistakes: its counts by loops, and the page itself."""

import re

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.data.classes import CAMVID, ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.evaluation import gallery
from jaxseg.evaluation.details import BANDS, Details, distance_to_boundary
from jaxseg.models.layers import Network

TABLE = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3)


def blocks(seed, side=24):
    """A truth of blocks with some void, and a prediction that is right mostly."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (4, 5)).repeat(side // 4, 0).repeat(side // 4, 1)
    truth = truth.astype(np.uint8)
    truth[:5, :9] = 255
    wrong = rng.random(truth.shape) < 0.3
    return truth, np.where(wrong, rng.integers(0, 3, truth.shape), truth % 3).astype(
        np.uint8
    )


def test_distances_to_boundaries_are_those_of_a_loop():
    truth, _ = blocks(0)
    h, w = truth.shape
    touching = [
        (y, x)
        for y in range(h)
        for x in range(w)
        for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
        if 0 <= v < h and 0 <= u < w and 255 not in (truth[y, x], truth[v, u])
        if truth[y, x] != truth[v, u]
    ]
    for (y, x), found in np.ndenumerate(distance_to_boundary(truth)):
        assert found == 1 + min(max(abs(y - v), abs(x - u)) for v, u in touching)
    assert (distance_to_boundary(np.zeros((3, 4), np.uint8)) > 4).all()


def test_counts_are_those_of_a_loop():
    details, pictures = Details(TABLE), [blocks(1), blocks(2)]
    expected = np.zeros((3, 3), int)
    near = np.zeros((len(BANDS), 3, 3), int)
    for number, (truth, predicted) in enumerate(pictures):
        details.add(str(number), truth, predicted)
        distance = distance_to_boundary(truth)
        for (y, x), t in np.ndenumerate(truth):
            if t != 255:
                expected[t, predicted[y, x]] += 1
                for band, width in enumerate(BANDS):
                    near[band, t, predicted[y, x]] += distance[y, x] <= width
    np.testing.assert_array_equal(details.scores.matrix, expected)
    np.testing.assert_array_equal(details.bands, near)
    t, p, share = details.most_confused(1)[0]
    shares = expected / expected.sum(1, keepdims=True) * (1 - np.eye(3))
    assert share == pytest.approx(shares.max()) == shares[t, p]
    ious = [
        np.diag(m)[0] / (m[0].sum() + m[:, 0].sum() - m[0, 0])
        for m in (details.matrices["0"], details.matrices["1"])
    ]
    assert details.worst(0, 2) == [str(i) for i in np.argsort(ious)]


def test_regions_by_size():
    truth = np.zeros((200, 200), np.uint8)
    truth[10:20, 10:20] = truth[50:100, 50:100] = 1  # 100 and 2500 pixels
    truth[120:130, 10:20] = 1  # and another small one, that is not found
    predicted = truth.copy()
    predicted[120:126] = 0
    details = Details(TABLE)
    details.add("x", truth, predicted)
    assert details.regions.tolist() == [[0, 0, 1], [2, 1, 0], [0, 0, 0]]
    assert details.found.tolist() == [[0, 0, 1], [1, 1, 0], [0, 0, 0]]


class Bright(Network):
    """Sky where the picture is bright, else road."""

    @nn.compact
    def __call__(self, image, *, train):
        bright = image[..., :1]
        rest = [0 * bright - 9] * (self.num_classes - 4)
        logits = [bright, 0 * bright - 9, 0 * bright - 9, 0.5 + 0 * bright, *rest]
        return jnp.concatenate(logits, -1)


def test_the_page(camvid_tree, tmp_path, monkeypatch):
    class FakeRun:
        table, preprocess = CAMVID, Preprocess()
        record = {
            "config": {
                "data": {
                    "name": "camvid",
                    "dir": str(camvid_tree),
                    "train_split": "train",
                }
            },
            "model": {"name": "<bright>"},
        }
        folder = tmp_path

        def __init__(self, folder):
            pass

        def model(self):
            return Bright(num_classes=11)

        def variables(self, which):
            return {}, 7

    monkeypatch.setattr(gallery, "Run", FakeRun)
    path = tmp_path / "g.html"
    assert gallery.main(["--ckpt", "x", "--split", "val", f"--output={path}"]) == 0
    page = path.read_text()
    assert "&lt;bright&gt; on camvid val" in page and "<bright>" not in page
    assert "single scale, no flip, step 7" in page
    (matrix,) = re.findall(r"<table class='matrix'>.*?</table>", page, re.S)
    assert matrix.count("<tr>") == 12
    assert page.count("data:image/webp;base64,") >= 9
    assert "http" not in page  # nothing is fetched
    assert gallery.main(["--ckpt", "x", "--split", "never"]) == 2
