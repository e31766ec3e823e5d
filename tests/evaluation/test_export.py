"""Exports as a user meets them: checked, explained, run by others, scored."""

import ast
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from weights import drawn_variables

import jaxseg
from jaxseg import models, weights
from jaxseg.data.preprocess import Preprocess
from jaxseg.data.sources import open_source
from jaxseg.deploy import formats
from jaxseg.deploy.engines import FILES
from jaxseg.deploy.exported import open_export
from jaxseg.deploy.formats import FORMATS, check_format
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.evaluation import export
from jaxseg.evaluation.agreement import Unequal
from jaxseg.evaluation.export import export_run, parse_size
from jaxseg.evaluation.exported import score_export
from jaxseg.evaluation.report import score_run
from jaxseg.runs import Run, describe
from streets import draw_scene
from tools.reliability import short_dabnet, toy

HW = toy.HW
BESIDE = {"README.md", "labels.txt", "palette.json", "report.json", "run_model.py"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return toy.write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run of drawn weights, as if it had been trained on `data`."""
    config = short_dabnet.get_config("folder")
    config.data.dir, config.model.num_classes = str(data), 3
    folder = tmp_path_factory.mktemp("runs") / "drawn"
    record = describe(
        config.model.to_dict(),
        open_source("folder", str(data)).table,
        Preprocess((120.0, 110.0, 100.0), (60.0, 58.0, 57.0)),
        config.to_dict(),
    )
    record["scores"] = {"best": {"step": 3, "miou": 0.25, "protocol": "by hand"}}
    model = models.create(**record["model"])
    weights.write(folder, record, drawn_variables(model, HW))
    return Run(folder)


def labels_of(run, image):
    predictor = Predictor(run.model(), run.variables()[0], run.preprocess)
    return np.asarray(predictor(image))


def needs(kind):
    try:
        check_format(kind)
    except UserError as error:
        pytest.skip(str(error))


def in_process(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True
    )
    return done.returncode, done.stderr


# TensorFlow takes a minute to make one.
KINDS = [
    pytest.param(kind, marks=pytest.mark.slow)
    if kind in ("saved_model", "tflite")
    else kind
    for kind in FORMATS
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_script_beside_an_export_needs_the_engine_alone(kind, data, run, tmp_path):
    needs(kind)
    output = "logits" if kind == "onnx" else "labels"
    report = export_run(run.folder, kind, HW, tmp_path / "out", output=output)
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())
    check = report["check"]
    assert check["equal_labels"] >= 0.999 and check["count"] == 3
    assert check["pictures"] == "folder val, resized to 64x48"
    assert check["miou_exported"] == pytest.approx(check["miou_as_trained"], abs=1e-3)
    assert ("largest_difference" in check) == (output == "logits")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    more = {"model.bin"} if kind == "openvino" else set()
    assert names == BESIDE | {FILES[kind]} | more
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "labels.txt").read_text() == "ground\nbox\nball\n"

    picture = data / "images" / "val" / "01.png"
    script = tmp_path / "out" / "run_model.py"
    code, err = in_process(script, picture, tmp_path / "labels.png")
    assert code == 0, err
    labels = Image.open(tmp_path / "labels.png")
    wanted = labels_of(run, np.asarray(Image.open(picture)))
    assert len(np.unique(wanted)) > 1
    assert np.mean(np.asarray(labels) == wanted) >= 0.999
    assert labels.getpalette()[:9] == np.ravel(run.table.palette).tolist()
    tree = ast.walk(ast.parse(script.read_text()))
    imported = {a.name for n in tree if isinstance(n, ast.Import) for a in n.names}
    assert not {name for name in imported if name.startswith(("jaxseg", "flax"))}


def test_an_export_is_scored_as_its_run_is(data, run, tmp_path):
    needs("onnx")
    wanted = score_run(run.folder)
    export_run(run.folder, "onnx", HW, tmp_path / "same", batch=None)
    with pytest.raises(UserError, match="is not there; say where .* --data-dir"):
        score_export(tmp_path / "same")
    found = score_export(tmp_path / "same" / "model.onnx", "val", str(data))
    assert found["miou"] == pytest.approx(wanted["miou"], abs=1e-4)
    assert found["pixels"] == wanted["pixels"] and found["step"] == 3
    assert found["protocol"].startswith(wanted["protocol"] + ", onnx by onnxruntime ")
    segment = jaxseg.load(tmp_path / "same")
    image = np.asarray(Image.open(data / "images" / "val" / "01.png"))
    assert segment.classes == run.table.names
    assert np.mean(segment(image) == labels_of(run, image)) >= 0.999
    larger = np.repeat(np.repeat(image, 2, 0), 2, 1)
    seen = Image.fromarray(larger).resize(HW[::-1], Image.Resampling.BILINEAR)
    wanted = np.repeat(np.repeat(labels_of(run, np.asarray(seen)), 2, 0), 2, 1)
    assert np.mean(segment(larger) == wanted) >= 0.999
    with pytest.raises(UserError, match="an export has no confidence"):
        segment.confidence(image)


def test_an_export_of_another_size_is_scored_at_that_of_the_truth(data, run, tmp_path):
    export_run(run.folder, "stablehlo", (32, 64), tmp_path / "small")
    found = score_export(tmp_path / "small", "val", str(data))
    # The first row is void.
    assert found["pixels"] == 3 * 47 * 64
    assert ", pictures resized to 64x32, stablehlo by jax" in found["protocol"]


def test_an_export_of_any_size(data, run, tmp_path):
    needs("onnx")
    report = export_run(run.folder, "onnx", None, tmp_path / "out", batch=None)
    assert report["hw"] is None and report["multiple"] == 8
    assert report["check"]["equal_labels"] >= 0.999
    assert report["check"]["pictures"] == "folder val, some of them cropped"
    assert (
        "of any size, uint8 `(b, h, w, 3)`" in (tmp_path / "out/README.md").read_text()
    )
    wanted = score_run(run.folder)
    found = score_export(tmp_path / "out", "val", str(data))
    assert found["miou"] == pytest.approx(wanted["miou"], abs=1e-4)
    assert found["protocol"].startswith(wanted["protocol"] + ", onnx by onnxruntime ")
    scene = draw_scene(1, (128, 192))[0][:101, :155]
    Image.fromarray(scene).save(tmp_path / "a.png")
    segment = jaxseg.load(tmp_path / "out")
    assert np.mean(segment(scene) == labels_of(run, scene)) >= 0.999
    script = tmp_path / "out" / "run_model.py"
    code, err = in_process(script, tmp_path / "a.png", tmp_path / "b.png")
    assert code == 0, err
    labels = np.asarray(Image.open(tmp_path / "b.png"))
    assert np.mean(labels == labels_of(run, scene)) >= 0.999
    with pytest.raises(UserError, match="needs a fixed --size; any is for onnx and"):
        export_run(run.folder, "stablehlo", None, tmp_path / "no")
    with pytest.raises(UserError, match="--int8 needs a fixed --size"):
        folder = data / "images" / "train"
        export_run(run.folder, "onnx", None, tmp_path / "no", calibrate=folder)


def test_drawn_pictures_stand_in_for_data_that_are_not_there(run, tmp_path):
    copy = shutil.copytree(run.folder, tmp_path / "run")
    record = (copy / "run.json").read_text()
    dir = run.record["config"]["data"]["dir"]
    (copy / "run.json").write_text(record.replace(dir, "/was/here"))
    report = export_run(copy, "stablehlo", HW, tmp_path / "out")
    assert report["check"]["pictures"] == "drawn scenes"
    assert report["check"]["count"] == 8 and "miou_exported" not in report["check"]


BROKEN = """
import runpy, sys
from dataclasses import replace
import jax
from jaxseg.evaluation import export

write = export.write

def wrong(kind, job, folder):
    doubled = jax.tree.map(lambda x: 2 * x, job.variables["batch_stats"])
    variables = {**job.variables, "batch_stats": doubled}
    return write(kind, replace(job, variables=variables), folder)

export.write = wrong
runpy.run_path("export.py", run_name="__main__")
"""


def test_an_export_that_computes_something_else_is_not_kept(run, tmp_path):
    needs("onnx")
    command = [f"--ckpt={run.folder}", "--format=onnx", "--size=48x64"]
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, *command, f"--to={tmp_path / 'out'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "of the labels that onnxruntime" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_older_export_is_replaced_by_a_whole_one_alone(run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export_run(run.folder, "stablehlo", HW, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match="holds an export already; .*--overwrite"):
        export_run(run.folder, "stablehlo", HW, out)

    def as_before():
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert before == {path.name: path.read_bytes() for path in out.iterdir()}

    def full(kind, job, folder):
        (folder / "model.stablehlo").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "write", full)
        with pytest.raises(UserError, match="out cannot be written .No space left"):
            export_run(run.folder, "stablehlo", HW, out, overwrite=True)
    as_before()

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "compare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export_run(run.folder, "stablehlo", HW, out, overwrite=True)
    as_before()
    export_run(run.folder, "stablehlo", HW, out, output="logits", overwrite=True)
    assert json.loads((out / "report.json").read_text())["output"] == "logits"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_that_no_engine_opens_fails_the_check(run, tmp_path, monkeypatch):
    def garbage(job, path):
        path.write_bytes(b"garbage")

    broken = formats.Format(garbage, (), "", ())
    monkeypatch.setitem(formats.FORMATS, "stablehlo", broken)
    with pytest.raises(Unequal, match="does not run: .* cannot be opened"):
        export_run(run.folder, "stablehlo", HW, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_convolutions_of_8_bit_integers(data, run, tmp_path, monkeypatch):
    needs("onnx")
    import onnx

    # Of drawn weights many logits are nearly equal.
    monkeypatch.setattr(export, "EQUAL_LEAST_INT8", 0.5)
    pictures = data / "images" / "train"
    report = export_run(run.folder, "onnx", HW, tmp_path / "out", calibrate=pictures)
    assert report["dtype"] == "int8" and report["check"]["bound"] == 0.5
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    made = {name: node.op_type for node in graph.node for name in node.output}
    assert convolutions
    for node in convolutions:
        assert {made[name] for name in node.input[:2]} == {"DequantizeLinear"}
    for node in graph.node:
        if node.op_type == "ArgMax":
            assert made[node.input[0]] != "DequantizeLinear"
    line = score_export(tmp_path / "out", "val", str(data))["protocol"]
    assert ", onnx int8 by onnxruntime " in line
    with pytest.raises(UserError, match="stablehlo leaves in float32 alone; .* onnx"):
        export_run(run.folder, "stablehlo", HW, tmp_path / "no", calibrate=pictures)
    with pytest.raises(UserError, match="--calibrate .*: there is no picture in it"):
        export_run(run.folder, "onnx", HW, tmp_path / "no", calibrate=tmp_path)


def test_openvino_has_the_same_8_bit_integers(data, run, tmp_path, monkeypatch):
    needs("openvino")
    monkeypatch.setattr(export, "EQUAL_LEAST_INT8", 0.5)
    pictures = data / "images" / "train"
    given = run.folder, "openvino", HW, tmp_path / "out"
    assert export_run(*given, calibrate=pictures)["dtype"] == "int8"
    assert '"i8"' in (tmp_path / "out" / "model.xml").read_text()


def test_what_is_no_export_is_never_replaced(run, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="is there already, and is no export"):
        export_run(run.folder, "stablehlo", HW, tmp_path, overwrite=True)


@pytest.mark.parametrize("text", ["512", "0x64", "15x64", "-3x64", "ax b", "64x128x3"])
def test_sizes_that_are_none(text):
    with pytest.raises(UserError, match="--size is"):
        parse_size(text)


def test_reports_that_are_missing_or_damaged(run, tmp_path):
    out = tmp_path / "out"
    export_run(run.folder, "stablehlo", HW, out)
    file = out / "model.stablehlo"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="not the file that report.json beside it"):
        open_export(out).engine()
    text = (out / "report.json").read_text()
    silent = json.loads(text)
    silent["classes"]["values"] = None  # of weights that ship
    (out / "report.json").write_text(json.dumps(silent))
    assert open_export(out).table.values == ()
    (out / "report.json").write_text(text.replace('"report_format": 1', '"x": 1'))
    with pytest.raises(UserError, match="report.json is damaged"):
        open_export(out)
    (out / "report.json").write_text(text.replace('_format": 1', '_format": 9'))
    with pytest.raises(UserError, match="has format 9, this jaxseg reads 1"):
        open_export(out)
    (out / "report.json").unlink()
    with pytest.raises(UserError, match="has no report.json beside it"):
        score_export(file)
