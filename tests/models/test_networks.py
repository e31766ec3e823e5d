"""What holds for every network, and the variants of the papers' tables."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT
from flax.traverse_util import flatten_dict
from weights import drawn_variables

from jaxseg import models
from jaxseg.convert.keys import MODULES
from jaxseg.convert.torch import convert_state_dict, to_torch_state_dict
from jaxseg.models.registry import NETWORKS
from jaxseg.models.summary import stages

pytestmark = pytest.mark.usefixtures("quickly_compiled")


def shapes_of(model, hw):
    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    logits, variables = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), x, train=False), image
    )
    leaves = jax.tree.leaves(variables["params"])
    return logits.shape, sum(leaf.size for leaf in leaves)


NAIVE = dict(q=7, decoder="naive")
PLAIN = dict(chain=False, long_skip=False, **NAIVE)
BASELINE = dict(deeper=False, separable=False)


@pytest.mark.parametrize(
    "name, kwargs, count",
    [
        # DABNet, Table 2; the paper prints 0.76, 1.02 and 3.22 M.
        ("dabnet", dict(dilations2=(4,) * 6), 756_643),
        ("dabnet", dict(dilations2=(3, 3, 7, 7, 13, 13)), 756_643),
        ("dabnet", dict(dilations1=(1,) * 3, dilations2=(1,) * 6), 756_643),
        ("dabnet", dict(squeeze_dilation=2), 756_643),
        ("dabnet", dict(head="erf"), 1_017_325),
        ("dabnet", dict(head="spp"), 3_221_905),
        # FPENet, Tables 2, 3 and 5: the paper prints no counts. By hand: 274,304 up to
        # stage 3, or 284,544 with long skips; the naive decoder; the classifier.
        ("fpenet", dict(rates=(1,), **PLAIN), 274_304 + 6_240 + 627),
        ("fpenet", dict(rates=(1, 2), **PLAIN), 274_304 + 6_240 + 627),
        ("fpenet", PLAIN, 274_304 + 6_240 + 627),
        ("fpenet", dict(rates=(1, 2, 3, 4), **PLAIN), 274_304 + 6_240 + 627),
        ("fpenet", dict(long_skip=False, **NAIVE), 274_304 + 6_240 + 627),
        ("fpenet", NAIVE, 284_544 + 10_336 + 627),
        # Table 4: 233, 305, 325, 398 and 450 K.
        ("fpenet", dict(p=3, q=5), 233_495),
        ("fpenet", dict(p=3, q=7), 305_943),
        ("fpenet", dict(p=5, q=7), 325_783),
        ("fpenet", dict(p=5, q=9), 398_231),
        ("fpenet", dict(p=3, q=11), 450_839),
        # Table 6: two MEUs have 20,772 parameters, their spatial attention 2 each.
        ("fpenet", dict(decoder="naive"), 378_391 - 20_772 + 10_336),
        ("fpenet", dict(decoder="channel"), 378_391 - 4),
        ("fpenet", dict(long_skip=False), 361_495),
        # LiteSeg, Table II: the ordinary convolutions of the authors' code, without the
        # ImageNet classifiers.
        ("liteseg_mobilenet", dict(separable=False), 7_676_763 - 1_281_000),
        ("liteseg_shufflenet", dict(separable=False), 7_402_739 - 1_537_000),
        ("liteseg_darknet", dict(separable=False), 23_263_059),
        # Table I's baseline lacks three 3x3 convolutions of 83,136 parameters, and the
        # backbone's channels at the reduction to 96.
        ("liteseg_mobilenet", BASELINE, 6_395_763 - 3 * 83_136 - 96 * 1280),
        ("liteseg_shufflenet", BASELINE, 5_865_739 - 3 * 83_136 - 96 * 1536),
        (
            "liteseg_darknet",
            dict(output_stride=32, **BASELINE),
            23_263_059 - 3 * 83_136 - 96 * 1024,
        ),
    ],
)
def test_variants_of_the_papers_tables(name, kwargs, count):
    shape = shapes_of(models.create(name, **kwargs), (64, 96))
    assert shape == ((1, 64, 96, 19), count)


@pytest.mark.parametrize("name", models.names())
def test_every_network_has_what_other_programs_look_up(name):
    """A recipe, its paper's figures, and its authors' names of arrays."""
    assert (ROOT / "configs" / f"{name}.py").is_file()
    published = NETWORKS[name].published
    parts = stages(models.create(name), (512, 1024))
    counted = sum(part.macs for part in parts) / 1e9
    assert published.gmac == pytest.approx(counted, rel=2e-3)
    torch = to_torch_state_dict(name, drawn_variables(models.create(name), (32, 32)))
    assert len(torch) > 100


def test_a_network_without_names_for_pytorch(monkeypatch):
    monkeypatch.delitem(MODULES, "esnet")
    with pytest.raises(ValueError, match="not known what PyTorch calls the parts of"):
        convert_state_dict("esnet", {})


@pytest.mark.parametrize(
    "name, kwargs, sentence",
    [
        ("dabnet", dict(head="unet"), "head must be one of"),
        ("fpenet", dict(decoder="unet"), "decoder must be one of"),
        ("fpenet", dict(rates=(1, 2, 3)), "into 3 groups"),
        ("liteseg_mobilenet", dict(backbone="vgg"), "backbone must be one of"),
        ("liteseg_mobilenet", dict(output_stride=16), "output_stride is 32, got 16"),
        ("liteseg_darknet", dict(output_stride=8), "is 16 or 32, got 8"),
    ],
)
def test_arguments_that_make_no_network(name, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        shapes_of(models.create(name, **kwargs), (32, 32))


@pytest.mark.parametrize(
    "name, taken, refused, sentence",
    [
        ("dabnet", [(28, 43), (31, 44)], (28, 45), "multiples of 4 or 1 less"),
        ("esnet", [(1, 1), (13, 50)], None, None),
        ("fddwnet", [(56, 88)], (56, 92), "multiples of 8, got 56x92"),
        ("fpenet", [(1, 1), (13, 50)], None, None),
        ("liteseg_mobilenet", [(1, 1), (13, 50)], None, None),
        ("liteseg_shufflenet", [(1, 1), (13, 50)], None, None),
        ("liteseg_darknet", [(28, 44)], (28, 46), "multiples of 4 and at least 16"),
        ("liteseg_darknet", [(16, 16)], (12, 16), "at least 16, got 12x16"),
    ],
)
def test_logits_have_the_size_of_the_image(name, taken, refused, sentence):
    model = models.create(name, num_classes=3)
    for hw in taken:
        assert shapes_of(model, hw)[0] == (1, *hw, 3)
    if refused:
        with pytest.raises(ValueError, match=sentence):
            shapes_of(model, refused)


@pytest.mark.parametrize("name", models.names())
@pytest.mark.parametrize("hw", [(1, 1), (17, 90), (250, 333)])
def test_every_network_takes_what_was_padded(name, hw):
    def forward(image):
        padded = models.pad_to_multiple(image)
        model = models.create(name, num_classes=3)
        return model.init_with_output(jax.random.key(0), padded, train=False)[0]

    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    h, w = jax.eval_shape(forward, image).shape[1:3]
    assert hw[0] <= h < hw[0] + 16 and hw[1] <= w < hw[1] + 16


# The others take over a minute each to compile; recipes train them too.
SOON = ("dabnet", "liteseg_darknet", "liteseg_mobilenet", "liteseg_shufflenet")
EVERY = [
    name if name in SOON else pytest.param(name, marks=pytest.mark.slow)
    for name in models.names()
]


@pytest.mark.parametrize("name", EVERY)
def test_training_moves_all_statistics_and_all_gradients_are_finite(name):
    model = models.create(name, num_classes=3)
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=(2, 2, 32, 32, 3)).astype(np.float32)
    key = jax.random.key(0)
    variables = drawn_variables(model, (32, 32))

    @jax.jit
    def gradients(params, stats):
        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, updated = model.apply(
                variables,
                x,
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return (logits * g).sum(), updated["batch_stats"]

        return jax.grad(loss, has_aux=True)(params)

    gradient, updated = jax.device_get(
        gradients(variables["params"], variables["batch_stats"])
    )
    for path, value in flatten_dict(gradient, sep="/").items():
        assert np.isfinite(value).all(), path
        # A bias before a norm has no effect; MEU's weight of a pixel may start below 0,
        # where its ReLU passes nothing.
        if path.endswith(("kernel", "scale", "slope")) and "spatial" not in path:
            assert np.any(value), path
    before = flatten_dict(variables["batch_stats"], sep="/")
    for path, value in flatten_dict(updated, sep="/").items():
        assert np.isfinite(value).all() and (value != before[path]).any(), path


def test_two_training_passes_with_one_key_agree_and_with_two_differ():
    model = models.create("esnet", num_classes=3)
    x = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    variables = drawn_variables(model, (16, 16))

    @jax.jit
    def forward(key):
        rngs = {"dropout": key}
        y, _ = model.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
        return y

    first, again, other = (forward(jax.random.key(k)) for k in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.asarray(first) - np.asarray(other)).max() > 1e-3


def rows_reached(module, c):
    x = np.zeros((1, 41, 41, c), np.float32)
    point = x.copy()
    point[0, 20, 20] = 1

    @jax.jit
    def forward(x, point):
        variables = module.init(jax.random.key(0), x, train=False)
        return [module.apply(variables, image, train=False) for image in (x, point)]

    dark, lit = map(np.asarray, forward(x, point))
    rows = np.flatnonzero((lit != dark).any(axis=(0, 2, 3)))
    return 20 - rows[0], rows[-1] - 20


@pytest.mark.parametrize(
    "block, reach",
    [
        (models.DABModule(dilation=1), 1 + 1),
        (models.DABModule(dilation=16), 1 + 16),
        (models.DABModule(dilation=4, squeeze_dilation=2), 2 + 4),
        (models.EERM(dilation=9), 1 + 9),
        (models.FPEBlock(8, chain=False), 8),
        (models.FPEBlock(8), 1 + 2 + 4 + 8),
    ],
)
def test_blocks_see_as_far_as_their_dilations_say(block, reach):
    assert rows_reached(block, 8) == (reach, reach)


def test_dab_module_refuses_odd_channels():
    with pytest.raises(ValueError, match="must be even"):
        models.DABModule(2).init(jax.random.key(0), jnp.ones((1, 4, 4, 3)), train=True)


def test_meu_weights_each_map_by_the_other():
    rng = np.random.default_rng(0)
    high, low = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 6, 8, 5))
    high, low = high.astype(np.float32), low.astype(np.float32)
    meu = models.MEU(7)
    variables = jax.jit(meu.init)(jax.random.key(0), high, low)
    p = jax.tree.map(np.asarray, variables["params"])

    def conv(x, name):
        return x @ p[name]["kernel"][0, 0] + p[name]["bias"]

    deep, fine = conv(high, "high"), conv(low, "low")
    channels = np.maximum(conv(deep.mean((1, 2)), "channel"), 0)[:, None, None]
    pixels = np.maximum(conv(fine.mean(3, keepdims=True), "spatial"), 0)
    deep = np.asarray(jax.image.resize(deep, (2, 6, 8, 7), "bilinear"))
    expected = fine * channels + deep * pixels
    y = jax.jit(meu.apply)(variables, high, low)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    "name, layer, stride, momentum",
    [("liteseg_darknet", "layer1", 1, 0.01), ("liteseg_mobilenet", "stem", 2, 0.1)],
)
def test_statistics_move_by_each_backbones_momentum(name, layer, stride, momentum):
    model = models.create(name, num_classes=3)
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = drawn_variables(model, (32, 32))

    @jax.jit  # which computes the first layer alone
    def first_var(variables):
        updated = model.apply(variables, x, train=True, mutable=["batch_stats"])[1]
        return updated["batch_stats"]["backbone"][layer]["norm"]["var"]

    kernel = variables["params"]["backbone"][layer]["conv"]["kernel"]
    conv = nn.Conv(32, (3, 3), stride, padding=1, use_bias=False)
    y = conv.apply({"params": {"kernel": kernel}}, x)
    expected = 1 - momentum + momentum * np.var(y, (0, 1, 2), ddof=1)
    np.testing.assert_allclose(first_var(variables), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "block", [models.DABModule(2), models.EERM(2)], ids=lambda b: type(b).__name__
)
def test_convolutions_start_from_kaimings_normal(block):
    init = jax.jit(block.init, static_argnames="train")
    variables = init(jax.random.key(0), jnp.zeros((1, 4, 4, 256)), train=False)
    for path, value in flatten_dict(jax.device_get(variables["params"])).items():
        if path[-1] != "kernel":
            continue
        std = (2 / np.prod(value.shape[:3])) ** 0.5
        # Of 384 draws the standard deviation is within 20 % at 5.5 sigma.
        assert abs(np.std(value) / std - 1) < 0.2, path
