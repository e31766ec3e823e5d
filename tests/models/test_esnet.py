"""ESNet against NumPy, sizes, names and state dicts that do not fit."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_module, shared_or_skip

from jaxseg import models
from jaxseg.convert.torch import convert_state_dict
from jaxseg.models.esnet import EPS


@pytest.fixture
def state_dict():
    folder = shared_or_skip("reference")
    fill = load_module(folder / "fill.py")
    return fill.fill(fill.load_spec(folder / "fixtures" / "esnet.json"))


def test_state_dict_of_something_else_is_refused(state_dict):
    with pytest.raises(ValueError, match="does not fit esnet with 11 classes"):
        convert_state_dict("esnet", state_dict, num_classes=11)
    del state_dict["decoder.layers.0.conv.weight"]
    with pytest.raises(ValueError, match="first is 'decoder.layers.0.conv.weight'"):
        convert_state_dict("esnet", state_dict)


@pytest.mark.parametrize("shape", [(1, 12, 16, 3), (1, 16, 20, 3), (1, 0, 8, 3)])
def test_sizes_that_do_not_fit_name_the_multiple(shape):
    model = models.create("esnet", num_classes=3)
    with pytest.raises(ValueError, match="must be multiples of 8"):
        model.init(jax.random.key(0), jnp.zeros(shape), train=False)


def test_a_grey_picture_is_refused():
    model = models.create("esnet", num_classes=3)
    with pytest.raises(ValueError, match=r"must be \(b, h, w, 3\)"):
        model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError, match="no network is called 'unet'.*esnet"):
        models.create("unet", num_classes=3)


def test_pad_to_multiple_keeps_the_picture_at_the_top_left():
    image = np.arange(2 * 5 * 9 * 3).reshape(2, 5, 9, 3)
    padded = np.asarray(models.pad_to_multiple(jnp.asarray(image), 8))
    assert padded.shape == (2, 8, 16, 3)
    np.testing.assert_array_equal(padded[:, :5, :9], image)
    np.testing.assert_array_equal(padded[:, 7, 15], image[:, 4, 8])


def test_pfcu_moves_its_shared_statistics_three_times():
    """The three branches are recomputed in NumPy from the block's own weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 11, 4)).astype(np.float32)
    block = models.PFCU(dropout=0.0)
    variables = block.init(jax.random.key(1), x, train=False)
    _, updated = block.apply(variables, x, train=True, mutable=["batch_stats"])

    def conv(x, p, dilation):
        kernel, bias = np.asarray(p["conv"]["kernel"]), np.asarray(p["conv"]["bias"])
        kh, kw, _, co = kernel.shape
        ph, pw = dilation[0] * (kh - 1) // 2, dilation[1] * (kw - 1) // 2
        padded = np.pad(x, [(0, 0), (ph, ph), (pw, pw), (0, 0)])
        h, w = x.shape[1:3]
        y = np.zeros((*x.shape[:3], co)) + bias
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dilation[0], i * dilation[0] + h)
                columns = slice(j * dilation[1], j * dilation[1] + w)
                y += padded[:, rows, columns] @ kernel[i, j]
        return y

    def relu(x):
        return np.maximum(x, 0)

    p = variables["params"]
    y = conv(relu(conv(x, p["tall"], (1, 1))), p["wide"], (1, 1))
    y = relu((y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + EPS))
    mean, var = np.zeros(4), np.ones(4)
    for d in (2, 5, 9):
        z = relu(conv(y, p[f"tall_d{d}"], (d, 1)))
        z = conv(z, p[f"wide_d{d}"], (1, d))
        mean = 0.9 * mean + 0.1 * z.mean((0, 1, 2))
        var = 0.9 * var + 0.1 * z.var((0, 1, 2), ddof=1)  # unbiased, as PyTorch
    stats = updated["batch_stats"]["norm"]
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-4)


def test_two_training_passes_with_one_key_agree_and_with_two_differ():
    model = models.create("esnet", num_classes=3)
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = model.init(jax.random.key(1), x, train=False)

    @jax.jit
    def forward(key):
        rngs = {"dropout": key}
        y, _ = model.apply(variables, x, train=True, rngs=rngs, mutable=["batch_stats"])
        return y

    first, again, other = (forward(jax.random.key(k)) for k in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.asarray(first - other)).max() > 1e-3


def test_importing_the_models_imports_no_tensorflow_and_no_orbax():
    program = (
        "import sys, jaxseg.models;"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'orbax', 'tensorboardX'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_zero_init_residual_makes_every_unit_the_identity_at_first():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 9, 10, 8)))
    for block in (models.FCU(5, zero_init_residual=True), models.PFCU((2, 3), 0.0)):
        block = block.clone(zero_init_residual=True)
        variables = block.init(jax.random.key(1), x, train=False)
        np.testing.assert_array_equal(block.apply(variables, x, train=False), x)
        plain = block.clone(zero_init_residual=False)
        variables = plain.init(jax.random.key(1), x, train=False)
        assert np.abs(plain.apply(variables, x, train=False) - x).max() > 0.01
