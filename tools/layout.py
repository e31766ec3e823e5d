"""Where the nodes of a graph lie in its picture, and how they are connected."""

from dataclasses import dataclass, field

from tools.graph import Node

# In units of the picture, which are pixels at its own size.
MAP_WIDTH, MAP_PIXELS = 160, 1024
BOX_HEIGHT, SHIFT = 26, 4  # of the most channels; from box to box of a stack
LINE, BETWEEN_ROWS, BETWEEN_LANES, TOP = 16, 12, 16, 64
LETTERS = 36  # of a part's name and arguments that fit a line
SYMBOLS = {"add": "+", "concatenate": "C", "mul": "×"}  # in a circle
RADIUS = 8


@dataclass(eq=False)
class Lane:
    """A vertical line: the trunk, a branch, or one that only leads past other nodes."""

    nodes: list[Node] = field(default_factory=list)
    first: int = 10**6  # row
    last: int = 0
    x: float = 0.0


class Layout:
    """A network's nodes, a row each.

    Attributes:
        top: of the rows, and the bottom of the last one.
        lane_of: the lane that a node lies on.
        edges: a node, what reads it, and the lane on which the line between them runs.
        left: of everything; the trunk's middle is 0.
    """

    def __init__(self, nodes: list[Node]):
        self.nodes, self.row = nodes, {node: i for i, node in enumerate(nodes)}
        self.most = max(node.shape[-1] for node in nodes)
        self.top = [TOP]
        for node in nodes:
            height = max(self.height(node), LINE * len(said(node)))
            self.top.append(self.top[-1] + height + BETWEEN_ROWS)
        self.trunk = Lane(_longest(nodes))
        branches: list[Lane] = []
        for node in (node for node in nodes if node not in self.trunk.nodes):
            found = [lane for lane in branches if lane.nodes[-1] in node.inputs]
            if not found:
                branches += (found := [Lane()])
            found[0].nodes.append(node)
        lanes = [self.trunk, *branches]
        self.lane_of = {node: lane for lane in lanes for node in lane.nodes}
        self.edges = [(n, m, self._between(n, m)) for m in nodes for n in m.inputs]
        self._place()

    def _between(self, node: Node, reader: Node) -> Lane:
        """The lane of the line between them, which then reaches over its rows."""
        lane, into = self.lane_of[node], self.lane_of[reader]
        after = dict(zip(lane.nodes, lane.nodes[1:])).get(node)
        last = after is None or self.row[reader] < self.row[after]
        if lane is not into and into.nodes[0] is reader:
            found = into
        elif after is reader or (last and lane is not self.trunk):
            found = lane
        else:
            found = Lane()
        found.first = min(found.first, self.row[node])
        found.last = max(found.last, self.row[reader])
        return found

    def _place(self) -> None:
        """Puts lanes left of the trunk, the shortest first and nearest to it."""
        on_trunk = (node in self.trunk.nodes for node in self.nodes)
        free = [-self.width(node) / 2 * on for node, on in zip(self.nodes, on_trunk)]
        lanes = dict.fromkeys(lane for *_, lane in self.edges if lane != self.trunk)
        for lane in sorted(lanes, key=lambda lane: lane.last - lane.first):
            rows = slice(lane.first, lane.last + 1)
            half = max((self.width(node) / 2 for node in lane.nodes), default=0)
            lane.x = min(free[rows]) - BETWEEN_LANES - half
            free[rows] = [lane.x - half] * (lane.last + 1 - lane.first)
        self.left = min(free)

    def box(self, node: Node) -> tuple[float, float]:
        """Width and height of one of its boxes."""
        width = max(6, MAP_WIDTH * node.shape[1] / MAP_PIXELS)
        return width, max(3, BOX_HEIGHT * (node.shape[2] / self.most) ** 0.5)

    def height(self, node: Node) -> float:
        around = 2 * RADIUS * (node.kind in SYMBOLS)
        return max(around, self.box(node)[1] + SHIFT * (node.count - 1))

    def width(self, node: Node) -> float:
        return max(2 * RADIUS * (node.kind in SYMBOLS), self.box(node)[0])

    def y(self, node: Node) -> float:
        """The middle of its row."""
        return sum(self.top[self.row[node] :][:2]) / 2


def said(node: Node) -> list[tuple[str, str]]:
    """Name and arguments, on a line or on two."""
    name = f"{node.kind} ×{node.count}" if node.count > 1 else node.kind
    arguments = ", ".join(_argument(*item) for item in node.values.items())
    if len(name + arguments) <= LETTERS:
        return [(name, arguments)]
    return [(name, ""), ("", arguments)]


def _argument(key: str, values: list) -> str:
    """`dilation 4 4 8 8` of four nodes; once where all have the same."""
    joint = "×" if key.startswith("kernel") else " "
    written = [_number(value, joint) for value in values]
    if len(set(written)) == 1:
        written = written[:1]
    return f"{key.removesuffix('_size').replace('_', ' ')} {' '.join(written)}"


def _number(value: int | tuple[int, ...], joint: str) -> str:
    if isinstance(value, int):
        return str(value)
    if joint == " " and len(set(value)) == 1:
        return str(value[0])  # the same for rows and columns
    return joint.join(map(str, value))


def _longest(nodes: list[Node]) -> list[Node]:
    """The longest way from the image to the output."""
    ways: dict[Node, list[Node]] = {}
    for node in nodes:
        before = max((ways[n] for n in node.inputs), key=len, default=[])
        ways[node] = [*before, node]
    return ways[nodes[-1]]
