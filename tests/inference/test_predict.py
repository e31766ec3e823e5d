"""Prediction of picture files, and the pictures themselves."""

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.data.classes import CITYSCAPES, ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.predictor import Predictor
from jaxseg.errors import UserError
from jaxseg.inference import predict
from jaxseg.inference.inputs import find_items
from jaxseg.inference.pictures import grid, legend, overlay, save_indexed
from jaxseg.models.layers import Network
from jaxseg.ops import bfloat16_pays, compiler_options
from tools.reliability.samples import unfinished_png

YNNPACK = "xla_cpu_experimental_ynn_fusion_type"
TABLE = ClassTable(("a", "b", "c"), ((255, 0, 0), (0, 200, 0), (0, 0, 100)))
LABEL = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def test_indexed_png_holds_ids_and_shows_colours(tmp_path):
    save_indexed(LABEL, TABLE, tmp_path / "a.png")
    picture = Image.open(tmp_path / "a.png")
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), LABEL)
    colours = np.asarray(picture.convert("RGB"))
    assert colours[0].tolist() == [[255, 0, 0], [0, 200, 0], [0, 0, 100]]
    assert colours[1, 0].tolist() == [0, 0, 0]


def test_overlay_mixes_and_leaves_void_as_it_is():
    image = np.full((2, 3, 3), 100, np.uint8)
    mixed = overlay(image, LABEL, TABLE, opacity=0.25)
    assert mixed[0, 0].tolist() == [139, 75, 75]
    assert mixed[1, 0].tolist() == [100, 100, 100]


def test_grid_shows_image_truth_and_prediction_side_by_side():
    images = np.full((2, 2, 3, 3), 9, np.uint8)
    predicted = np.full((2, 2, 3), 1, np.uint8)
    titled = grid(images, np.stack([LABEL, LABEL]), predicted, TABLE)
    picture = titled[24:]  # under the titles
    assert picture.shape == (4, 9, 3)
    assert (picture[:, :3] == 9).all()
    np.testing.assert_array_equal(picture[2:, 3:6], TABLE.colours()[LABEL])
    assert picture[0, 6].tolist() == [0, 200, 0]
    assert picture[1, 6].tolist() == [0, 0, 0]  # void in the truth


def test_legend_has_the_colours_of_the_classes_present():
    picture = np.asarray(legend(CITYSCAPES, [0, 13]))
    colours = {tuple(c) for c in picture.reshape(-1, 3).tolist()}
    assert {(128, 64, 128), (0, 0, 142)} <= colours and (220, 20, 60) not in colours


@pytest.fixture(scope="module")
def predictor():
    model = models.create("esnet", num_classes=3)
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), np.zeros((1, 8, 8, 3))
    )
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: np.float32(rng.uniform(0, 1, s.shape)), shapes)
    return Predictor(model, variables, Preprocess())


@pytest.mark.parametrize("hw", [(1, 1), (13, 21)])
def test_any_size_comes_back_at_its_own_size(predictor, hw):
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    label = predictor(image)
    assert label.shape == hw and label.dtype == np.uint8
    batch = predictor(np.stack([image, image]))
    np.testing.assert_array_equal(batch, np.stack([label, label]))


def test_sizes_that_are_padded_alike_share_a_program(predictor):
    rng = np.random.default_rng(4)
    before = predictor.program.cache_info().misses
    whole = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for h, w in [(24, 32), (17, 25), (23, 30), (24, 31)]:
        image = whole[:h, :w]
        padded = np.pad(image, [(0, 24 - h), (0, 32 - w), (0, 0)], "edge")
        expected = predictor(padded)[:h, :w]
        np.testing.assert_array_equal(predictor(image), expected)
        np.testing.assert_array_equal(predictor(jnp.asarray(image)), expected)
    assert predictor.program.cache_info().misses == before + 1


def test_pictures_are_padded_to_the_stride_of_the_network():
    model, preprocess = models.create("liteseg_mobilenet", num_classes=3), Preprocess()
    variables = draw_weights(model)
    image = np.random.default_rng(5).integers(0, 256, (40, 57, 3), dtype=np.uint8)
    padded = np.pad(image, [(0, 24), (0, 7), (0, 0)], "edge")[None]
    wanted = model.apply(variables, preprocess(jnp.asarray(padded)), train=False)
    found = Predictor(model, variables, preprocess, "logits", size_step=16)(image)
    largest = np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted[0, :40, :57], atol=1e-4 * largest)


@pytest.mark.parametrize("size_step", [0, 4, 12])
def test_size_steps_that_networks_do_not_take(predictor, size_step):
    with pytest.raises(ValueError, match="must be a multiple of 8"):
        Predictor(models.create("esnet"), {}, Preprocess(), size_step=size_step)


def test_sizes_share_the_weights_that_are_equal(predictor):
    programs = predictor.program(1, 1, 1), predictor.program(1, 13, 21)
    first, second = (jax.tree.leaves(program.args) for program in programs)
    assert len(first) > 50 and all(a is b for a, b in zip(first, second))
    kept = predictor._on_device("bias", np.ones(3, np.float32))
    assert predictor._on_device("bias", np.ones(3, np.float32)) is kept
    assert not predictor._on_device("bias", np.zeros(3, np.float32)).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "processor, ynnpack_for",
    [
        ("GenuineIntel avx512f", []),
        ("GenuineIntel avx512_bf16 amx_bf16", ["bfloat16"]),
        ("AuthenticAMD avx512_bf16", ["bfloat16", "float32"]),
    ],
)
def test_products_are_by_the_library_that_was_faster(
    processor, ynnpack_for, dtype, monkeypatch
):
    monkeypatch.setattr("jaxseg.ops.machine.cpu_info", lambda: processor)
    bfloat16_pays.cache_clear()
    options = compiler_options(dtype)
    bfloat16_pays.cache_clear()
    assert (YNNPACK in options) == (dtype not in ynnpack_for)
    assert not options.get(YNNPACK)


def test_without_the_option_products_are_ynnpacks():
    product = jax.jit(lambda x: x @ x).lower(jnp.zeros((64, 64)))
    assert "ynn_fusion" in product.compile().as_text()
    assert "ynn_fusion" not in product.compile({YNNPACK: ""}).as_text()


class Echo(Network):
    """A network whose logits are its input."""

    @nn.compact
    def __call__(self, image, *, train):
        return image


def test_half_size_input_is_averaged_and_its_logits_enlarged():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (1, 40, 72, 3), dtype=np.uint8)
    preprocess = Preprocess((10.0, 20.0, 30.0), (2.0, 2.0, 2.0), input_scale=0.5)
    logits = Predictor(Echo(), {}, preprocess, "logits")(image)
    half = image[0].reshape(20, 2, 36, 2, 3).mean((1, 3))
    for channel in range(3):
        seen = (half[..., channel] - preprocess.mean[channel]) / 2
        small = Image.fromarray(seen.astype(np.float32))
        expected = small.resize((72, 40), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(logits[0, ..., channel], expected, atol=1e-4)
    with pytest.raises(ValueError, match="input_scale must be above 0 and at most 4"):
        Preprocess(input_scale=4.5)


def test_an_output_that_there_is_not():
    with pytest.raises(ValueError, match="output must be one of"):
        Predictor(Echo(), {}, Preprocess(), "probabilities")


def test_anything_but_uint8_rgb_is_refused(predictor):
    for wrong in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(ValueError, match="a picture must be uint8"):
            predictor(wrong)


class Bright:
    """In place of `Segmenter`: class 1 where red is high, which is how sure it is."""

    table, runtime = TABLE, "xla"

    def __init__(self, ckpt, step, size_step, runtime):
        pass

    def __call__(self, image):
        return (image[..., 0] > 100).astype(np.uint8)

    def labels_and_confidence(self, image):
        return self(image), image[..., 0]


@pytest.fixture
def predicted(monkeypatch):
    """Calls `predict` with a network that answers class 1 for bright pixels."""
    monkeypatch.setattr(predict, "Segmenter", Bright)

    def call(source, output, **more):
        sources = source if isinstance(source, list) else [source]
        return predict.predict("run", sources, output, **more)

    return call


def test_a_telephones_picture_is_answered_as_it_is_seen(predicted, tmp_path):
    halves = np.zeros((8, 16, 3), np.uint8)
    halves[:, 8:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(halves).save(tmp_path / "a.jpg", exif=exif)
    predicted(tmp_path / "a.jpg", tmp_path / "out")
    found = np.asarray(Image.open(tmp_path / "out" / "a_labels.png"))
    assert found.tolist() == [[0] * 8] * 8 + [[1] * 8] * 8
    assert Image.open(tmp_path / "out" / "a_overlay.png").size == (8, 16)


def test_what_it_wrote_is_neither_segmented_nor_kept(predicted, tmp_path):
    Image.new("RGB", (3, 2), "white").save(tmp_path / "a.png")
    for _ in range(2):
        assert predicted(tmp_path, tmp_path).pictures == 1
    names = ["a.png", "a_labels.png", "a_overlay.png", "legend.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    Image.new("RGB", (3, 2), "black").save(tmp_path / "a.png")
    predicted(tmp_path, tmp_path)
    assert not np.asarray(Image.open(tmp_path / "a_labels.png")).any()


@pytest.mark.parametrize("name", ["a_labels.png", "a_overlay.png", "legend.png"])
@pytest.mark.parametrize("kind", ["picture", "text", "link"])
def test_what_others_wrote_is_never_replaced(predicted, tmp_path, name, kind):
    Image.new("RGB", (3, 2), "white").save(tmp_path / "a.png")
    out = tmp_path / "out"
    out.mkdir()
    if kind == "picture":
        Image.new("L", (3, 2), 9).save(out / name)
    elif kind == "text":
        (out / name).write_text("mine")
    else:
        (out / name).symlink_to(tmp_path / "elsewhere.png")
    before = os.lstat(out / name)
    with pytest.raises(UserError, match=f"{name} would be replaced, and predict.py"):
        predicted(tmp_path / "a.png", out)
    assert os.lstat(out / name) == before and len(list(out.iterdir())) == 1


def test_pictures_that_stop_everything_stop_nothing(predicted, tmp_path):
    source = tmp_path / "in [1]"
    source.mkdir()
    Image.new("RGB", (3, 2), "white").save(source / "z [left].png")
    (source / "a.png").write_bytes(unfinished_png(30_000, 20_000))
    (source / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (source / "._c.png").write_bytes(b"Mac OS X")
    os.mkfifo(source / "d.png")
    sentence = "2 of 3 pictures .*a.png has more than 178 million.*b.jpg cannot be read"
    with pytest.raises(UserError, match=sentence):
        predicted(source, tmp_path / "out")
    assert (tmp_path / "out" / "z [left]_labels.png").is_file()
    with pytest.raises(UserError, match="there is no picture or folder .*d.png"):
        predicted(source / "d.png", tmp_path / "out")


def test_a_home_folder(predicted, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    predicted("~/a.png", "~/out")
    assert (tmp_path / "out" / "a_labels.png").is_file()


def test_pictures_without_pixels_are_refused(predictor):
    for shape in ((0, 4, 3), (4, 0, 3), (0, 4, 4, 3)):
        with pytest.raises(ValueError, match="at least one pixel, got uint8"):
            predictor(np.zeros(shape, np.uint8))


def test_pictures_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="no picture or folder"):
        find_items([tmp_path / "x.png"])
    (tmp_path / "notes.pdf").write_text("")
    with pytest.raises(UserError, match="holds no pictures"):
        find_items([tmp_path])
    with pytest.raises(UserError, match="no picture's path fits"):
        find_items([tmp_path / "*.png"])
    for name in ("a.png", "a.jpg"):
        (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="more than one picture called a"):
        find_items([tmp_path])
