"""Trainings that end by the clock, or where validation no longer improves."""

import io
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import ROOT
from rich.console import Console
from test_epoch import Small

from jaxseg import models
from jaxseg.evaluation.scores import Scores
from jaxseg.training import rate
from jaxseg.training.recipe import Recipe, TrainSettings
from jaxseg.training.train import train
from jaxseg.training.validation import Validation


class Clock:
    """Time that passes when a step says so."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def step(self, seconds):
        def take(state, batch):
            self.now += seconds
            return state, {"loss": np.zeros(())}

        return take


@pytest.mark.parametrize(
    "seconds, minutes, images_per_s, epochs",
    [
        # 6 batches of 2 of 13 pictures an epoch.
        ((0.5,), 1, 4.0, 20),  # 240 pictures, 12 an epoch
        ((0.5,), 0.01, 4.0, 1),  # less than one
        ((0.25, 0.75), 1, 4.0, 20),  # two sizes of crops, in turn
        ((10.0,), 10, 0.2, 10),  # two steps are measured, not twenty
    ],
)
def test_epochs_that_fit_a_time(monkeypatch, seconds, minutes, images_per_s, epochs):
    clock = Clock(monkeypatch)
    loaded = []

    def batches(rows):
        for row in rows:
            loaded.append(row)
            yield row

    data = SimpleNamespace(
        train=SimpleNamespace(ids=["x"] * 13, batches=batches),
    )
    monkeypatch.setattr(rate, "init_state", lambda *arguments: {})
    steps = tuple(map(clock.step, seconds))
    settings = TrainSettings(num_epochs=3, batch_size=2)
    recipe = Recipe(None, None, settings, None, None, steps, None, 0, 18)
    found, measured = rate.epochs_in(minutes, recipe, data)
    assert found == epochs and measured == pytest.approx(images_per_s)
    assert all(len(set(row)) == 2 for row in loaded)


@pytest.fixture
def trained(camvid_tree, tmp_path, monkeypatch):
    """Trains a small network; validations find what the list `miou` says."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(models, "create", lambda name, num_classes=19, **_: Small())
    monkeypatch.setattr(Validation, "pictures", lambda *_: np.zeros((8, 8, 3), "u1"))
    from configs import dabnet

    def call(miou, **changes):
        left = iter(miou)

        def evaluator(model, preprocess, table, batch_size):
            def evaluate(*arguments):
                share = round(1000 * next(left))
                half = (1000 - share) // 2  # IoU of both: share of 1000
                matrix = np.zeros((len(table), len(table)), np.int64)
                matrix[:2, :2] = [[share, half], [half, share]]
                return Scores(matrix, table)

            return evaluate

        monkeypatch.setattr("jaxseg.training.validation.Evaluator", evaluator)
        config = dabnet.get_config("camvid")
        config.data.dir = str(camvid_tree)
        config.augment.crop_hw = (64, 64)
        config.train.update(batch_size=8, eval_every_epochs=1)
        config.train.update(**changes)
        said = Console(file=io.StringIO(), width=300)
        with jax.numpy_dtype_promotion("standard"):  # Optax counts on it
            run, finished = train(config, tmp_path / "run", said)
        assert finished and not list(left)
        return run, said.file.getvalue()

    return call


def test_training_ends_where_validation_no_longer_improves(trained):
    """Two steps an epoch; the best so far is that of the second."""
    settings = dict(num_epochs=9, patience=2)
    run, said = trained([0.3, 0.5, 0.4, 0.49], **settings)
    assert "It ended at step 8 of 18: of the last 2 validations none" in said
    assert run.variables("last")[1] == 8 and run.variables("best")[1] == 4
    _, said = trained([], **settings)
    assert "epoch 4 of 9, step 8, and config.train.patience ends it there" in said
    run, said = trained([0.6, 0.4, 0.4, 0.4], num_epochs=9, patience=3)
    assert run.variables("last")[1] == 16 and run.variables("best")[1] == 10


def test_a_run_keeps_the_epochs_that_were_found_when_it_began(trained, monkeypatch):
    monkeypatch.setattr("jaxseg.training.train.epochs_in", lambda *_: (2, 3.21))
    run, said = trained([0.3, 0.5], num_epochs=7, minutes=1.5)
    assert "3.2 images/s: 2 epochs." in said and run.variables("last")[1] == 4
    assert run.record["config"]["train"]["num_epochs"] == 2
    monkeypatch.setattr("jaxseg.training.train.epochs_in", lambda *_: 1 / 0)
    _, said = trained([], num_epochs=7, minutes=1.5)
    assert "Nothing was done: the run is at epoch 2 of 2" in said
