"""Weights that ship: what is in the package, and that a run is given back."""

import json

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from weights import drawn_variables

from jaxseg import models, weights
from jaxseg.errors import UserError
from jaxseg.runs import Run

RECORD = {
    "format": 1,
    "model": {"name": "fpenet", "num_classes": 2},
    "classes": {"names": ["a", "b"], "palette": [[0, 0, 0], [9, 9, 9]]},
    "preprocess": {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]},
    "config": {},
    "scores": {"best": {"step": 7, "miou": 0.5}},
}


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """FPENet's drawn weights, shipped as `fpenet-x`; and what they were."""
    monkeypatch.setattr(weights, "_FOLDER", tmp_path)
    variables = drawn_variables(models.create(**RECORD["model"]), (64, 64))
    weights.write(tmp_path / "fpenet-x", RECORD, variables, commit="abc")
    return variables


def test_a_name_is_the_run_that_shipped(shipped):
    assert weights.names() == ["fpenet-x"]
    run = Run("fpenet-x")
    assert run.table.names == ("a", "b") and run.preprocess.mean == (1.0, 2.0, 3.0)
    found, step = run.variables()
    assert step == 7
    expected = flatten_dict(shipped)
    for path, array in flatten_dict(found).items():
        assert array.dtype == np.float32
        value = np.asarray(expected.pop(path))
        if path[0] == "params":
            value = value.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(array, value)
    assert not expected
    with pytest.raises(UserError, match="fpenet-x ships as step 7 alone"):
        run.variables(8)


def test_transposed_views_are_written_as_they_are_seen(tmp_path):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 3, 2, 5)).astype(np.float32).transpose(2, 3, 1, 0)
    weights.write(tmp_path / "x", RECORD, {"params": {"kernel": kernel}}, halved=False)
    sha256 = json.loads((tmp_path / "x" / "run.json").read_text())["weights"]["sha256"]
    found = weights.read(tmp_path / "x", sha256)["params"]["kernel"]
    np.testing.assert_array_equal(found, kernel)


def test_a_file_that_is_cut_off_or_of_other_bytes(shipped, tmp_path):
    path = tmp_path / "fpenet-x" / weights.FILE
    whole = path.read_bytes()
    for damaged in (whole[:-9], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cut off or was changed.*Install"):
            Run("fpenet-x").variables()


def test_another_name_is_told_which_there_are(shipped):
    with pytest.raises(UserError, match="or the name of weights that ship: fpenet-x"):
        Run("fpenet-camvld")


def test_what_ships_is_whole_and_small():
    """Every folder of the package: network, shapes, a score and its protocol."""
    size = 0
    for name in weights.names():
        run = Run(name)
        found, _ = run.variables()
        image = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
        model = run.model()
        like = jax.eval_shape(
            lambda x, m=model: m.init(jax.random.key(0), x, train=False), image
        )
        shapes = jax.tree.map(lambda x: x.shape, like)
        assert jax.tree.map(lambda x: x.shape, found) == shapes
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
        best = run.record["scores"]["best"]
        assert 0 < best["miou"] < 1 and "single scale" in best["protocol"]
        assert {"commit", "note", "sha256"} <= set(run.record["weights"])
        folder = weights.folder_of(name)
        size += sum(path.stat().st_size for path in folder.iterdir())
        assert json.loads((folder / "run.json").read_text())["format"] == 1
        assert f"{100 * best['miou']:.2f} %" in (folder / "MODEL_CARD.md").read_text()
    assert size <= 25e6
