"""The nodes that each equation of a jaxpr becomes in an ONNX graph.

Maps are NCHW in the graph: axes of JAX's are put into that order here.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from jax.extend.core import JaxprEqn

from jaxseg.deploy.onnx_graph import NO_EPSILON, Graph, Value

# ONNX's numbers for the dtypes that images, maps and labels have.
DTYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2}


def _order(rank: int) -> tuple[int, ...]:
    """JAX's axes in ONNX's order: what is behind h and w comes before them."""
    return (0, *range(3, rank), 1, 2) if rank > 2 else tuple(range(rank))


def _axis(axis: int, rank: int) -> int:
    return _order(rank).index(axis)


def _by_axis(numbers: Sequence[int]) -> np.ndarray:
    """One number for each axis (a shape, strides), in ONNX's order."""
    return np.array([numbers[axis] for axis in _order(len(numbers))], np.int64)


def _in(eqn: JaxprEqn) -> tuple[int, ...]:
    return cast(Any, eqn.invars[0].aval).shape


def _out(eqn: JaxprEqn) -> tuple[int, ...]:
    return cast(Any, eqn.outvars[0].aval).shape


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
    """The result's shape, in ONNX's order; what is open of it is computed, the number
    of pictures from that of `x`."""
    shape = _by_axis(_out(eqn))
    batch: Value
    hw: Value
    batch, fixed, hw = shape[:1], shape[1:-2], shape[-2:]
    if graph.open_batch:
        found = graph.add("Shape", x)
        batch = graph.add("Slice", found, np.array([0]), np.array([1]))
    if graph.hw is not None:
        hw = graph.fraction(hw)
    if isinstance(batch, str) or isinstance(hw, str):
        return graph.add("Concat", batch, fixed, hw, axis=0)
    return shape


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
    open_hw = graph.hw is not None  # an open batch is broadcast to as it is
    return graph.add(
        "Expand", x, _sizes(graph, eqn, x) if open_hw else _by_axis(_out(eqn))
    )


def _reshape(graph, eqn, x):
    # What is behind h and w comes before them, but stays together.
    if _in(eqn)[:3] != _out(eqn)[:3]:
        raise ValueError(f"the ONNX export can reshape channels only: {eqn}")
    if graph.hw is not None:
        return graph.add("Reshape", x, _sizes(graph, eqn, x))
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
    return graph.add("Cast", x, to=DTYPES[np.dtype(dtype)])


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
    "jit relu6": lambda graph, eqn, x: graph.add(
        "Clip", x, *np.array([0, 6], np.float32)
    ),
    "jit resize_align_corners": _resize("align_corners"),
    "jit resize_half_pixel": _resize("half_pixel"),
}
