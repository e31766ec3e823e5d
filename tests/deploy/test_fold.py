"""The deployed form of every network against the trained one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxseg import deploy, models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.models.layers import BatchNorm, Classifier2x, Network, Unit
from jaxseg.models.units import (
    ConvNormAct,
    DepthwiseNormAct,
    DepthwisePair,
    Downsampler,
    Upsampler,
)
from jaxseg.ops import (
    Lowering,
    deployed_lowering,
    lowering,
    resize_bilinear,
    resize_labels,
)
from jaxseg.ops.winograd import Tiles

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HW = (32, 48)


def drawn(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def assert_same(model):
    image, variables = drawn(1, *HW, 3), draw_weights(model)
    with lowering(deployed_lowering()):
        deployed, folded = deploy.fold(model, variables, HW)
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
    monkeypatch.setattr("jaxseg.deploy.folding.bfloat16_pays", lambda: True)
    model = models.ESNet(num_classes=3, dtype=dtype)
    with lowering(Lowering("cpu", barriers=True, sums=True)):
        params = deploy.fold(model, draw_weights(model), HW)[1]["params"]

    def kernel(unit, conv):
        return params[unit][conv]["conv"]["kernel"]

    # 64 channels: fewer multiplications, or products. 16: sums of float32 for both.
    assert isinstance(kernel("fcu2_0", "tall1"), Tiles) == (dtype == "float32")
    assert dtype == "float32" or kernel("fcu2_0", "tall1").dtype == jnp.bfloat16
    assert kernel("fcu1_0", "tall1").dtype == np.float32


@pytest.mark.parametrize("head", ["erf", "spp"])
def test_heads_of_dabnets_variants_are_folded(head):
    assert_same(models.DABNet(num_classes=3, head=head, dilations2=(4,)))


class OwnBlock(Unit):
    """A bottleneck with a residual connection, as a user may write it."""

    @nn.compact
    def __call__(self, x, *, train):
        unit = partial(ConvNormAct, norm_eps=1e-5, **self.common)
        y = unit(8, (1, 1), act="relu", name="reduce")(x, train=train)
        y = DepthwiseNormAct((3, 3), 1e-5, act="prelu", **self.common, name="dw")(
            y, train=train
        )
        y = unit(x.shape[-1], (1, 1), name="expand")(y, train=train)
        return jax.nn.relu(x + y)


class OwnNetwork(Network):
    """A network of a user's own: no line of it is about deployment."""

    @nn.compact
    def __call__(self, image, *, train):
        down = partial(Downsampler, norm_eps=1e-5, act="prelu", **self.common)
        x = down(16, name="down1")(image, train=train)
        x = down(32, name="down2")(x, train=train)
        for i in range(2):
            x = OwnBlock(**self.common, name=f"block{i}")(x, train=train)
        x = Upsampler(16, 1e-5, "relu", **self.common, name="up")(x, train=train)
        return Classifier2x(self.num_classes, **self.common, name="head")(x)


def test_a_network_of_a_users_own_is_folded():
    assert_same(OwnNetwork(num_classes=3))


class SharedNorm(Unit):
    @nn.compact
    def __call__(self, x, *, train):
        norm = BatchNorm(1e-5, name="norm")
        y = ConvNormAct(3, (1, 1), shared_norm=norm, name="conv")(x, train=train)
        return y + norm(x, train=train)


def test_a_norm_in_two_roles_is_refused():
    model, x = SharedNorm(), drawn(1, 4, 4, 3)
    variables = model.init(jax.random.key(0), x, train=False)
    with pytest.raises(ValueError, match="norm norm is used behind a convolution and"):
        deploy.fold(model, variables, (4, 4))


def test_a_folded_network_does_not_train():
    deployed = deploy.Deployed(OwnNetwork(), frozenset())
    with pytest.raises(ValueError, match="no batch norms left"):
        deployed.apply({}, drawn(1, 8, 8, 3), train=True)


def test_bias_of_a_folded_pair_depends_on_the_column():
    """What the first norm adds is not there beyond the left and right edge."""
    pair = DepthwisePair(2, use_bias=True, norm_eps=1e-3, act=None)
    x = drawn(1, 4, 9, 3)
    shapes = jax.eval_shape(lambda: pair.init(jax.random.key(0), x, train=False))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: np.float32(rng.uniform(0.5, 1, s.shape)), shapes)
    deployed, folded = deploy.fold(pair, variables, (4, 9))
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

    @jax.jit
    def both(logits):
        full = resize_bilinear(logits, new_size, align_corners=align_corners)
        return full, resize_labels(logits, new_size, align_corners)

    full, labels = both(logits)
    assert labels.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, np.asarray(full).argmax(-1))
