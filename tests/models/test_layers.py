"""Primitives against the textbook `lax` call, units against NumPy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg.models import layers


def textbook(x, kernel, stride, dilation):
    pads = [(d * (k - 1) // 2,) * 2 for k, d in zip(kernel.shape, dilation)]
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(
    "hw, kernel_hw, channels, stride, dilation",
    [
        ((9, 10), (3, 1), (16, 8), 1, (2, 1)),
        ((9, 10), (1, 5), (16, 16), 1, (1, 1)),
        ((8, 10), (3, 3), (16, 5), 2, (1, 1)),
        ((9, 11), (3, 3), (16, 5), 2, (1, 1)),
        ((6, 6), (3, 1), (3, 4), 1, (9, 1)),
    ],
)
def test_conv2d_and_its_gradients(hw, kernel_hw, channels, stride, dilation):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, *hw, channels[0]))
    kernel = jax.random.normal(keys[1], (*kernel_hw, *channels))

    def ours(x, kernel):
        return layers.conv2d(x, kernel, stride=stride, dilation=dilation)

    expected, pull_expected = jax.vjp(
        lambda x, k: textbook(x, k, stride, dilation), x, kernel
    )
    value, pull = jax.vjp(ours, x, kernel)
    g = jax.random.normal(keys[2], expected.shape)
    pairs = zip((value, *pull(g)), (expected, *pull_expected(g)), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("k, pad", [(2, 1), (3, 1)])
def test_conv2d_transpose_scatters_each_pixel_through_the_kernel(k, pad):
    """By the definition: y[2i + u - p, 2j + v - p] += x[i, j] @ kernel[u, v]."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(k, k, 5, 6))
    p = pad if k == 3 else 0
    full = np.zeros((2, 2 * 3 + 2, 2 * 4 + 2, 6))
    for i in range(3):
        for j in range(4):
            for u in range(k):
                for v in range(k):
                    full[:, 2 * i + u, 2 * j + v] += x[:, i, j] @ kernel[u, v]
    expected = full[:, p : p + 6, p : p + 8]
    ours = layers.conv2d_transpose(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_max_pool_gives_the_gradient_to_the_first_of_equals():
    x = jnp.asarray([[[[3.0], [3.0]], [[3.0], [1.0]]]])
    assert layers.max_pool2(x).item() == 3.0
    gradient = jax.grad(lambda x: layers.max_pool2(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1.0, 0.0], [0.0, 0.0]])


def test_batch_norm_in_training_is_pytorchs():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, size=(3, 5, 7, 4)).astype(np.float32)
    norm = layers.BatchNorm(1e-3)
    variables = norm.init(jax.random.key(0), x, train=False)
    y, updated = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    expected = (x - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    unbiased = x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_batch_norm_gradients_equal_autodiff_of_flax():
    x = jax.random.normal(jax.random.key(0), (2, 6, 5, 8)) * 2 + 1
    g = jax.random.normal(jax.random.key(1), x.shape)
    params = {
        "scale": jnp.linspace(0.5, 2.0, 8),
        "bias": jnp.linspace(-1.0, 1.0, 8),
    }
    stats = {"mean": jnp.zeros(8), "var": jnp.ones(8)}
    ours = layers.BatchNorm(1e-3)
    flax = nn.BatchNorm(use_running_average=False, epsilon=1e-3)

    def pull(module, **kwargs):
        def f(params, x):
            variables = {"params": params, "batch_stats": stats}
            return module.apply(variables, x, mutable=["batch_stats"], **kwargs)[0]

        return jax.vjp(f, params, x)[1](g)

    for a, b in zip(
        jax.tree.leaves(pull(ours, train=True)),
        jax.tree.leaves(pull(flax)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_batch_norm_over_an_axis_sees_the_whole_batch():
    """Two halves of a batch, mapped with an axis name, against the batch in one."""
    x = jax.random.normal(jax.random.key(0), (4, 3, 5, 8)) + 1
    g = jax.random.normal(jax.random.key(1), x.shape)
    whole, mapped = layers.BatchNorm(1e-3), layers.BatchNorm(1e-3, axis_name="data")
    variables = whole.init(jax.random.key(0), x, train=False)

    def run(module):
        def f(x, g):
            def forward(x):
                return module.apply(variables, x, train=True, mutable=["batch_stats"])

            y, pull, updated = jax.vjp(forward, x, has_aux=True)
            return y, pull(g)[0], updated["batch_stats"]

        return f

    y, dx, stats = run(whole)(x, g)
    halves = [t.reshape(2, 2, 3, 5, 8) for t in (x, g)]
    y2, dx2, stats2 = jax.vmap(run(mapped), axis_name="data")(*halves)
    np.testing.assert_allclose(y2.reshape(x.shape), y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dx2.reshape(x.shape), dx, rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        np.testing.assert_allclose(stats2[name][0], stats[name], rtol=1e-5)
        np.testing.assert_array_equal(stats2[name][0], stats2[name][1])


def test_dropout_drops_whole_channels_and_keeps_the_mean():
    x = jnp.ones((64, 3, 5, 32))
    dropped = layers.Dropout2d(0.25).apply(
        {}, x, train=True, rngs={"dropout": jax.random.key(0)}
    )
    planes = np.asarray(dropped).transpose(0, 3, 1, 2).reshape(64 * 32, -1)
    assert (planes == planes[:, :1]).all()
    np.testing.assert_allclose(np.unique(planes), [0.0, 1 / 0.75], rtol=1e-6)
    # 2048 channels: three standard deviations of the dropped share are 0.029.
    assert abs((planes[:, 0] == 0).mean() - 0.25) < 0.03


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_statistics():
    unit = layers.ConvNormAct(8, (3, 3), norm=1e-3, act="relu", dtype=jnp.bfloat16)
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 16))
    variables = unit.init(jax.random.key(1), x, train=False)
    y, updated = unit.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {
        jnp.dtype("float32")
    }
    exact, _ = unit.clone(dtype=jnp.float32).apply(
        variables, x, train=True, mutable=["batch_stats"]
    )
    np.testing.assert_allclose(np.asarray(y, np.float32), exact, atol=0.05)
