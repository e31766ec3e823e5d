"""Primitives against the textbook `lax` call, units against NumPy."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxseg import ops
from jaxseg.models import layers, units
from jaxseg.ops import adaptive_avg_pool, resize_bilinear

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# One program a call: what is compiled operation by operation takes longer in all.
def value_and_pull(f, *args):
    """`f(*args)`, a drawn cotangent of it, and what this is pulled back to."""

    @jax.jit
    def run(g, *args):
        value, pull = jax.vjp(f, *args)
        return value, g, *pull(g)

    g = drawn(9, *jax.eval_shape(f, *args).shape)
    return jax.device_get(run(g, *args))


def apply(module, variables, x):
    """In training mode: what a module returns, and its updated statistics."""
    forward = partial(module.apply, train=True, mutable=["batch_stats"])
    return jax.device_get(jax.jit(forward)(variables, x))


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


def textbook(x, kernel, stride, dilation, groups=1):
    pads = [(d * (k - 1) // 2,) * 2 for k, d in zip(kernel.shape, dilation)]
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
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
    x, kernel = drawn(0, 2, *hw, channels[0]), drawn(1, *kernel_hw, *channels)
    ours = partial(ops.conv2d, stride=stride, dilation=dilation)
    theirs = partial(textbook, stride=stride, dilation=dilation)
    assert_same(value_and_pull(ours, x, kernel), value_and_pull(theirs, x, kernel))


@pytest.mark.parametrize(
    "hw, kernel_hw, stride, dilation",
    [
        ((9, 10), (3, 1), 1, (2, 1)),
        ((9, 10), (1, 3), 1, (1, 5)),
        ((6, 7), (3, 3), 1, (9, 9)),
        ((8, 10), (3, 3), 2, (1, 1)),
        ((9, 11), (3, 3), 2, (4, 4)),
        ((4, 5), (1, 1), 1, (1, 1)),
    ],
)
def test_depthwise_sums_are_the_grouped_convolution(hw, kernel_hw, stride, dilation):
    x, kernel = drawn(0, 2, *hw, 24), drawn(1, *kernel_hw, 1, 24)
    ours = partial(ops.depthwise2d, stride=stride, dilation=dilation)
    theirs = partial(textbook, stride=stride, dilation=dilation, groups=24)
    assert_same(value_and_pull(ours, x, kernel), value_and_pull(theirs, x, kernel))


@pytest.mark.parametrize("k, dilation", [(1, 1), (3, 2)])
def test_conv2d_pads_by_what_it_is_told(k, dilation):
    """1x1 grows the map by 2, a 3x3 dilated by 2 shrinks it: Darknet's layers."""
    x, kernel = drawn(0, 2, 6, 7, 32), drawn(1, k, k, 32, 4)
    y = ops.conv2d(x, kernel, dilation=(dilation, dilation), padding=1)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    h, w = (n + 2 - dilation * (k - 1) for n in (6, 7))
    expected = sum(
        padded[:, i * dilation :, j * dilation :][:, :h, :w] @ kernel[i, j]
        for i in range(k)
        for j in range(k)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_conv2d_in_groups_keeps_them_apart():
    x, kernel = drawn(0, 2, 3, 4, 32), drawn(1, 1, 1, 4, 16)
    y = np.asarray(ops.conv2d(x, kernel, groups=8))
    for group in range(8):
        own = x[..., 4 * group : 4 * group + 4]
        expected = own @ kernel[0, 0, :, 2 * group : 2 * group + 2]
        np.testing.assert_allclose(
            y[..., 2 * group : 2 * group + 2], expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("new_hw", [(10, 14), (40, 9), (5, 7), (3, 1), (1, 4)])
def test_resize_and_its_gradient(new_hw, align_corners):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 7, 3)).astype(np.float32)

    def lookup(row, i, size, new_size):
        """Row `i` of a column of `new_size`, by the definition."""
        if align_corners:
            source = i * (size - 1) / (new_size - 1) if new_size > 1 else 0.0
        else:
            source = min(max((i + 0.5) * size / new_size - 0.5, 0.0), size - 1.0)
        low = int(source)
        share = source - low
        return (1 - share) * row[low] + share * row[min(low + 1, size - 1)]

    rows = [lookup(x.swapaxes(0, 1), i, 5, new_hw[0]) for i in range(new_hw[0])]
    y = np.stack(rows, 1)
    columns = [
        lookup(y.transpose(2, 0, 1, 3), i, 7, new_hw[1]) for i in range(new_hw[1])
    ]
    expected = np.stack(columns, 2)

    resize = partial(resize_bilinear, hw=new_hw, align_corners=align_corners)
    value, g, pulled = value_and_pull(resize, x)
    np.testing.assert_allclose(value, expected, atol=1e-5)
    # A linear map and its transpose: <g, A x> = <A' g, x>.
    np.testing.assert_allclose((pulled * x).sum(), (g * expected).sum(), rtol=1e-3)


def test_resize_repeats_a_lone_pixel():
    y = resize_bilinear(jnp.full((1, 1, 1, 2), 3.0), (4, 5), align_corners=True)
    np.testing.assert_array_equal(y, np.full((1, 4, 5, 2), 3.0))


@pytest.mark.parametrize("hw, bins", [((7, 9), 3), ((6, 12), 6), ((4, 5), 6)])
def test_adaptive_pool_averages_overlapping_tiles(hw, bins):
    x = np.random.default_rng(0).normal(size=(2, *hw, 3)).astype(np.float32)
    y = np.asarray(jax.jit(adaptive_avg_pool, static_argnums=1)(x, bins))
    for i in range(bins):
        for j in range(bins):
            rows, columns = (
                slice(k * n // bins, math.ceil((k + 1) * n / bins))
                for k, n in zip((i, j), hw)
            )
            expected = x[:, rows, columns].mean((1, 2))
            np.testing.assert_allclose(y[:, i, j], expected, atol=1e-5)


@pytest.mark.parametrize("hw", [(8, 10), (7, 9)])
def test_avg_pool_divides_by_nine_at_the_border_too(hw):
    x = np.random.default_rng(0).normal(size=(2, *hw, 3)).astype(np.float32)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = np.asarray(ops.avg_pool3(jnp.asarray(x)))
    assert y.shape == (2, -(-hw[0] // 2), -(-hw[1] // 2), 3)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            window = padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            np.testing.assert_allclose(y[:, i, j], window.sum((1, 2)) / 9, atol=1e-6)


def test_max_pool_leaves_out_an_odd_last_row():
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)
    np.testing.assert_array_equal(ops.max_pool2(x)[0, :, :, 0], [[6.0, 8.0]])


def test_activations_and_their_gradients():
    x = jnp.asarray([-2.0, 0.0, 0.5, 6.0, 7.0, np.nan])
    for act, values, gradient in (
        (layers.relu, [0, 0, 0.5, 6, 7, np.nan], [0, 0, 1, 1, 1]),
        (layers.relu6, [0, 0, 0.5, 6, 6, np.nan], [0, 0, 1, 0, 0]),
    ):
        np.testing.assert_array_equal(act(x), values)  # what diverged stays seen
        np.testing.assert_array_equal(jax.vmap(jax.grad(act))(x)[:-1], gradient)
    x = jnp.asarray([-2.0, -0.5, 0.5, 6.0, 7.0])
    leaky = layers.ACTIVATIONS["leaky_relu"](x)
    np.testing.assert_allclose(leaky, [-0.2, -0.05, 0.5, 6, 7], rtol=1e-6)
    prelu, picture = layers.PReLU(), jnp.stack([x, -x], -1)
    variables = prelu.init(jax.random.key(0), picture)
    np.testing.assert_array_equal(variables["params"]["slope"], [0.25, 0.25])
    y = prelu.apply({"params": {"slope": jnp.asarray([0.5, 2.0])}}, picture)
    np.testing.assert_array_equal(y[:, 0], [-1, -0.25, 0.5, 6, 7])
    np.testing.assert_array_equal(y[:, 1], [2, 0.5, -1, -12, -14])


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
    ours = ops.conv2d_transpose(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)
    )
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("k, pads", [(2, (1, 1)), (3, (1, 2))])
def test_conv2d_transpose_has_the_gradients_of_the_textbook_call(k, pads):
    """Which is an ordinary convolution of the input with zeros between its pixels."""
    x, kernel = drawn(0, 2, 3, 4, 5), drawn(1, k, k, 5, 6)

    def stuffed(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel[::-1, ::-1],
            (1, 1),
            (pads, pads),
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    ours = value_and_pull(ops.conv2d_transpose, x, kernel)
    assert_same(ours, value_and_pull(stuffed, x, kernel))


def test_max_pool_gives_the_gradient_to_the_first_of_equals():
    x = jnp.asarray([[[[3.0], [3.0]], [[3.0], [1.0]]]])
    assert ops.max_pool2(x).item() == 3.0
    gradient = jax.grad(lambda x: ops.max_pool2(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1.0, 0.0], [0.0, 0.0]])


def test_batch_norm_in_training_is_pytorchs():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 3.0, size=(3, 5, 7, 4)).astype(np.float32)
    norm = layers.BatchNorm(1e-3)
    variables = norm.init(jax.random.key(0), x, train=False)
    y, updated = apply(norm, variables, x)
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    expected = (x - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * mean, rtol=1e-5)
    unbiased = x.var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_batch_norm_gradients_equal_autodiff_of_flax():
    x = drawn(0, 2, 6, 5, 8) * 2 + 1
    params = {
        "scale": np.linspace(0.5, 2.0, 8, dtype=np.float32),
        "bias": np.linspace(-1.0, 1.0, 8, dtype=np.float32),
    }
    stats = {"mean": np.zeros(8, np.float32), "var": np.ones(8, np.float32)}
    ours = layers.BatchNorm(1e-3)
    flax = nn.BatchNorm(use_running_average=False, epsilon=1e-3)

    def pull(module, **kwargs):
        def f(params, x):
            variables = {"params": params, "batch_stats": stats}
            return module.apply(variables, x, mutable=["batch_stats"], **kwargs)[0]

        return value_and_pull(f, params, x)[2:]

    for a, b in zip(
        jax.tree.leaves(pull(ours, train=True)),
        jax.tree.leaves(pull(flax)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_batch_norm_over_an_axis_sees_the_whole_batch():
    """Two halves of a batch, mapped with an axis name, against the batch in one."""
    x, g = drawn(0, 4, 3, 5, 8) + 1, drawn(1, 4, 3, 5, 8)
    whole, mapped = layers.BatchNorm(1e-3), layers.BatchNorm(1e-3, axis_name="data")
    variables = whole.init(jax.random.key(0), x, train=False)

    def run(module):
        def f(x, g):
            def forward(x):
                return module.apply(variables, x, train=True, mutable=["batch_stats"])

            y, pull, updated = jax.vjp(forward, x, has_aux=True)
            return y, pull(g)[0], updated["batch_stats"]

        return f

    y, dx, stats = jax.device_get(jax.jit(run(whole))(x, g))
    halves = [t.reshape(2, 2, 3, 5, 8) for t in (x, g)]
    in_parts = jax.jit(jax.vmap(run(mapped), axis_name="data"))
    y2, dx2, stats2 = jax.device_get(in_parts(*halves))
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
    unit = units.ConvNormAct(8, (3, 3), norm_eps=1e-3, act="relu", dtype=jnp.bfloat16)
    x = drawn(0, 2, 8, 8, 16)
    init = jax.jit(unit.init, static_argnames="train")
    variables = init(jax.random.key(1), x, train=False)
    y, updated = apply(unit, variables, x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, updated))} == {
        jnp.dtype("float32")
    }
    exact, _ = apply(unit.clone(dtype=jnp.float32), variables, x)
    np.testing.assert_allclose(np.asarray(y, np.float32), exact, atol=0.05)
