"""Steps that the device takes by itself are the steps that it is told one by one."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT
from rich.console import Console

from jaxseg import models
from jaxseg.data.augment import Augment
from jaxseg.data.loaders import take
from jaxseg.data.preprocess import Preprocess
from jaxseg.models.layers import BatchNorm, Conv, Unit
from jaxseg.training.epoch import make_train_steps
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.step import init_state, make_train_step
from jaxseg.training.stopping import StopSignal
from jaxseg.training.train import train

RNG = np.random.default_rng(0)
SPLIT = {
    "image": RNG.integers(0, 256, (6, 64, 96, 3), dtype=np.uint8),
    "label": RNG.integers(0, 11, (6, 64, 96), dtype=np.uint8),
}
ORDER = np.array([[0, 1], [2, 3], [4, 5], [1, 3]], np.int32)


class Small(Unit):
    """Two layers, with a norm and dropout: what steps carry from one to the next."""

    num_classes: int = 11

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(4, (3, 3), name="conv")(x)
        x = BatchNorm(eps=1e-3, name="norm")(x, train=train)
        x = nn.Dropout(0.3, deterministic=not train)(x)
        return Conv(self.num_classes, (1, 1), name="head")(x)


def recipe(model):
    """A step with everything that a recipe may ask for, and how its state starts."""
    tx = optax.sgd(1e-2, momentum=0.9)
    augment = Augment((64, 64), scale=(0.8, 1.2), colour_jitter=0.1)
    step = make_train_step(
        model, tx, CrossEntropy(), augment, Preprocess(), seed=7, ema_decay=0.9
    )
    return step, lambda: init_state(model, tx, 0, (64, 64), 0.9)


def assert_same_bits(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def assert_calls_do_not_matter(train_steps, start):
    """All rows in one call, and the same rows in three calls."""
    split, order = map(jax.device_put, (SPLIT, ORDER))
    whole, metrics = train_steps(start(), split, order, 0, len(ORDER))
    state, losses = start(), np.zeros(len(ORDER), np.float32)
    for begin, end in ((0, 1), (1, 3), (3, 4)):
        state, found = train_steps(state, split, order, begin, end)
        losses += found["loss"]
    assert int(whole.step) == len(ORDER)
    assert_same_bits(whole, state)
    np.testing.assert_array_equal(metrics["loss"], losses)
    return whole, losses


def test_the_steps_of_one_call_are_those_of_several():
    step, start = recipe(Small())
    state, losses = assert_calls_do_not_matter(make_train_steps(step), start)
    alone, expected = start(), []
    for row in ORDER:
        alone, metrics = step(alone, take(SPLIT, jnp.asarray(row)))
        expected.append(metrics["loss"])
    # Another program: XLA may round it differently.
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for ours, value in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(alone.params)
    ):
        np.testing.assert_allclose(ours, value, rtol=1e-3, atol=1e-4)


def test_a_run_is_the_same_however_many_steps_a_call_has(
    camvid_tree, tmp_path, monkeypatch
):
    """16 steps an epoch, 5 or 16 a call; and stopped in between: the same weights."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(models, "create", lambda name, num_classes=19, **_: Small())
    from configs import dabnet

    def trained(name, **changes):
        config = dabnet.get_config("camvid")
        config.data.dir = str(camvid_tree)
        config.augment.crop_hw = (64, 64)
        settings = dict(num_epochs=2, batch_size=1, eval_every_epochs=0)
        config.train.update(**settings, **changes)
        with jax.numpy_dtype_promotion("standard"):  # Optax counts on it
            return train(config, tmp_path / name, Console(quiet=True))

    def weights(run):
        variables, step = run.variables("last")
        assert step == 32
        return variables

    run, finished = trained("five", steps_per_call=5)
    assert finished and not run.record["scores"]  # nothing was validated
    lines = (tmp_path / "five" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == [10, 16, 21, 31, 32]  # the calls that pass a multiple of 10
    expected = weights(run)
    assert_same_bits(weights(trained("all", steps_per_call=99)[0]), expected)

    class After(StopSignal):
        """SIGTERM comes during the second call."""

        def is_due(self, step):
            self.requested = step == 10
            return self.requested

    with monkeypatch.context() as stopped:
        stopped.setattr("jaxseg.training.train.StopSignal", After)
        _, finished = trained("stopped", steps_per_call=5)
        assert not finished
    assert_same_bits(weights(trained("stopped", steps_per_call=7)[0]), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_network_s_steps_of_one_call_are_those_of_several(name):
    step, start = recipe(models.create(name, num_classes=11, dtype="bfloat16"))
    assert_calls_do_not_matter(make_train_steps(step), start)
