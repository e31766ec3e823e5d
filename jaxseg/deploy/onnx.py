"""The deployed network as an ONNX graph, for other runtimes.

The jaxpr of `segment` under the textbook lowering is translated equation by equation.
Maps are NCHW in the graph: only the picture, and logits at the end, are transposed.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Var

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.folding import Deployed
from jaxseg.deploy.onnx_graph import Graph, Value
from jaxseg.deploy.onnx_rules import DTYPES, RULES
from jaxseg.deploy.predictor import OUTPUTS, deploy, segment
from jaxseg.ops import Lowering, Pair, lowering

if TYPE_CHECKING:
    from onnx import ModelProto


def export_onnx(
    model: nn.Module,
    variables: Any,
    preprocess: Preprocess,
    hw: Pair | int,
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
        hw: height and width of the pictures; or the number that `open_multiple` gives,
            which leaves both open: the graph pads a picture at the bottom and right to
            multiples of it, repeating its edge, and crops the result.
        output: "labels" or "logits".
        join_pairs: make one convolution, and the sum with a map of biases, of each of
            FDDWNet's depthwise pairs. OpenVINO is faster so, onnxruntime slower.
        batch: b, the number of pictures in a call; None leaves it open.
        trainable: export the network unfolded, with batch norms and PReLU as nodes of
            their own, for frameworks that can train them. Dropout and the eps of norms
            are not in the graph.

    Raises:
        ValueError: `output` is neither, or the network computes something for which
            `RULES` has no rule.
    """
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}.")
    multiple, hw = (hw, _sizes_of(hw)[0]) if isinstance(hw, int) else (None, hw)
    with lowering(Lowering("textbook", join_pairs=join_pairs)):
        program: tuple[Deployed | nn.Module, Any] = model, variables
        if not trainable:
            program = deploy(model, variables, preprocess, hw)
        closed = jax.make_jaxpr(
            lambda image: segment(*program, preprocess, image, output)
        )(jax.ShapeDtypeStruct((batch or 1, *hw, 3), jnp.uint8))
    graph = Graph(trainable, open_batch=batch is None)
    _fill(graph, closed, output, multiple, hw)
    shape = batch or 1, *hw, 3
    return graph.model(type(model).__name__, shape, output, closed.out_avals[0])


# Tried in this order: the least that a network can take, its stride, and more.
_MULTIPLES = (8, 16, 32, 64)


def open_multiple(model: nn.Module, variables: Any, preprocess: Preprocess) -> int:
    """The number that pictures must be padded to multiples of, for one graph to be
    right for all of them: every map is then a fixed fraction of the picture.

    It is found by trying: the network is traced at two sizes, and the two graphs must
    be equal.

    Raises:
        ValueError: no number that was tried makes them equal.
    """
    for multiple in _MULTIPLES:
        graphs = []
        for hw in _sizes_of(multiple):
            with lowering(Lowering("textbook", join_pairs=False)):
                program = deploy(model, variables, preprocess, hw)
                closed = jax.make_jaxpr(partial(segment, *program, preprocess))(
                    jax.ShapeDtypeStruct((1, *hw, 3), jnp.uint8)
                )
            graph = Graph()
            try:
                _fill(graph, closed, "labels", multiple, hw)
            except ValueError:
                break
            graphs.append(graph)
        if len(graphs) == 2 and graphs[0].computes_as(graphs[1]):
            return multiple
    raise ValueError(
        "height and width cannot be left open: its maps are no fixed fractions of "
        "the picture."
    )


def _sizes_of(multiple: int) -> tuple[Pair, Pair]:
    """Two picture sizes that are multiples of it, and of no higher power of 2."""
    a, b, c, d = (multiple * (64 // multiple + 1 + 2 * i) for i in range(4))
    return (a, b), (c, d)


def _fill(
    graph: Graph, closed: ClosedJaxpr, output: str, multiple: int | None, hw: Pair
) -> None:
    """Adds the nodes from uint8 `image` to `output`.

    Args:
        multiple: what pictures of an open size are padded to multiples of, or None.
        hw: the size that was traced.
    """
    pixels = graph.add("Cast", "image", to=DTYPES[np.dtype(np.float32)])
    pixels = graph.add("Transpose", pixels, perm=(0, 3, 1, 2))
    size = None
    if multiple:
        first, last = np.array([2]), np.array([4])
        size = graph.add("Slice", graph.add("Shape", pixels), first, last)
        step = np.array([multiple])
        up = graph.add("Div", graph.add("Add", size, step - 1), step)
        graph.opened(hw, graph.add("Mul", up, step))
        more = graph.add("Sub", graph.size, size)
        pads = graph.add("Concat", np.zeros(6, np.int64), more, axis=0)
        pixels = graph.add("Pad", pixels, pads, mode="edge")
    (result,) = _translate(graph, closed.jaxpr, closed.consts, [pixels])
    if size:
        axes = np.array([1, 2] if output == "labels" else [2, 3])
        result = graph.add("Slice", result, np.array([0, 0]), size, axes)
    if output == "logits":
        result = graph.add("Transpose", result, perm=(0, 2, 3, 1))
    graph.add("Identity", result, outputs=[output])
    graph.merge()


# The primitives that call a jaxpr of their own.
_CALLS = ("jit", "pjit", "custom_jvp_call", "custom_vjp_call")


def _translate(
    graph: Graph, jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Value]
) -> list[Value]:
    """Adds to `graph` what computes `jaxpr`, and returns its results."""
    values: dict[Var, Value] = dict(zip(jaxpr.constvars, map(np.asarray, constants)))
    values.update(zip(jaxpr.invars, inputs))

    def read(v: Any) -> Value:
        return values[v] if isinstance(v, Var) else np.asarray(v.val, v.aval.dtype)

    for eqn in jaxpr.eqns:
        graph.scope = str(eqn.source_info.name_stack) or graph.scope
        arguments = [read(v) for v in eqn.invars]
        name, inner = eqn.primitive.name, None
        results: Any
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
