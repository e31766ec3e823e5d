"""The deployed network as an ONNX graph, for other runtimes.

The jaxpr of `segment` under the textbook lowering is translated equation by equation.
Maps are NCHW in the graph: only the picture, and logits at the end, are transposed.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.onnx_graph import NO_EPSILON, Graph, Value
from jaxseg.deploy.predictor import OUTPUTS, deploy, segment
from jaxseg.ops import Lowering, Pair, lowering

if TYPE_CHECKING:
    from onnx import ModelProto


def export_onnx(
    model: nn.Module,
    variables: Any,
    preprocess: Preprocess,
    hw: Pair,
    output: str = "labels",
    join_pairs: bool = False,
    batch: int | None = 1,
    trainable: bool = False,
) -> "ModelProto":
    """The program of `Predictor` for pictures of `hw`, as an ONNX model.

    Its input `image` is uint8 `(b, h, w, 3)`; its output, named as `output`, is uint8
    `(b, h, w)` or float32 `(b, h, w, k)`. Folded weights, pre- and post-processing are
    part of the graph. Needs the `onnx` package (jaxseg's extra of that name).

    Args:
        output: "labels" or "logits".
        join_pairs: make one convolution, and the sum with a map of biases, of each of
            FDDWNet's depthwise pairs. OpenVINO is faster so, onnxruntime slower.
        batch: b, the number of pictures in a call; None leaves it open.
        trainable: export the network as it is trained, not folded: batch norms and
            PReLU are nodes of their own, which frameworks that train can convert. Of
            dropout, and of each norm's eps, the graph knows nothing.

    Raises:
        ValueError: `output` is neither, or the network computes something for which
            `RULES` has no rule.
    """
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}.")
    with lowering(Lowering("textbook", join_pairs=join_pairs)):
        if not trainable:
            model, variables = deploy(model, variables, preprocess, hw)
        closed = jax.make_jaxpr(
            lambda image: segment(model, variables, preprocess, image, output)
        )(jax.ShapeDtypeStruct((batch or 1, *hw, 3), jnp.uint8))

    graph = Graph(trainable, open_batch=batch is None)
    pixels = graph.add("Cast", "image", to=_DTYPES[np.dtype(np.float32)])
    pixels = graph.add("Transpose", pixels, perm=(0, 3, 1, 2))
    (result,) = _translate(graph, closed.jaxpr, closed.consts, [pixels])
    if output == "logits":
        result = graph.add("Transpose", result, perm=(0, 2, 3, 1))
    graph.add("Identity", result, outputs=[output])
    graph.merge()

    name = type(model).__name__
    return graph.model(name, (batch or 1, *hw, 3), output, closed.out_avals[0])


# ONNX's numbers for the dtypes that images, maps and labels have.
_DTYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2}

# The primitives that call a jaxpr of their own.
_CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call")


def _translate(
    graph: Graph, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Value]
) -> list[Value]:
    """Adds to `graph` what computes `jaxpr`, and returns its results."""
    values = dict(zip(jaxpr.constvars, map(np.asarray, constants)))
    values.update(zip(jaxpr.invars, inputs))

    def read(v):
        return np.asarray(v.val, v.aval.dtype) if isinstance(v, Literal) else values[v]

    for eqn in jaxpr.eqns:
        graph.scope = str(eqn.source_info.name_stack) or graph.scope
        arguments = [read(v) for v in eqn.invars]
        name, inner = eqn.primitive.name, None
        if name in _CALLS:
            inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
            name = f"jit {eqn.params.get('name')}"
        known = not any(isinstance(x, str) for x in arguments)
        if known and inner is None:
            results = np.asarray(eqn.primitive.bind(*arguments, **eqn.params))
        elif name in RULES and not known:
            results = RULES[name](graph, eqn, *arguments)
        elif inner is not None:
            results = _translate(graph, inner.jaxpr, inner.consts, arguments)
        else:
            raise ValueError(
                f"the ONNX export has no rule for the primitive {name!r}, which "
                f"{graph.scope or 'the network'} uses: it has to be added to RULES."
            )
        results = results if isinstance(results, list) else [results]
        values.update(zip(eqn.outvars, results))
    return [read(v) for v in jaxpr.outvars]


def _order(rank: int) -> tuple[int, ...]:
    """JAX's axes in ONNX's order: what is behind h and w comes before them."""
    return (0, *range(3, rank), 1, 2) if rank > 2 else tuple(range(rank))


def _axis(axis: int, rank: int) -> int:
    return _order(rank).index(axis)


def _by_axis(numbers: Sequence[int]) -> np.ndarray:
    """A shape, or any other number an axis, in ONNX's order."""
    return np.array([numbers[axis] for axis in _order(len(numbers))], np.int64)


def _in(eqn: JaxprEqn) -> tuple[int, ...]:
    return eqn.invars[0].aval.shape


def _out(eqn: JaxprEqn) -> tuple[int, ...]:
    return eqn.outvars[0].aval.shape


def _operand(x: Value) -> Value:
    return x if isinstance(x, str) else x.transpose(_order(x.ndim))


Rule = Callable[..., Value | list[Value]]  # (graph, eqn, *values)


def _node(op: str, **attributes: Any) -> Rule:
    return lambda graph, eqn, *xs: graph.add(op, *map(_operand, xs), **attributes)


def _arithmetic(op: str, on_constant: str = "", of: Callable | None = None) -> Rule:
    """`op`; with a constant, which then comes second, `on_constant` of what `of` says.

    `Graph.merge` looks for sums and products with constants in this form.
    """

    def rule(graph, eqn, x, y):
        if of and not isinstance(y, str):
            return graph.add(on_constant, x, _operand(of(y)))
        if not of and not isinstance(x, str):
            x, y = y, x
        return graph.add(op, _operand(x), _operand(y))

    return rule


def _conv(graph, eqn, x, kernel):
    p = eqn.params
    low, high = zip(*p["padding"])
    common = dict(kernel_shape=kernel.shape[:2], group=p["feature_group_count"])
    if tuple(p["lhs_dilation"]) == (1, 1):
        common.update(strides=p["window_strides"], dilations=p["rhs_dilation"])
        kernel = kernel.transpose(3, 2, 0, 1)
        return graph.add("Conv", x, kernel, pads=low + high, **common)
    if (*p["window_strides"], *p["rhs_dilation"], common["group"]) != (1,) * 5:
        raise ValueError(f"the ONNX export cannot express this convolution: {eqn}")
    # A ConvTranspose has the taps the other way round, and `pads` are what it cuts off.
    return graph.add(
        "ConvTranspose",
        x,
        kernel[::-1, ::-1].transpose(2, 3, 0, 1),
        strides=p["lhs_dilation"],
        pads=[k - 1 - n for k, n in zip(kernel.shape, low)] * 2,
        output_padding=[b - a for a, b in p["padding"]],
        **common,
    )


def _prelu(graph, eqn, x, slope):
    """`slope * x + (1 - slope) * relu(x)`.

    onnxruntime has no PRelu in the layout that its convolutions work in, and OpenVINO
    too takes less time for these. BatchNormalization it has.
    """
    if graph.trainable:
        return graph.add("PRelu", x, slope.reshape(-1, 1, 1))

    def scaled(x, gain):
        zero, one = np.zeros_like(gain), np.ones_like(gain)
        norm = gain, zero, zero, one
        return graph.add("BatchNormalization", x, *norm, epsilon=NO_EPSILON)

    return graph.add("Add", scaled(x, slope), scaled(graph.add("Relu", x), 1 - slope))


def _max_pool(graph, eqn, x):
    p = eqn.params
    pads = [margin[end] for end in (0, 1) for margin in p["padding"][1:3]]
    window = dict(kernel_shape=p["window_dimensions"][1:3], pads=pads)
    return graph.add("MaxPool", x, strides=p["window_strides"][1:3], **window)


def _pad(graph, eqn, x, value):
    low, high, interior = zip(*eqn.params["padding_config"])
    if any(interior) or min(low + high) < 0:
        raise ValueError(f"the ONNX export cannot express this padding: {eqn}")
    pads = np.concatenate([_by_axis(low), _by_axis(high)])
    return graph.add("Pad", x, pads, value) if pads.any() else x


def _pad_edge(graph, eqn, x):
    more = _by_axis(_out(eqn)) - _by_axis(_in(eqn))
    pads = np.concatenate([0 * more, more])
    return graph.add("Pad", x, pads, mode="edge") if pads.any() else x


def _sizes(graph: Graph, eqn: JaxprEqn, x: str) -> Value:
    """The result's shape, in ONNX's order; of an open batch, with that of `x`."""
    shape = _by_axis(_out(eqn))
    if not graph.open_batch:
        return shape
    first, second = np.array([0]), np.array([1])
    batch = graph.add("Slice", graph.add("Shape", x), first, second)
    return graph.add("Concat", batch, shape[1:], axis=0)


def _resize(how: str) -> Rule:
    kind = dict(mode="linear", coordinate_transformation_mode=how)

    def rule(graph, eqn, x):
        if _in(eqn) == _out(eqn):
            return x
        # The sizes are given, regions of interest and scales are not.
        return graph.add("Resize", x, "", "", _sizes(graph, eqn, x), **kind)

    return rule


def _slice(graph, eqn, x):
    p = eqn.params
    if _in(eqn) == _out(eqn):
        return x
    steps = p["strides"] or (1,) * len(_in(eqn))
    first, last, steps = map(_by_axis, (p["start_indices"], p["limit_indices"], steps))
    axes = np.flatnonzero(_by_axis(_in(eqn)) != _by_axis(_out(eqn)))
    return graph.add("Slice", x, first[axes], last[axes], axes, steps[axes])


def _split(graph, eqn, x):
    sizes = np.array(eqn.params["sizes"], np.int64)
    if len(sizes) == 1:  # which onnx2torch could not read
        return x
    outputs = [f"{graph.scope}/Split_{len(graph.nodes)}_{i}" for i in range(len(sizes))]
    axis = _axis(eqn.params["axis"], len(_in(eqn)))
    graph.add("Split", x, sizes, outputs=outputs, axis=axis)
    return outputs


def _concatenate(graph, eqn, *xs):
    axis = _axis(eqn.params["dimension"], len(_out(eqn)))
    return graph.add("Concat", *map(_operand, xs), axis=axis)


def _broadcast(graph, eqn, x):
    if len(_in(eqn)) != len(_out(eqn)):
        raise ValueError(f"the ONNX export cannot broadcast to new axes: {eqn}")
    return graph.add("Expand", x, _by_axis(_out(eqn)))


def _reshape(graph, eqn, x):
    # What is behind h and w comes before them, but stays together.
    if _in(eqn)[:3] != _out(eqn)[:3]:
        raise ValueError(f"the ONNX export can reshape channels only: {eqn}")
    shape = _by_axis(_out(eqn))
    if graph.open_batch:
        shape[0] = 0  # ONNX's sign for the input's own
    return graph.add("Reshape", x, shape)


def _transpose(graph, eqn, x):
    wanted = _by_axis(eqn.params["permutation"])
    perm = [_axis(axis, len(wanted)) for axis in wanted]
    return graph.add("Transpose", x, perm=perm)


def _argmax(graph, eqn, x):
    axis = _axis(eqn.params["axes"][0], len(_in(eqn)))
    return graph.add("ArgMax", x, axis=axis, keepdims=0)


def _convert(graph, eqn, x):
    dtype = eqn.params["new_dtype"]
    if dtype == np.float32:  # which pixels are from the start
        return x
    return graph.add("Cast", x, to=_DTYPES[np.dtype(dtype)])


# What an equation becomes: by its primitive, or by the name of the jitted function that
# it calls, JAX's own or one that is `ops.named`.
RULES: dict[str, Rule] = {
    "add": _arithmetic("Add"),
    "argmax": _argmax,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _conv,
    "convert_element_type": _convert,
    "div": _arithmetic("Div", "Mul", np.reciprocal),
    "mul": _arithmetic("Mul"),
    "pad": _pad,
    "reduce_window_max": _max_pool,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "sub": _arithmetic("Sub", "Add", np.negative),
    "transpose": _transpose,
    "jit avg_pool3": _node(
        "AveragePool",
        kernel_shape=(3, 3),
        strides=(2, 2),
        pads=(1, 1, 1, 1),
        count_include_pad=1,
    ),
    "jit leaky_relu": lambda graph, eqn, x, slope: graph.add(
        "LeakyRelu", x, alpha=float(slope)
    ),
    "jit max_pool2": _node("MaxPool", kernel_shape=(2, 2), strides=(2, 2)),
    "jit mean_over_channels": _node("ReduceMean", axes=(1,)),
    "jit mean_over_pixels": _node("GlobalAveragePool"),
    "jit pad_edge": _pad_edge,
    "jit prelu": _prelu,
    "jit relu": _node("Relu"),
    "jit relu6": lambda graph, eqn, x: graph.add("Clip", x, *np.float32([0, 6])),
    "jit resize_align_corners": _resize("align_corners"),
    "jit resize_half_pixel": _resize("half_pixel"),
}
