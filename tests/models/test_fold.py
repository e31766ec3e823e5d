"""The deployed form of every network against the trained one."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.models.layers import DepthwisePair
from jaxseg.ops import Lowering, deployed_lowering, lowering, resize_head
from jaxseg.ops.winograd import Tiles

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HW = (32, 48)


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def assert_same(model):
    image, variables = drawn(1, *HW, 3), draw_weights(model)
    with lowering(deployed_lowering()):
        deployed, folded = models.fold(model, variables, HW)
    assert not any("var" in path for path in flatten_dict(folded))

    @jax.jit
    def all_forms(variables, folded, image):
        expected = model.apply(variables, image, train=False)
        with lowering(deployed_lowering()):
            logits = deployed.apply(folded, image, train=False)
            labels = deployed.clone(labels=True).apply(folded, image, train=False)
        return expected, logits, labels

    expected, logits, labels = jax.device_get(all_forms(variables, folded, image))
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
    assert labels.dtype == np.uint8
    assert (labels == expected.argmax(-1)).mean() > 0.999


@pytest.mark.parametrize("name", models.names())
def test_folded_network_is_the_network(name):
    assert_same(models.create(name, num_classes=5))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_kernels_are_prepared_for_the_dtype_that_a_recipe_names(dtype, monkeypatch):
    """Recipes name it by a string, and a machine may have bfloat16 or not."""
    module = import_module("jaxseg.models.fold")  # whose name is the function's too
    monkeypatch.setattr(module, "bfloat16_pays", lambda: True)
    model = models.ESNet(num_classes=3, dtype=dtype)
    with lowering(Lowering("cpu", barriers=True, sums=True)):
        params = models.fold(model, draw_weights(model), HW)[1]["params"]

    def kernel(unit, conv):
        return params[unit][conv]["conv"]["kernel"]

    # 64 channels: fewer multiplications, or products. 16: sums of float32 for both.
    assert isinstance(kernel("fcu2_0", "tall1"), Tiles) == (dtype == "float32")
    assert dtype == "float32" or kernel("fcu2_0", "tall1").dtype == jnp.bfloat16
    assert kernel("fcu1_0", "tall1").dtype == np.float32


@pytest.mark.parametrize("head", ["erf", "spp"])
def test_heads_of_dabnets_variants_are_folded(head):
    assert_same(models.DABNet(num_classes=3, head=head, dilations2=(4,)))


def test_bias_of_a_folded_pair_depends_on_the_column():
    """What the first norm adds is not there beyond the left and right edge."""
    pair = DepthwisePair(2, use_bias=True, norm=1e-3, act=None)
    x = drawn(1, 4, 9, 3)
    shapes = jax.eval_shape(lambda: pair.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: np.float32(rng.uniform(0.5, 1, s.shape)), shapes)
    deployed, folded = models.fold(pair, variables, (4, 9))
    bias = np.asarray(folded["params"]["bias"])
    assert bias.shape == (9, 3)
    assert (bias[2:-2] == bias[2]).all()
    assert (bias[:2] < bias[2]).all() and (bias[-2:] < bias[2]).all()
    ours, expected = jax.jit(
        lambda: [
            module.apply(weights, x, train=False)
            for module, weights in ((deployed, folded), (pair, variables))
        ]
    )()
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "size, new_size", [((7, 9), (56, 72)), ((8, 12), (29, 47)), ((5, 6), (8, 11))]
)
@pytest.mark.parametrize("align_corners", [True, False])
def test_labels_are_those_of_the_resized_logits(size, new_size, align_corners):
    logits = drawn(2, *size, 6)
    geometry = dict(align_corners=align_corners)

    @jax.jit
    def both(logits):
        return [
            resize_head(logits, new_size, labels=labels, **geometry)
            for labels in (False, True)
        ]

    full, labels = both(logits)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, np.asarray(full).argmax(-1))
