"""The train step: what it changes, and that mapping it over devices changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import ROOT
from flax.traverse_util import flatten_dict

from jaxseg import models
from jaxseg.data.augment import Augment
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.optim import build_optimizer, build_schedule
from jaxseg.training.step import init_state, make_train_step

RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8),
    "label": RNG.integers(0, 3, (2, 32, 48), dtype=np.uint8),
}


def a_step(tx, **model_kwargs):
    model = models.create("esnet", num_classes=3, **model_kwargs)
    augment = Augment((16, 16), scale=(0.8, 1.2), colour_jitter=0.1)
    step = make_train_step(model, tx, CrossEntropy(), augment, Preprocess(), seed=7)
    return step, init_state(model, tx, 0, (16, 16))


def test_a_step_moves_what_it_should_and_repeats_exactly():
    step, state = a_step(optax.sgd(0.1))
    before = jax.device_get(state)
    after, metrics = step(state, BATCH)
    after = jax.device_get(after)
    assert np.isfinite(float(metrics["loss"])) and int(after.step) == 1
    moved = flatten_dict(
        jax.tree.map(lambda a, b: (a != b).any(), before.variables, after.variables)
    )
    still = {path for path, has_moved in moved.items() if not has_moved}
    # The bias of a convolution in front of a batch norm changes nothing.
    assert all(path[-2:] == ("conv", "bias") for path in still), still
    again, _ = step(jax.device_put(before), BATCH)
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow  # test_devices does it over eight devices
def test_a_step_that_is_wrapped_by_pmap_equals_the_jitted_one():
    tx = optax.sgd(0.1)
    step, state = a_step(tx, axis_name="data")
    mapped = jax.pmap(step.__wrapped__, axis_name="data")
    add_axis = jax.tree.map(lambda x: jnp.asarray(x)[None], (state, BATCH))
    after, metrics = mapped(*add_axis)
    assert metrics["loss"].shape == (1,)
    assert np.isfinite(metrics["loss"][0]) and int(after.step[0]) == 1


def test_the_average_follows_weights_and_statistics():
    model = models.create("dabnet", num_classes=3, dilations1=(2,), dilations2=(4,))
    tx, augment = optax.sgd(0.1), Augment((16, 16), scale=(0.8, 1.2))
    step = make_train_step(
        model, tx, CrossEntropy(), augment, Preprocess(), seed=7, ema_decay=0.15
    )
    state = init_state(model, tx, 0, (16, 16), ema_decay=0.15)
    expected = jax.device_get(state.trained)
    for taken in range(3):
        state, _ = step(state, BATCH)
        # The first step's (1 + 0) / (10 + 0) is below 0.15, the later ones are not.
        decay = np.float32(0.1 if taken == 0 else 0.15)
        expected = jax.tree.map(
            lambda old, new, d=decay: d * old + (1 - d) * np.asarray(new),
            expected,
            state.trained,
        )
    trained = jax.tree.leaves(state.trained)
    assert jax.tree.structure(state.variables) == jax.tree.structure(state.trained)
    pairs = zip(jax.tree.leaves(state.variables), jax.tree.leaves(expected), trained)
    for average, value, latest in pairs:
        np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-6)
        assert (np.asarray(average) != np.asarray(latest)).any()


def test_the_warm_up_starts_at_its_factor():
    schedule = build_schedule(
        0.3, 0.9, total_steps=100, warmup_steps=10, warmup_factor=1 / 3
    )
    np.testing.assert_allclose(float(schedule(0)), 0.1, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(5)), 0.2, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(10)), 0.3, rtol=1e-6)
    np.testing.assert_allclose(float(schedule(55)), 0.3 * 0.5**0.9, rtol=1e-5)


def test_nesterov_is_pytorch_s():
    """Values by hand: v = 0.9 v + g; the step is g + 0.9 v, or v without Nesterov."""
    for nesterov, steps in ((False, (1.0, 1.9)), (True, (1.9, 2.71))):
        tx = build_optimizer(
            lambda step: 0.5, "sgd", weight_decay=0.0, momentum=0.9, nesterov=nesterov
        )
        params = {"bias": jnp.zeros(1)}
        state = tx.init(params)
        for step in steps:
            updates, state = tx.update({"bias": jnp.ones(1)}, state, params)
            np.testing.assert_allclose(updates["bias"], -0.5 * step, rtol=1e-6)


def build(*overrides):
    from configs import esnet
    from jaxseg.training.recipe import build

    config = esnet.get_config("camvid")
    for path, value in overrides:
        *sections, key = path.split(".")
        target = config
        for section in sections:
            target = target[section]
        with config.unlocked():
            target[key] = value
    return build(config, samples=367, num_classes=11)


@pytest.fixture(autouse=True)
def from_root(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def test_a_config_builds_for_each_data_set():
    from configs import esnet
    from jaxseg.training.recipe import build

    for name, classes in (("camvid", 11), ("streets", 19), ("camvid,modern", 11)):
        config = esnet.get_config(name)
        recipe = build(config, samples=367, num_classes=classes)
        assert recipe.model.num_classes == classes
        per_epoch = 367 // config.train.batch_size
        assert recipe.total_steps == config.train.num_epochs * per_epoch
    with pytest.raises(UserError, match="'mars'; there are: auto, camvid, .*, streets"):
        esnet.get_config("mars")


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("schedule.warmup", 5, r"config\.schedule\.warmup: nothing reads this key"),
        ("extra", 5, r"config\.extra: nothing reads this section"),
        ("model.name", "unet", "no network is called 'unet'; there are: dabnet"),
        ("model.depth", 3, "depth"),
        ("model.num_classes", 19, "is 19, but the data set has 11 classes"),
        ("train.batch_size", 400, "a batch of 400 needs more than the 367"),
        ("optim.name", "lion", "can be adam or sgd"),
        ("preprocess.std", (1.0, 1.0), "three positive scales"),
        ("augment.crop_hw", (64,), "crop_hw=.height, width."),
        ("augment.scale", (2.0, 1.0), "smallest <= largest"),
        ("loss.class_weights", (1.0, 2.0), "needs 11 weights, got 2"),
    ],
)
def test_a_config_that_cannot_be_built_says_why(path, value, message):
    with pytest.raises(UserError, match=message):
        build((path, value))


def test_a_crop_that_does_not_fit_the_network():
    from configs import fddwnet
    from jaxseg.training.recipe import build

    config = fddwnet.get_config("camvid")
    config.augment.crop_hw = (100, 100)
    with pytest.raises(UserError, match="multiples of 8, got 100x100"):
        build(config, samples=367, num_classes=11)
