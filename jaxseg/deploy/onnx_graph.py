"""An ONNX graph under construction: its nodes and constants, and merging of nodes."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

# The newest whose every operator, as it is used here, onnx2torch 1.5 converts too.
OPSET = 17
IR_VERSION = 8  # OPSET's own, so that runtimes of its age read the file
# Of a BatchNormalization that is a gain and a shift, with variance 1: adding it to 1 in
# float32 gives 1. PyTorch 2.11 refuses 0.
NO_EPSILON = 2.0**-40

Shape = tuple[int, ...]
# A constant, or the name of a tensor in the graph.
Value = np.ndarray | str


@dataclass
class Node:
    """An ONNX node: names of tensors in and out."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Graph:
    """An ONNX graph under construction.

    Attributes:
        nodes: each after those that it reads.
        constants: with their axes as ONNX has them, by name.
        scope: the part of the network that comes next, for the names of its nodes.
        trainable: whether the graph is of a network as it is trained.
        open_batch: whether the first axis, 1 in the trace, may be any number.
        hw, size: where height and width may be any, those of the trace, and the tensor
            that holds those of a picture.
    """

    def __init__(self, trainable: bool = False, open_batch: bool = False) -> None:
        self.trainable, self.open_batch = trainable, open_batch
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.scope = ""
        self.hw: tuple[int, int] | None = None
        self.size = ""

    def constant(self, array: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = np.asarray(array, order="C")
        return name

    def add(
        self, op: str, *inputs: Value, outputs: list[str] | None = None, **attributes
    ) -> str:
        """Adds a node, by default with one output; returns the first output."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        outputs = outputs or [f"{self.scope}/{op}_{len(self.nodes)}"]
        self.nodes.append(Node(op, names, outputs, attributes))
        return outputs[0]

    def opened(self, hw: tuple[int, int], size: str) -> None:
        """Height and width, `hw` in the trace, become what the tensor `size` holds."""
        self.hw, self.size = hw, size

    def fraction(self, hw: np.ndarray) -> str:
        """The tensor, int64 `(2,)`, that is `hw` for a picture of the trace's size.

        Raises:
            ValueError: the two are not the same fraction of the picture's.
        """
        of_h, of_w = (Fraction(int(n), whole) for n, whole in zip(hw, self.hw or ()))
        if of_h != of_w:
            raise ValueError(f"{tuple(hw)} is no fraction of pictures of {self.hw}.")
        given = np.array([of_h.numerator]), np.array([of_h.denominator])
        return self.add("Div", self.add("Mul", self.size, given[0]), given[1])

    def computes_as(self, other: "Graph") -> bool:
        """True of the same operations with the same constants."""
        return len(self.nodes) == len(other.nodes) and all(
            (a.op, repr(a.attributes), a.outputs)
            == (b.op, repr(b.attributes), b.outputs)
            and len(a.inputs) == len(b.inputs)
            and all(
                np.array_equal(self._read(x), other._read(y))
                for x, y in zip(a.inputs, b.inputs)
            )
            for a, b in zip(self.nodes, other.nodes)
        )

    def _read(self, name: str) -> Value:
        return self.constants.get(name, name)

    def merge(self) -> None:
        """Makes one node of two where one can do what both do."""
        uses = Counter(name for node in self.nodes for name in node.inputs)
        kept: dict[str, Node] = {}  # by their first outputs
        for node in self.nodes:
            before = kept.get(node.inputs[0])
            if (
                before
                and uses[node.inputs[0]] == len(before.outputs) == 1
                and self._absorbs(before, node)
            ):
                del kept[node.inputs[0]]
                before.outputs, node = node.outputs, before
            kept[node.outputs[0]] = node
        self.nodes = list(kept.values())

    def _absorbs(self, before: Node, node: Node) -> bool:
        """True if `before` could be changed to do what `node` does, too."""
        first, second = self._affine(before), self._affine(node)
        convolution = before.op in ("Conv", "ConvTranspose") and len(before.inputs) == 2
        if node.op == "Identity":
            return True
        if convolution and node.op == "Add" and second:
            before.inputs.append(self.constant(second[1]))
            return True
        if not (first and second):
            return False
        gain, shift = first[0] * second[0], first[1] * second[0] + second[1]
        norm = gain, shift, np.zeros_like(gain), np.ones_like(gain)
        before.op, before.attributes = "BatchNormalization", {"epsilon": NO_EPSILON}
        before.inputs = [before.inputs[0], *map(self.constant, norm)]
        return True

    def _affine(self, node: Node) -> tuple[np.ndarray, np.ndarray] | None:
        """Gain and shift, `(c,)` each, if a node is nothing but them."""
        if node.op == "BatchNormalization":
            gain, shift = (self.constants[name] for name in node.inputs[1:3])
            return gain, shift
        known = self.constants.get(node.inputs[-1])
        if node.op not in ("Mul", "Add") or known is None:
            return None
        if known.shape != (1, known.size, 1, 1):
            return None
        k = known.ravel()
        return (k, np.zeros_like(k)) if node.op == "Mul" else (np.ones_like(k), k)

    def model(self, name: str, image: Shape, output: str, aval: Any) -> "ModelProto":
        """The checked model, from uint8 `image` to `output`, which is as `aval`."""
        import onnx
        from onnx import helper, numpy_helper

        kind = helper.np_dtype_to_tensor_dtype(aval.dtype)
        shapes = [
            (
                "b" if self.open_batch else shape[0],
                *(("h", "w") if self.hw else shape[1:3]),
                *shape[3:],
            )
            for shape in (image, aval.shape)
        ]
        uint8 = onnx.TensorProto.UINT8
        inputs = helper.make_tensor_value_info("image", uint8, shapes[0])
        outputs = helper.make_tensor_value_info(output, kind, shapes[1])
        read = {name for node in self.nodes for name in node.inputs}
        nodes = [
            helper.make_node(n.op, n.inputs, n.outputs, n.outputs[0], **n.attributes)
            for n in self.nodes
        ]
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in self.constants.items()
            if name in read
        ]
        model = helper.make_model(
            helper.make_graph(nodes, name, [inputs], [outputs], constants),
            producer_name="jaxseg",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        # Converters ask for the shapes of tensors inside.
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(model)
        return model
