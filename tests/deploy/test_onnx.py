"""The exported graphs, run by onnxruntime, against the Predictor."""

from collections import Counter

import flax.linen as nn
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from jaxseg import models
from jaxseg.benchmark.workload import draw_weights
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.onnx import export_onnx, open_multiple
from jaxseg.deploy.onnx_graph import Graph
from jaxseg.deploy.predictor import Predictor
from jaxseg.models.sizes import size_multiple

onnx = pytest.importorskip("onnx", reason="needs jaxseg's extra onnx")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime")

MEAN, STD = (120.0, 110.0, 100.0), (60.0, 58.0, 57.0)


def picture(hw):
    """Coloured tiles with noise: neither flat nor noise alone."""
    rng = np.random.default_rng(1)
    tiles = rng.integers(0, 256, (hw[0] // 8 + 1, hw[1] // 8 + 1, 3))
    noise = rng.integers(-20, 21, (*hw, 3))
    tiles = tiles.repeat(8, 0).repeat(8, 1)[: hw[0], : hw[1]]
    return np.clip(tiles + noise, 0, 255).astype(np.uint8)[None]


def run(exported, image):
    """The graph's one output; with one thread, for tests run side by side."""
    onnx.checker.check_model(exported, full_check=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(exported.SerializeToString(), options)
    return session.run(None, {"image": image})[0]


def same(result, wanted, relative):
    bound = relative * abs(wanted).max()
    assert result.shape == wanted.shape and result.dtype == wanted.dtype
    np.testing.assert_allclose(result, wanted, rtol=0, atol=bound)


@pytest.mark.parametrize("name", models.names())
def test_graph_computes_what_the_predictor_does(name):
    model, preprocess = models.create(name), Preprocess(MEAN, STD)
    variables, image = draw_weights(model), picture((64, 96))
    wanted = Predictor(model, variables, preprocess, "logits")(image)
    exported = export_onnx(model, variables, preprocess, (64, 96), "logits")
    same(run(exported, image), np.asarray(wanted), relative=1e-4)

    exported = export_onnx(model, variables, preprocess, (64, 96))
    labels, wanted = run(exported, image), np.argmax(wanted, -1).astype(np.uint8)
    assert labels.dtype == np.uint8 and len(np.unique(wanted)) > 1
    assert np.mean(labels == wanted) >= 0.999

    graph = exported.graph
    nodes = Counter(node.op_type for node in graph.node)
    kernels = [
        path
        for path, value in flatten_dict(variables["params"]).items()
        # LiteSeg's factors a channel are folded into the 1x1 convolution behind them.
        if path[-1] == "kernel" and (path[-2], *value.shape[:2]) != ("depthwise", 1, 1)
    ]
    assert nodes["Conv"] + nodes["ConvTranspose"] == len(kernels)
    # Of the picture, and one for each of ShuffleNet's 16 channel shuffles.
    assert nodes["Transpose"] == (17 if "shufflenet" in name else 1)
    assert nodes["Mul"] == (4 if name == "fpenet" else 0)  # of its MEUs
    assert not {"Identity", "Where", "Max", "Sub", "Div", "Slice", "Pad"} & set(nodes)
    # A bias of its own for each, or none: none is added behind.
    constants = {constant.name for constant in graph.initializer}
    assert not [n for n in graph.node if n.op_type == "Add" and {*n.input} & constants]


def test_any_size_and_scale_of_the_picture():
    model = models.create("esnet")
    preprocess = Preprocess(MEAN, STD, input_scale=0.8)
    variables, image = draw_weights(model), picture((45, 70))
    wanted = np.asarray(Predictor(model, variables, preprocess)(image))
    exported = export_onnx(model, variables, preprocess, (45, 70))
    labels = run(exported, image)
    assert labels.shape == (1, 45, 70) and np.mean(labels == wanted) >= 0.999
    nodes = Counter(node.op_type for node in exported.graph.node)
    assert nodes["Resize"] == 2 and nodes["Pad"] == 1 and nodes["Slice"] == 1


@pytest.mark.parametrize("name", models.names())
def test_an_open_batch_computes_what_a_fixed_one_does(name):
    model, hw = models.create(name, num_classes=3), (21, 40)
    preprocess = Preprocess(MEAN, STD, input_scale=0.9)
    arguments = model, draw_weights(model), preprocess, hw
    images = np.concatenate([picture(hw), 255 - picture(hw), picture(hw)])
    wanted = run(export_onnx(*arguments, "logits", batch=3), images)
    exported = export_onnx(*arguments, "logits", batch=None)
    same(run(exported, images), wanted, relative=1e-5)
    same(run(exported, images[:1]), wanted[:1], relative=1e-5)


# The deepest maps are at a sixteenth in Darknet19's LiteSeg, at a thirty-second in the
# other two; what the others have at an eighth or less is never resized but to a whole.
MULTIPLES = dict.fromkeys(models.names(), 8)
MULTIPLES |= dict(liteseg_darknet=16, liteseg_mobilenet=32, liteseg_shufflenet=32)


@pytest.mark.parametrize("name", models.names())
def test_open_sizes_compute_what_fixed_ones_do(name):
    model, preprocess = models.create(name, num_classes=3), Preprocess(MEAN, STD)
    network = model, draw_weights(model), preprocess
    multiple = open_multiple(*network)
    assert multiple == MULTIPLES[name] == size_multiple(model)
    exported = export_onnx(*network, multiple, "logits", batch=None)
    h, w = 5 * multiple - 3, 3 * multiple - 5
    image = np.concatenate([picture((h, w)), 255 - picture((h, w))])
    padded = np.pad(image, [(0, 0), (0, 3), (0, 5), (0, 0)], "edge")
    fixed = export_onnx(*network, padded.shape[1:3], "logits", batch=2)
    same(run(exported, image), run(fixed, padded)[:, :h, :w], relative=1e-5)


class Tilted(nn.Module):
    """Adds a map of constants, as large as the picture."""

    dtype: type = np.float32

    @nn.compact
    def __call__(self, x, *, train):
        return x + np.arange(x.shape[1], dtype=np.float32)[None, :, None, None]


def test_maps_that_are_no_fraction_of_the_picture():
    with pytest.raises(ValueError, match="no fixed fractions of the picture"):
        open_multiple(Tilted(), {}, Preprocess(MEAN, STD))


def test_pairs_are_joined_on_request():
    model = models.create("fddwnet", num_classes=3)
    variables, image = draw_weights(model), picture((16, 24))
    arguments = model, variables, Preprocess(MEAN, STD), (16, 24), "logits"
    apart, joined = export_onnx(*arguments), export_onnx(*arguments, join_pairs=True)
    counts = [sum(n.op_type == "Conv" for n in m.graph.node) for m in (apart, joined)]
    assert counts[0] - counts[1] == 54  # pairs, two in each of 27 modules
    same(run(joined, image), run(apart, image), relative=1e-5)


@pytest.mark.parametrize("name", ["esnet", "dabnet"])
def test_what_others_may_train_keeps_its_norms(name):
    """Whose scales are the network's own by its eps, and whose shifts are folded."""
    model, preprocess = models.create(name, num_classes=3), Preprocess(MEAN, STD)
    variables, image = draw_weights(model), picture((16, 24))
    arguments = model, variables, preprocess, (16, 24), "logits"
    exported = export_onnx(*arguments, trainable=True)
    same(run(exported, image), run(export_onnx(*arguments), image), relative=1e-4)
    nodes = Counter(node.op_type for node in exported.graph.node)
    paths = flatten_dict(variables["params"])
    norms = [path for path in paths if path[-1] == "scale"]
    shared = 2 * 3 if name == "esnet" else 0  # three PFCUs use their norm three times
    # The first one is what is done to the picture.
    assert nodes["BatchNormalization"] == 1 + len(norms) + shared
    assert nodes["PRelu"] == sum(path[-1] == "slope" for path in paths)


def test_affine_maps_of_channels_in_a_row_become_one():
    graph = Graph()
    x = graph.add("Add", "x", np.float32([1, 2]).reshape(1, 2, 1, 1))
    x = graph.add("Mul", x, np.float32([10, 100]).reshape(1, 2, 1, 1))
    x = graph.add("Add", x, np.float32([3, 4]).reshape(1, 2, 1, 1))
    x = graph.add("Add", x, np.float32(5))  # of no channel
    graph.merge()
    norm, last = graph.nodes
    assert (norm.op, last.op, last.outputs) == ("BatchNormalization", "Add", [x])
    gain, shift = (graph.constants[name].tolist() for name in norm.inputs[1:3])
    assert gain == [10, 100] and shift == [13, 204]


def test_what_another_node_reads_too_is_left_as_it_is():
    graph, ones = Graph(), np.ones((1, 2, 1, 1), np.float32)
    conv = graph.add("Conv", "x", np.ones((2, 3, 1, 1), np.float32))
    graph.add("Concat", graph.add("Add", conv, ones), conv)
    graph.merge()
    assert [node.op for node in graph.nodes] == ["Conv", "Add", "Concat"]


def test_primitive_without_a_rule_is_named():
    model = models.create("dabnet", num_classes=3, head="spp")
    with pytest.raises(ValueError, match="no rule for the primitive 'dot_general'"):
        export_onnx(model, draw_weights(model), Preprocess(), (64, 96))


def test_unknown_output_is_refused():
    with pytest.raises(ValueError, match="labels.*logits.*got 'scores'"):
        export_onnx(models.create("esnet"), {}, Preprocess(), (64, 96), "scores")
