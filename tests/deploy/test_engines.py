"""Every format, written and run by its own engine, against the Predictor."""

import numpy as np
import pytest
from weights import drawn_variables

from jaxseg import models
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.engines import FILES, find, open_engine, require
from jaxseg.deploy.formats import FORMATS, Job, check_format, write
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from streets import draw_scene

HW = (64, 128)
PREPROCESS = Preprocess((120.0, 110.0, 100.0), (60.0, 58.0, 57.0))


@pytest.fixture(scope="module")
def network():
    model = models.create("dabnet", num_classes=5, dilations1=(2,), dilations2=(4,))
    return model, drawn_variables(model, HW)


@pytest.fixture(scope="module")
def pictures():
    return np.stack([draw_scene(seed, HW)[0] for seed in range(3)])


def available(kind):
    try:
        check_format(kind)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("output", ["labels", "logits"])
def test_an_engine_computes_what_the_predictor_does(
    kind, output, network, pictures, tmp_path
):
    available(kind)
    batch = None if FORMATS[kind].open_batch else 1
    path = write(kind, Job(*network, PREPROCESS, HW, batch, output), tmp_path)
    assert path == tmp_path / FILES[kind]
    engine = open_engine(tmp_path)
    assert (engine.hw, engine.batch, engine.output) == (HW, batch, output)
    wanted = np.asarray(Predictor(*network, PREPROCESS, output)(pictures))
    step = batch or len(pictures)
    parts = [engine(pictures[i : i + step]) for i in range(0, len(pictures), step)]
    found = np.concatenate(parts)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    if output == "labels":
        assert len(np.unique(wanted)) > 1 and np.mean(found == wanted) >= 0.999
    else:
        bound = 1e-4 * abs(wanted).max()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=bound)
    with pytest.raises(ValueError, match=r"takes uint8 \((1|b), 64, 128, 3\), got"):
        engine(pictures[:1, :32])
    name, version = engine.name.split()
    assert version[0].isdigit() and name.islower()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_a_sentence(kind, network, tmp_path):
    available(kind)
    path = write(kind, Job(*network, PREPROCESS, HW), tmp_path)
    file = path / "saved_model.pb" if path.is_dir() else path
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(UserError, match=f"cannot be opened as {kind}"):
        open_engine(path)


def test_what_is_no_export(tmp_path):
    with pytest.raises(UserError, match="no exported network; give the folder"):
        find(tmp_path)
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"of the kinds .onnx, .stablehlo, .tflite"):
        find(tmp_path / "model.pth")


def test_a_package_that_is_missing():
    with pytest.raises(UserError, match=r"needs the package onyx.*'\.\[onnx\]'"):
        require("onyx.runtime", "onnx")


def test_a_format_that_is_unknown_or_cannot_be_open():
    with pytest.raises(UserError, match="'caffe'; there are: onnx, stablehlo"):
        check_format("caffe")
    available("tflite")
    with pytest.raises(UserError, match="fixed number of pictures; give --batch 1"):
        check_format("tflite", None)
