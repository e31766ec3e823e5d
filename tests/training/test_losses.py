"""The loss, its gradient, the schedule and the optimiser, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import UserError
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.optim import build_optimizer, build_schedule

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 3, 5, 4)) * 3
LABEL = RNG.integers(0, 4, (2, 3, 5))
LABEL[0, 1, 2:] = 255
WEIGHTS = (1.0, 2.0, 0.5, 3.0)


def softmax(z):
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def by_hand(logits, label, weights=(1.0,) * 4, smoothing=0.0, counts=lambda at: True):
    """Weighted mean loss and its gradient, one pixel after the other, in float64."""
    total, loss, gradient = 0.0, 0.0, np.zeros(logits.shape)
    for at in np.ndindex(label.shape):
        if label[at] == 255 or not counts(at):
            continue
        p, y = softmax(logits[at]), label[at]
        k = len(p)
        # Every class c has its share of the target, times its weight.
        target = weights * ((1 - smoothing) * np.eye(k)[y] + smoothing / k)
        loss -= (target * np.log(p)).sum()
        gradient[at] = target.sum() * p - target
        total += weights[y]
    return loss / total, gradient / total


def ours(loss, logits=LOGITS, label=LABEL):
    """Value, gradient and metrics."""
    function = jax.value_and_grad(loss, has_aux=True)
    (value, metrics), gradient = function(
        jnp.asarray(logits, jnp.float32), jnp.asarray(label)
    )
    return float(value), gradient, metrics


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [(), WEIGHTS])
def test_cross_entropy_and_gradient(weights, smoothing):
    loss, gradient, metrics = ours(CrossEntropy(weights, smoothing))
    table = np.array(weights or (1.0,) * 4)
    expected = by_hand(LOGITS, LABEL, table, smoothing)
    assert loss == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-7)
    assert metrics == {}


@pytest.mark.parametrize(
    "threshold, least",
    # 27 of 30 pixels are valid: too few are below the threshold; enough are; more are
    # asked for than there are; none is asked for.
    [(0.02, 0.5), (0.6, 0.1), (0.1, 1.0), (0.3, 0.0)],
)
def test_ohem_counts_the_hardest(threshold, least):
    own = {
        at: softmax(LOGITS[at])[LABEL[at]]
        for at in np.ndindex(LABEL.shape)
        if LABEL[at] != 255
    }
    hardest = sorted(own, key=own.get)[: int(least * LABEL.size)]
    counted = {at for at, p in own.items() if p <= threshold} | set(hardest)
    expected = by_hand(LOGITS, LABEL, WEIGHTS, counts=counted.__contains__)
    loss = CrossEntropy(WEIGHTS, 0.0, threshold, least)
    value, gradient, metrics = ours(loss)
    assert value == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-6)
    assert float(metrics["kept"]) == pytest.approx(len(counted) / len(own))


@pytest.mark.parametrize("more", [{}, {"ohem_threshold": 0.7}, {"dice": 1.0}])
def test_all_void_is_zero_with_zero_gradients(more):
    loss = CrossEntropy(WEIGHTS, 0.1, **more)
    value, gradient, metrics = ours(loss, label=np.full((2, 3, 5), 255))
    assert value == 0.0 and all(kept == 0 for kept in metrics.values())
    np.testing.assert_array_equal(gradient, 0.0)


def dice_by_hand(logits, label):
    """In float64, class by class; class 4 does not occur and counts for nothing."""
    p, known = np.apply_along_axis(softmax, -1, logits), label != 255
    shares = []
    for c in np.unique(label[known]):
        true = (label == c) & known
        total = p[known, c].sum() + true.sum()
        shares.append(2 * p[true, c].sum() / total)
    return 1 - np.mean(shares)


def test_dice_loss_and_gradient():
    logits = np.concatenate([LOGITS, RNG.normal(size=(2, 3, 5, 1))], -1)
    plain, without, _ = ours(CrossEntropy(), logits)
    loss, gradient, _ = ours(CrossEntropy(dice=0.5), logits)
    assert loss - plain == pytest.approx(0.5 * dice_by_hand(logits, LABEL), rel=1e-5)
    for at in [(0, 0, 0, 1), (1, 2, 4, 4), (0, 1, 3, 0)]:  # the last one is void
        step = np.zeros_like(logits)
        step[at] = 1e-5
        rise = dice_by_hand(logits + step, LABEL) - dice_by_hand(logits - step, LABEL)
        found = gradient[at] - without[at]
        assert found == pytest.approx(0.5 * rise / 2e-5, abs=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.asarray(LOGITS, jnp.bfloat16)
    loss, _ = CrossEntropy()(logits, jnp.asarray(LABEL))
    expected, _ = by_hand(np.asarray(logits, np.float64), LABEL)
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_weights_of_another_number_of_classes():
    with pytest.raises(ValueError, match="needs 4 weights, got 3"):
        CrossEntropy((1.0, 1.0, 1.0))(jnp.asarray(LOGITS), jnp.asarray(LABEL))


def test_poly_schedule():
    poly = build_schedule(0.5, 0.9, total_steps=100)
    for step in (0, 1, 50, 99, 100):
        assert float(poly(step)) == pytest.approx(0.5 * (1 - step / 100) ** 0.9)
    warm = build_schedule(0.5, 0.9, total_steps=100, warmup_steps=20)
    assert [float(warm(s)) for s in (0, 10, 20)] == pytest.approx([0.0, 0.25, 0.5])
    assert float(warm(60)) == pytest.approx(0.5 * 0.5**0.9)


def two_steps(name):
    """Two steps from fixed gradients, with decay 0.1 on the kernel alone."""
    tx = build_optimizer(lambda step: 0.5, name, weight_decay=0.1, momentum=0.9)
    params = {"conv": {"kernel": jnp.asarray(2.0), "bias": jnp.asarray(2.0)}}
    state = tx.init(params)
    for _ in range(2):
        grads = jax.tree.map(jnp.ones_like, params)
        with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
            updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return float(params["conv"]["kernel"]), float(params["conv"]["bias"])


def test_sgd_is_pytorchs_with_coupled_decay_on_kernels_only():
    results = []
    for decay in (0.1, 0.0):
        weight, velocity = 2.0, 0.0
        for _ in range(2):
            velocity = 0.9 * velocity + (1.0 + decay * weight)
            weight -= 0.5 * velocity
        results.append(weight)
    assert two_steps("sgd") == pytest.approx(tuple(results), rel=1e-6)


def test_adam_is_pytorchs_with_coupled_decay_on_kernels_only():
    results = []
    for decay in (0.1, 0.0):
        weight, m, v = 2.0, 0.0, 0.0
        for t in (1, 2):
            g = 1.0 + decay * weight
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            weight -= 0.5 * step
        results.append(weight)
    assert two_steps("adam") == pytest.approx(tuple(results), rel=1e-5)


def test_unknown_optimiser():
    with pytest.raises(UserError, match="'lion'; it can be adam or sgd"):
        build_optimizer(lambda step: 0.5, "lion", weight_decay=0.0)
