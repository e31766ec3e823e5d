"""ESNet against NumPy, sizes, names and state dicts that do not fit."""

import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import shared_or_skip

from jaxseg import models
from jaxseg.convert.torch import convert_state_dict
from jaxseg.models.esnet import EPS
from jaxseg.models.units import Downsampler
from tools.parity import Reference

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@partial(jax.jit, static_argnums=0)
def at_first(module, x):
    """What `module` returns with the weights that it starts from."""
    return module.init_with_output(jax.random.key(0), x, train=False)[0]


@pytest.fixture
def state_dict():
    return dict(Reference(shared_or_skip("reference"), "esnet").state_dict)


def test_state_dict_of_something_else_is_refused(state_dict):
    with pytest.raises(ValueError, match="does not fit esnet with 11 classes"):
        convert_state_dict("esnet", state_dict, num_classes=11)
    del state_dict["decoder.layers.0.conv.weight"]
    with pytest.raises(ValueError, match="first is 'decoder.layers.0.conv.weight'"):
        convert_state_dict("esnet", state_dict)


def test_a_grey_picture_is_refused():
    model = models.create("esnet", num_classes=3)
    with pytest.raises(ValueError, match=r"must be \(b, h, w, 3\)"):
        model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)


def test_unknown_network_lists_the_known_ones():
    with pytest.raises(ValueError, match="no network is called 'unet'.*esnet"):
        models.create("unet", num_classes=3)


def test_pad_to_multiple_keeps_the_picture_at_the_top_left():
    image = np.arange(2 * 5 * 19 * 3).reshape(2, 5, 19, 3)
    padded = np.asarray(models.pad_to_multiple(jnp.asarray(image)))
    assert padded.shape == (2, 16, 24, 3)
    np.testing.assert_array_equal(padded[:, :5, :19], image)
    np.testing.assert_array_equal(padded[:, 15, 23], image[:, 4, 18])


def test_an_odd_last_row_has_no_maximum_in_esnet():
    """The authors pad the pooled half with zeros at the bottom and right."""
    x = np.random.default_rng(0).normal(size=(1, 5, 7, 2)).astype(np.float32) + 9
    y = np.asarray(at_first(Downsampler(4, EPS, "relu"), x))
    assert y.shape == (1, 3, 4, 4)
    blocks = x[:, :4, :6].reshape(1, 2, 2, 3, 2, 2).max((2, 4)) / np.sqrt(1 + EPS)
    np.testing.assert_allclose(y[:, :2, :3, 2:], blocks, rtol=1e-5)
    assert not y[:, 2, :, 2:].any() and not y[:, :, 3, 2:].any()


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
    x = np.random.default_rng(0).normal(size=(2, 9, 10, 8)).astype(np.float32)
    x = np.maximum(x, 0)
    for block in (models.FCU(5, zero_init_residual=True), models.PFCU((2, 3), 0.0)):
        block = block.clone(zero_init_residual=True)
        np.testing.assert_array_equal(at_first(block, x), x)
        plain = block.clone(zero_init_residual=False)
        assert np.abs(at_first(plain, x) - x).max() > 0.01
