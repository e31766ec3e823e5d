"""Every lowering of a primitive against the textbook call: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import deploy, models, ops
from jaxseg.ops import Lowering, PaddedMap, as_array, concatenate, lowering, store

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TEXTBOOK = Lowering("textbook")
FAST = {
    "cpu": Lowering("cpu", barriers=True),
    "deployed": Lowering("cpu", barriers=True, sums=True, deployed=True),
    "gpu": Lowering("gpu", dots=True, barriers=True),
}


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def assert_same(ours, x, kernel):
    """Value and both gradients of each lowering, within 1e-5 of the largest."""

    def all_of(how):
        @jax.jit  # traced under the lowering, which is no part of JAX's key
        def run(x, kernel):
            value, pull = jax.vjp(ours, x, kernel)
            return value, *pull(draw(*value.shape, seed=2))

        with lowering(how):
            return jax.device_get(run(x, kernel))

    expected = all_of(TEXTBOOK)
    for name, how in FAST.items():
        for a, b in zip(all_of(how), expected):
            error = np.abs(a - b).max() / np.abs(b).max()
            assert error < 1e-5, (name, error)


@pytest.mark.parametrize(
    "channels, kernel_hw, geometry",
    [
        ((32, 8), (3, 3), {}),
        ((35, 29), (3, 3), dict(stride=2)),
        ((3, 5), (3, 3), dict(stride=2)),
        ((3, 5), (3, 3), {}),
        ((32, 16), (5, 1), dict(dilation=(2, 1))),
        ((8, 4), (3, 3), dict(stride=2, dilation=(2, 1))),
        ((16, 8), (3, 1), dict(dilation=(2, 1))),
        ((8, 6), (1, 1), {}),
        ((8, 16), (1, 1), {}),
        ((8, 6), (1, 1), dict(padding=1)),
        ((16, 8), (1, 1), dict(groups=4)),
        # Winograd's, in training too.
        ((128, 128), (1, 3), dict(dilation=(1, 2))),
        ((128, 64), (3, 3), {}),
        ((64, 64), (5, 1), {}),
    ],
)
def test_conv2d(channels, kernel_hw, geometry):
    ci, co = channels
    kernel = draw(*kernel_hw, ci // geometry.get("groups", 1), co, seed=1)
    x = draw(2, 9, 10, ci)
    assert_same(lambda x, k: ops.conv2d(x, k, **geometry), x, kernel)
    # The stem takes other sizes too than multiples of two.
    even = draw(1, 8, 10, ci)
    assert_same(lambda x, k: ops.conv2d(x, k, **geometry), even, kernel)


@pytest.mark.parametrize("shape", [(1, 1, 8, 3), (3, 3, 8, 3), (1, 1, 8, 16)])
def test_conv2d_of_maps_beside_each_other(shape):
    def ours(x, kernel):
        return ops.conv2d(concatenate([x[..., :6], store(x[..., 6:])]), kernel)

    assert_same(ours, draw(2, 5, 6, 8), draw(*shape, seed=1))


def test_conv2d_of_the_mean_over_a_map():
    def ours(x, kernel):
        return x * ops.conv2d(ops.mean_over_pixels(x), kernel)

    assert_same(ours, draw(2, 5, 6, 8), draw(1, 1, 8, 8, seed=1))


@pytest.mark.parametrize("margin", [(2, 2), (3, 5)])
@pytest.mark.parametrize("geometry", [{}, dict(stride=2), dict(dilation=(2, 2))])
def test_depthwise2d_of_a_carrier(margin, geometry):
    def ours(x, kernel):
        return ops.depthwise2d(store(x, margin), kernel, **geometry)

    assert_same(ours, draw(2, 9, 10, 8), draw(3, 3, 1, 8, seed=1))


def test_conv2d_transpose_with_a_kernel_of_even_size():
    x, kernel = draw(2, 4, 5, 8), draw(3, 3, 8, 5, seed=1)
    with lowering(TEXTBOOK):
        expected = ops.conv2d_transpose(x, kernel)
    with lowering(Lowering("textbook", even_kernels=True)):
        np.testing.assert_allclose(ops.conv2d_transpose(x, kernel), expected, atol=1e-5)
        jaxpr = str(jax.make_jaxpr(ops.conv2d_transpose)(x, kernel))
        assert "padding=((2, 2), (2, 2))" in jaxpr


@pytest.mark.parametrize("k, co", [(2, 5), (3, 5), (3, 64)])
def test_conv2d_transpose_of_a_carrier(k, co):
    def ours(x, kernel):
        epilogue = jax.nn.relu
        return ops.conv2d_transpose(store(x, (1, 1)), kernel, epilogue)

    assert_same(ours, draw(2, 4, 5, 8), draw(k, k, 8, co, seed=1))


@pytest.mark.parametrize("k, co", [(2, 5), (3, 5), (3, 64)])
def test_conv2d_transpose_to_labels(k, co):
    x, kernel, bias = draw(2, 4, 5, 8), draw(k, k, 8, co, seed=1), draw(co, seed=3)
    with lowering(TEXTBOOK):
        expected = (ops.conv2d_transpose(x, kernel) + bias).argmax(-1)

    def classes(y):
        return jnp.argmax(y + bias, -1).astype(jnp.uint8)

    for how in (TEXTBOOK, *FAST.values()):
        with lowering(how):
            labels = ops.conv2d_transpose(x, kernel, classes)
        assert labels.dtype == jnp.uint8
        np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    "shape, geometry",
    [
        ((1, 1, 128, 8), {}),
        ((3, 1, 128, 8), {}),
        ((3, 3, 128, 8), {}),
        ((3, 3, 64, 128), dict(dilation=(2, 1))),
        ((3, 3, 36, 8), dict(stride=2)),
    ],
)
def test_bfloat16_kernels_round_the_operands_and_nothing_else(shape, geometry):
    x, kernel = draw(1, 6, 7, shape[2]), draw(*shape, seed=1)
    rounded = [a.astype(jnp.bfloat16).astype(np.float32) for a in (x, kernel)]
    with lowering(TEXTBOOK):
        expected = ops.conv2d(*map(jnp.asarray, rounded), **geometry)
    with lowering(FAST["cpu"]):
        ours = ops.conv2d(jnp.asarray(x), jnp.asarray(kernel, jnp.bfloat16), **geometry)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("hw", [(8, 10), (7, 9)])
def test_max_pool3(hw):
    """A network's own maximum over windows, which begin outside the map."""
    assert_same(lambda x, k: ops.max_pool3(x) * k, draw(2, *hw, 3), draw(3))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="is about XLA:CPU")
def test_a_map_computed_once_is_fused_into_nothing_that_reads_it():
    x = jnp.asarray(draw(4, 5))

    def run(barrier):
        def differences(x):
            y = barrier(x * x)
            return y[:, 1:] - y[:, :-1]

        compiled = jax.jit(differences).lower(x).compile()
        _, program = compiled.as_text().split("ENTRY")
        return compiled(x), program.count(" fusion(")

    (expected, fused), (ours, apart) = map(run, (lambda y: y, ops.computed_once))
    assert (fused, apart) == (1, 2)
    np.testing.assert_array_equal(ours, expected)


def test_a_carrier_is_made_once_and_reads_as_its_map():
    x = draw(1, 4, 5, 2)
    with lowering(FAST["cpu"]):
        stored = store(jnp.asarray(x), (2, 1))
        assert isinstance(stored, PaddedMap) and stored.shape == x.shape
        assert store(stored, (1, 1)) is stored
        np.testing.assert_array_equal(as_array(stored), x)
        wider = store(stored, (1, 2))
        np.testing.assert_array_equal(
            wider.padded, np.pad(x[0], [(1, 1), (2, 2), (0, 0)])[None]
        )
    with lowering(Lowering("gpu")):
        assert store(x, (2, 1)) is x


@pytest.mark.parametrize("name", ["dabnet", "liteseg_shufflenet"])
def test_on_a_gpu_a_deployed_network_has_no_convolution(name):
    """Which XLA would leave out of the command buffer."""
    model = models.create(name, num_classes=3)
    image = jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.bfloat16)
    variables = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    zeros = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variables)
    with lowering(FAST["gpu"]):
        deployed, folded = deploy.fold(model, zeros, (32, 48))
        jaxpr = jax.make_jaxpr(lambda v, x: deployed.apply(v, x, train=False))
        text = str(jaxpr(folded, image))
    assert "dot_general" in text and "conv_general" not in text
