"""The graph of a network: its parts in the order of the data, and what each reads."""

from dataclasses import dataclass, field, fields

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxseg.models.summary import stages
from jaxseg.ops.dispatch import Lowering, lowering

OPENED = 5  # A part that occurs once, of so many others, is drawn as what is in it.
OPERATIONS = {
    "avg_pool3": "average pool 3×3",
    "max_pool2": "max pool 2×2",
    "mean_over_pixels": "mean over the map",
    "reduce_window_max": "max pool",
    "resize_half_pixel": "resize",
    "resize_align_corners": "resize",
}


@dataclass(eq=False)
class Node:
    """A part of a network, or an operation between parts.

    Attributes:
        name: the path of its parameters; an operation has none.
        kind: its class; of an operation what it does.
        within: the class of the part that it is in, if that is not the network.
        shape: height, width and channels of what it returns.
        inputs: the nodes that it reads.
        values: of its class's arguments, one for each of `count` equal nodes in a row.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    inputs: list["Node"] = field(default_factory=list)
    values: dict[str, list] = field(default_factory=dict)
    count: int = 1
    parameters: int = 0
    macs: int = 0
    within: str = ""

    @property
    def is_operation(self) -> bool:
        return not self.name


def graph(model: nn.Module, hw: tuple[int, int]) -> list[Node]:
    """The nodes in the order of the data, equal ones in a row as one."""
    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    modules: dict[tuple[str, ...], nn.Module] = {}

    def record(call, args, kwargs, context):
        modules.setdefault(context.module.path, context.module)
        return call(*args, **kwargs)

    def init(image):
        with nn.intercept_methods(record):
            return model.init(jax.random.key(0), image, train=False)

    variables = jax.eval_shape(init, image)
    part_of = _parts(modules)
    parts = {stage.name: stage for stage in stages(model, hw, part_of)}
    with lowering(Lowering("textbook")):  # an operation is one equation
        apply = jax.make_jaxpr(lambda v, x: model.apply(v, x, train=False))
        jaxpr = apply(variables, image).jaxpr
    first = last = Node("", "image", (*hw, 3))
    made = {jaxpr.invars[-1]: first}
    for equation in jaxpr.eqns:
        given = [v for v in equation.invars if not isinstance(v, Literal)]
        inputs = list(dict.fromkeys(made[v] for v in given if v in made))
        if not inputs:
            continue  # of parameters alone
        # Methods of a module have a dot, "FPENet._join".
        scope = str(equation.source_info.name_stack).split("/")[1:]
        path = tuple(name for name in scope if "." not in name)
        if part := part_of(path):
            if part != last.name:
                last = _part(parts[part], modules[tuple(part.split("/"))])
            path = tuple(part.split("/"))[:-1]
            last.inputs += [n for n in inputs if n not in (last, *last.inputs)]
        else:
            last = _operation(equation, inputs)
        last.within = type(modules[path]).__name__ if path else ""
        made.update((out, last) for out in equation.outvars)
    return _folded(_ordered(made[jaxpr.outvars[0]]))


def _parts(modules: dict[tuple[str, ...], nn.Module]):
    """The function from the path of anything in a network to the part that it is in."""
    kinds = [type(module) for module in modules.values()]
    opened = {()}
    for path, module in sorted(modules.items(), key=lambda item: len(item[0])):
        within = sum(p[:-1] == path for p in modules if p)
        once = kinds.count(type(module)) == 1
        if path and path[:-1] in opened and once and within >= OPENED:
            opened.add(path)

    def part_of(path: tuple[str, ...]) -> str | None:
        ends = (end for end in range(1, len(path) + 1) if path[:end] not in opened)
        end = next(ends, None)
        return "/".join(path[:end]) if end else None

    return part_of


def _part(stage, module: nn.Module) -> Node:
    node = Node(stage.name, type(module).__name__, stage.output)
    node.parameters, node.macs = stage.parameters, stage.macs
    for f in fields(module):
        value = getattr(module, f.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(type(number) is not int for number in numbers):
            continue
        plain = set(numbers) == {1} and (f.default == value or f.name == "stride")
        if not plain and value != stage.output[-1]:
            node.values[f.name] = [value]
    return node


def _operation(equation, inputs: list[Node]) -> Node:
    """A node of its own, or what it reads if it only changes values or their layout."""
    kind, shape = equation.primitive.name, equation.outvars[0].aval.shape[1:]
    kind = equation.params["name"] if kind == "jit" else kind
    if len(inputs) == 1 and (shape == inputs[0].shape or kind not in OPERATIONS):
        return inputs[0]
    kind = OPERATIONS.get(kind, kind)
    return Node("", kind, shape, inputs)


def _ordered(output: Node) -> list[Node]:
    """What `output` depends on, and itself, each as late as it can be."""
    order: dict[Node, None] = {}

    def visit(node):
        for before in node.inputs:
            if before not in order:
                visit(before)
        order[node] = None

    visit(output)
    return list(order)


def _folded(nodes: list[Node]) -> list[Node]:
    into: dict[Node, Node] = {}
    for node in nodes:
        node.inputs = [into.get(n, n) for n in node.inputs]
        before = node.inputs[0] if node.inputs else node
        left = [m for m in nodes if m not in into]
        readers = sum(before in (into.get(n, n) for n in m.inputs) for m in left)
        if readers == len(node.inputs) == 1 and _equal(before, node):
            before.count += 1
            before.parameters += node.parameters
            before.macs += node.macs
            for name, values in node.values.items():
                before.values.setdefault(name, []).extend(values)
            into[node] = before
    return [node for node in nodes if node not in into]


def _equal(before: Node, node: Node) -> bool:
    """True if both are of a kind that leaves a map's shape as it is."""
    shapes = {before.shape, node.shape, *(n.shape for n in before.inputs)}
    same = node.kind == before.kind
    same = same and node.parameters * before.count == before.parameters
    return same and not node.is_operation and len(shapes) == len(before.inputs) == 1
