"""Other people's weights in, and ours out with their names."""

import io

import jax
import numpy as np
import pytest
from conftest import run
from flax.traverse_util import flatten_dict
from rich.console import Console
from safetensors.numpy import load_file, save_file
from weights import drawn_variables

from configs import fpenet, liteseg_mobilenet
from jaxseg import models
from jaxseg.convert import exchange
from jaxseg.convert.exchange import make_run, write_weights
from jaxseg.convert.torch import to_torch_state_dict
from jaxseg.data.classes import CAMVID, CITYSCAPES
from jaxseg.errors import UserError
from jaxseg.runs import Run


@pytest.fixture(scope="module")
def config():
    return fpenet.get_config("cityscapes").to_dict()


@pytest.fixture(scope="module")
def theirs():
    """A state dict with the authors' names, every number another one."""
    variables = drawn_variables(models.create("fpenet", num_classes=19), (32, 32))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32), variables
    )
    arrays = to_torch_state_dict("fpenet", variables)
    return {name: np.array(array, order="C") for name, array in arrays.items()}


@pytest.fixture
def made(theirs, config, tmp_path):
    save_file(theirs, tmp_path / "theirs.safetensors")
    quiet = Console(file=io.StringIO())
    source, folder = str(tmp_path / "theirs.safetensors"), tmp_path / "run"
    return make_run(source, config, CITYSCAPES, folder, console=quiet)


def test_there_and_back_is_the_same_to_the_last_bit(theirs, made, tmp_path):
    count = write_weights(made.folder, "safetensors", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == theirs.keys() and count == len(theirs)
    for name, array in theirs.items():
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name], array)


def test_pytorch_reads_what_is_written_for_it(theirs, made, tmp_path):
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    write_weights(made.folder, "pth", tmp_path / "back.pth")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert list(back) == list(theirs)
    for name, array in theirs.items():
        np.testing.assert_array_equal(back[name].numpy(), array)
    again = make_run(
        str(tmp_path / "back.pth"),
        made.record["config"],
        CITYSCAPES,
        tmp_path / "again",
        console=Console(file=io.StringIO()),
    )
    jax.tree.map(np.testing.assert_array_equal, again.variables(), made.variables())


def test_without_pytorch_no_pth(made, tmp_path, monkeypatch):
    monkeypatch.setitem(exchange.require.__globals__["sys"].modules, "torch", None)
    with pytest.raises(UserError, match=r"needs the package torch.*'\.\[peers\]'"):
        write_weights(made.folder, "pth", tmp_path / "x.pth")
    assert not (tmp_path / "x.pth").exists()


def test_a_run_of_half_precision_with_a_prefix(theirs, config, tmp_path):
    halved = {f"module.{k}": v.astype(np.float16) for k, v in theirs.items()}
    halved["module.extra"] = np.zeros(3, np.float16)
    save_file(halved, tmp_path / "half.safetensors")
    said = Console(file=io.StringIO(), width=10_000)
    source = str(tmp_path / "half.safetensors")
    made = make_run(source, config, CITYSCAPES, tmp_path / "run", console=said)
    text = said.file.getvalue()
    assert f"loaded, {len(theirs)} arrays" in text
    assert "skipped, of no use here: extra" in text
    variables, step = made.variables()
    assert step == 0 and made.table.names == CITYSCAPES.names
    found = to_torch_state_dict("fpenet", variables)
    for name, array in theirs.items():
        expected = array.astype(np.float16).astype(np.float32)
        np.testing.assert_array_equal(found[name], expected)
    with pytest.raises(UserError, match="holds weights and no training.*--init-from"):
        Run.start(made.folder, made.record)


def test_another_number_of_classes_needs_leave(theirs, tmp_path, monkeypatch):
    config = fpenet.get_config("camvid").to_dict()
    variables = drawn_variables(models.create(**config["model"]), (32, 32))
    monkeypatch.setattr(exchange, "_drawn", lambda model: variables)
    save_file(theirs, tmp_path / "theirs.safetensors")
    said = Console(file=io.StringIO(), width=10_000)
    arguments = str(tmp_path / "theirs.safetensors"), config, CAMVID, tmp_path / "run"
    with pytest.raises(UserError, match="another shape and 0 are missing.*--partial"):
        make_run(*arguments, console=said)
    assert not (tmp_path / "run").exists()
    assert "of another shape: params/" in said.file.getvalue()
    made = make_run(*arguments, partial=True, console=said)
    shapes = [a.shape for a in flatten_dict(made.variables()[0]).values()]
    assert any(shape[-1] == 11 for shape in shapes)


def test_a_backbone_is_whole_and_the_rest_is_drawn(tmp_path, monkeypatch):
    config = liteseg_mobilenet.get_config("camvid").to_dict()
    variables = drawn_variables(models.create(**config["model"]), (32, 32))
    monkeypatch.setattr(exchange, "_drawn", lambda model: variables)
    prefix = "mobile_features."
    arrays = to_torch_state_dict("liteseg_mobilenet", variables, 11)
    theirs = {
        name.removeprefix(prefix): np.array(array + 1, order="C")
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    save_file(theirs, tmp_path / "backbone.safetensors")
    said = Console(file=io.StringIO(), width=10_000)
    source = str(tmp_path / "backbone.safetensors")
    made = make_run(source, config, CAMVID, tmp_path / "run", console=said)
    assert "all behind the backbone is drawn" in said.file.getvalue()
    before = flatten_dict(variables)
    for path, value in flatten_dict(made.variables()[0]).items():
        added = 1 if "backbone" in path else 0
        np.testing.assert_allclose(value, np.asarray(before[path]) + added, rtol=1e-6)


def test_what_is_refused(made, config, tmp_path):
    with pytest.raises(UserError, match="run is there already; choose another --outp"):
        make_run(str(tmp_path / "theirs.safetensors"), config, CITYSCAPES, made.folder)
    with pytest.raises(UserError, match="--from nowhere: there is no such"):
        make_run("nowhere", config, CITYSCAPES, tmp_path / "x")
    with pytest.raises(UserError, match="19 classes and the data set 11"):
        make_run(str(tmp_path / "theirs.safetensors"), config, CAMVID, tmp_path / "x")
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    with pytest.raises(UserError, match="cannot be read as safetensors"):
        make_run(str(tmp_path / "cut.safetensors"), config, CITYSCAPES, tmp_path / "x")
    with pytest.raises(UserError, match="'h5'; it can be pth or safetensors"):
        write_weights(made.folder, "h5", tmp_path / "x")
    (tmp_path / "old.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="old.safetensors is there already"):
        write_weights(made.folder, "safetensors", tmp_path / "old.safetensors")
    assert not (tmp_path / "x").exists()


def test_the_command_in_both_directions(theirs, tmp_path):
    save_file(theirs, tmp_path / "theirs.safetensors")
    code, out, err = run(
        *("-m", "jaxseg.convert", "--config=configs/fpenet.py:cityscapes"),
        f"--from={tmp_path / 'theirs.safetensors'}",
        f"--output={tmp_path / 'run'}",
    )
    assert code == 0, err
    assert f"loaded, {len(theirs)} arrays" in out
    code, out, err = run(
        *("-m", "jaxseg.convert", f"--ckpt={tmp_path / 'run'}", "--to=safetensors"),
        f"--output={tmp_path / 'back.safetensors'}",
    )
    assert code == 0 and f"{len(theirs)} arrays" in out, err
    assert load_file(tmp_path / "back.safetensors").keys() == theirs.keys()
    code, out, err = run("-m", "jaxseg.convert", f"--output={tmp_path / 'x'}")
    assert code == 2 and "give --from FILE" in err and err.count("\n") == 1
