"""`jaxseg.load`: a picture of any kind in, labels with their meaning out."""

import re
import subprocess
import sys
from types import SimpleNamespace

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxseg
from jaxseg.data.classes import CAMVID, ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.inference import runtimes, segmenter
from jaxseg.models.layers import Network

SHIPPED = "liteseg_mobilenet-camvid"


class Echo(Network):
    """A network whose logits are its input."""

    @nn.compact
    def __call__(self, image, *, train):
        return image


@pytest.mark.parametrize("input_scale", [1.0, 0.5])
def test_confidence_is_the_softmax_of_the_winner(input_scale):
    image = np.random.default_rng(0).integers(0, 256, (2, 10, 14, 3), dtype=np.uint8)
    preprocess = Preprocess((9.0, 99.0, 0.0), (60.0, 30.0, 50.0), input_scale)
    logits = np.asarray(Predictor(Echo(), {}, preprocess, "logits")(image), np.float64)
    labels, confidence = Predictor(Echo(), {}, preprocess, "confidence")(image)
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    assert confidence.dtype == np.uint8 and confidence.shape == (2, 10, 14)
    np.testing.assert_allclose(confidence, 255 * expected.max(-1), atol=0.51)
    np.testing.assert_array_equal(labels, logits.argmax(-1))


def test_pictures_of_all_kinds_are_one_picture(tmp_path):
    segment = jaxseg.load(SHIPPED)
    assert segment.classes == CAMVID.names and segment.palette == CAMVID.palette
    assert "mean IoU, camvid val, 480x360" in segment.protocol
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    label = segment(image)
    assert isinstance(label, np.ndarray) and label.dtype == np.uint8
    assert label.shape == (64, 64) and len(np.unique(label)) > 1
    Image.fromarray(image).save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = Image.fromarray(image).transpose(Image.Transpose.ROTATE_180)
    turned.save(tmp_path / "b.png", exif=exif)
    same = [jnp.asarray(image), Image.fromarray(image), tmp_path / "a.png"]
    same += [str(tmp_path / "b.png"), Image.open(tmp_path / "b.png")]
    for picture in same:
        np.testing.assert_array_equal(segment(picture), label)
    colours = np.array(CAMVID.palette)[label]
    mixed = segment.overlay(tmp_path / "a.png", opacity=1)
    np.testing.assert_array_equal(mixed, colours)


@pytest.fixture(scope="module")
def echo_run():
    """A network whose answer is the largest of three channels, in a run's place."""
    record = {"scores": {"best": {"step": 0}}}  # as of weights of others
    return SimpleNamespace(
        table=ClassTable(("r", "g", "b"), ((9, 0, 0), (0, 9, 0), (0, 0, 9))),
        record=record,
        preprocess=Preprocess(),
        model=Echo,
        variables=lambda step: ({}, 0),
    )


@pytest.mark.parametrize("runtime", ["xla", "onnxruntime", "openvino", "auto"])
def test_runtimes_answer_alike(runtime, echo_run, monkeypatch):
    if runtime not in ("auto", *runtimes.installed()):
        pytest.skip(f"needs {runtime}")
    monkeypatch.setattr(segmenter, "Run", lambda folder: echo_run)
    rng = np.random.default_rng(0)
    segment = jaxseg.load("echo", runtime=runtime, size_step=16)
    for hw in ((13, 21), (16, 32)):  # padded and not
        image = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
        np.testing.assert_array_equal(segment(image), image.argmax(-1))
    batch = rng.integers(0, 256, (2, 13, 21, 3), dtype=np.uint8)
    np.testing.assert_array_equal(segment(batch), batch.argmax(-1))
    assert segment.protocol is None
    if runtime == "auto":
        times = ", ".join(rf"{name} [\d.]+ ms" for name in runtimes.installed())
        assert re.fullmatch(rf"\w+ \({times}\)", segment.runtime)


def test_runtimes_that_there_are_not(echo_run, monkeypatch):
    monkeypatch.setattr(segmenter, "Run", lambda folder: echo_run)
    with pytest.raises(UserError, match="there are: xla, onnxruntime, openvino, auto"):
        jaxseg.load("echo", runtime="tensorrt")
    monkeypatch.setitem(sys.modules, "openvino", None)
    segment = jaxseg.load("echo", runtime="openvino")
    with pytest.raises(UserError, match="openvino, which is not installed"):
        segment(np.zeros((8, 8, 3), np.uint8))


def test_a_run_that_is_not_there():
    with pytest.raises(UserError, match=f"ship: .*{SHIPPED}"):
        jaxseg.load("nowhere")


def test_importing_jaxseg_imports_nothing_else():
    code = "import sys, jaxseg; assert not {'jax', 'numpy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
