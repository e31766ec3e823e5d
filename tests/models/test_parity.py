"""Every network against recorded outputs and counts of the authors' PyTorch code.

FPENet's authors published none: its record is that of the specification's reading.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import load_module, shared_or_skip

from jaxseg import models
from jaxseg.convert.torch import convert_state_dict, to_torch_state_dict

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
def reference(name):
    """The filling rule, the list of state entries and the recorded outputs."""
    folder = shared_or_skip("reference")
    fill, golden = load_module(folder / "fill.py"), load_module(folder / "golden.py")
    file = "fpenet_paper" if name == "fpenet" else name
    spec = fill.load_spec(folder / "fixtures" / f"{file}.json")
    return fill, spec, golden.read(folder / "fixtures" / f"{file}.npz")


@pytest.mark.parametrize(
    "key, recorded_name, stride",
    [("a", "output_a", 1), ("b", "output_b", 1), ("large", "large_output_every16", 16)],
)
@pytest.mark.parametrize("name", COUNTS)
def test_outputs_are_the_authors(name, key, recorded_name, stride):
    fill, spec, recorded = reference(name)
    variables, _ = convert_state_dict(name, fill.fill(spec))
    image = fill.make_input(spec["inputs"][key]["shape"]).transpose(0, 2, 3, 1)
    model = models.create(name)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, image)
    ours = np.asarray(logits).transpose(0, 3, 1, 2)[:, :, ::stride, ::stride]
    theirs = recorded[recorded_name]
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("name", COUNTS)
def test_state_dict_round_trip_is_exact(name):
    fill, spec, _ = reference(name)
    state_dict = fill.fill(spec)
    variables, report = convert_state_dict(name, state_dict)
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
