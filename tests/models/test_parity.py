"""Every network against recorded outputs and counts of the authors' PyTorch code.

FPENet's authors published none: its record is that of the specification's reading.
The whole records are in the project's reference files; where those are absent, the
small ones of `tests/golden` take their place.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, SHARED, shared_or_skip

from jaxseg import models
from jaxseg.convert.torch import to_torch_state_dict
from jaxseg.models.registry import NETWORKS
from jaxseg.models.summary import stages
from tools.parity import INPUTS, TOLERANCE, Golden, Reference

pytestmark = pytest.mark.usefixtures("quickly_compiled")

GOLDEN = ROOT / "tests" / "golden"
# Parameters that the output depends on, for 19 and for 11 classes.
COUNTS = {
    "dabnet": (756_643, 754_571),
    "esnet": (1_659_071, 1_658_551),
    "fddwnet": (807_951, 807_431),
    "fpenet": (378_391, 378_391 - 8 * (32 + 1)),
    "liteseg_mobilenet": (3_101_707, 4_381_931 - 1_281_000),
    "liteseg_shufflenet": (1_971_451, 3_507_675 - 1_537_000),
    "liteseg_darknet": (20_545_459, 20_544_683),
}
# Recorded stages that are no module of ours: all of them pool.
NO_MODULE = {
    "dabnet": {"down_1", "down_2", "down_3"},
    "liteseg_shufflenet": {"shuffle_features.module.maxpool"},
    "liteseg_darknet": {f"resnet_features.layers.{n}_max" for n in (2, 4, 8, 12)},
}


def test_every_network_is_compared():
    assert models.names() == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    image = jax.ShapeDtypeStruct((1, 512, 1024, 3), jnp.float32)
    for num_classes, expected in zip((19, 11), COUNTS[name]):
        model = models.create(name, num_classes=num_classes)
        logits, variables = jax.eval_shape(
            lambda x, m=model: m.init_with_output(jax.random.key(0), x, train=False),
            image,
        )
        assert logits.shape == (1, 512, 1024, num_classes)
        leaves = jax.tree.leaves(variables["params"])
        assert sum(leaf.size for leaf in leaves) == expected


@cache
def reference(name) -> Reference:
    whole = SHARED / "reference"
    return Reference(whole, name) if whole.exists() else Golden(GOLDEN, name)


@pytest.mark.parametrize("name", COUNTS)
def test_the_small_record_is_the_whole_one(name, tmp_path):
    shared_or_skip("reference")
    reference(name).write_golden(tmp_path)
    ours, theirs = (np.load(at / f"{name}.npz") for at in (GOLDEN, tmp_path))
    for key in theirs:
        np.testing.assert_array_equal(ours[key], theirs[key])
    golden = Golden(GOLDEN, name)
    for key, value in reference(name).state_dict.items():
        np.testing.assert_array_equal(golden.state_dict[key], value)


def assert_same(found, name, key):
    stages = f"; of its stages these differ: {', '.join(found.unmatched)}"
    assert found.error < TOLERANCE * found.largest, (
        f"{name} on input {key} differs by {found.share:.1e} of its magnitude"
        + (stages if found.unmatched else "")
    )


@pytest.mark.parametrize("key", INPUTS)
@pytest.mark.parametrize("name", COUNTS)
def test_outputs_are_the_authors(name, key):
    if key not in reference(name).inputs:
        shared_or_skip("reference")
    found = reference(name).compare(models.create(name), key)
    assert_same(found, name, key)
    if key == "a":
        assert set(found.unmatched) == NO_MODULE.get(name, set())


def test_a_difference_is_traced_to_its_stage():
    """The last dilation of stage 2 is another: the first stage named is its module."""
    model = models.DABNet(dilations2=(4, 4, 8, 8, 3, 16))
    found = reference("dabnet").compare(model, "a")
    names = [n for n in found.unmatched if n not in NO_MODULE["dabnet"]]
    assert names[0] == "DAB_Block_2.DAB_Module_2_4"
    with pytest.raises(AssertionError, match="DAB_Module_2_4"):
        assert_same(found, "dabnet", "a")


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_the_record_and_of_the_specification(name):
    parts = stages(models.create(name), (512, 1024))
    assert sum(part.parameters for part in parts) == reference(name).count(used=True)
    macs = sum(part.macs for part in parts)
    assert abs(macs / 1e9 - NETWORKS[name].published.gmac) < 5e-4


@pytest.mark.parametrize("name", COUNTS)
def test_state_dict_round_trip_is_exact(name):
    spec, state_dict = reference(name).spec, reference(name).state_dict
    variables, report = reference(name).converted
    entries = {entry["name"]: entry for entry in spec["entries"]}
    unused = {
        n
        for n, entry in entries.items()
        if entry.get("used_in_forward") is False
        or entry["kind"] == "bn_num_batches_tracked"
    }
    assert set(report.unused) == unused and not report.missing
    back = to_torch_state_dict(name, variables)
    assert set(back) == set(state_dict) - unused
    for n, value in back.items():
        np.testing.assert_array_equal(value, state_dict[n])
