"""Draws networks: `python -m tools.draw`, or some: `python -m tools.draw dabnet`.

Writes docs/networks/NAME.svg: the parts of the network in the order of the data, from
top to bottom, as wide as their maps are and as high as the square root of their
channels. Everything is found in the network itself (`tools/graph.py`).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from jaxseg import models
from tools.graph import Node, graph
from tools.layout import LINE, MAP_WIDTH, RADIUS, SHIFT, SYMBOLS, Lane, Layout, said

FOLDER = Path(__file__).parents[1] / "docs" / "networks"
HW, CLASSES = (512, 1024), 19
MARGIN = 34  # left of the boxes
OUTPUT, PARAMETERS, WORK = 390, 486, 560  # where columns end, from where text begins
COLOURS = ("#4e79a7", "#e39a3b", "#5d9e57", "#b07aa1", "#c8574d", "#5aa5a0", "#8a6d5a")
NOTE = (
    "Boxes are as wide as the maps, and as high as the square root of their channels; "
    "a stack is so many equal parts in a row."
)
STYLE = """
text { font: 13px 'DejaVu Sans', Verdana, sans-serif; fill: #222 }
.title { font-size: 17px } .bold { font-weight: bold }
.small { font-size: 12px; fill: #555 } .operation { font-style: italic; fill: #555 }
.right { text-anchor: end } .middle { text-anchor: middle }
.edge { fill: none; stroke: #555; stroke-width: 1.3; marker-end: url(#arrow) }
.bracket { fill: none; stroke: #999 } .box { stroke: #fff; stroke-width: 0.6 }
.symbol { fill: #fff; stroke: #555 } .stripe { fill: #f4f4f4 }
"""
ARROW = (
    '<marker id="arrow" orient="auto" markerWidth="6" markerHeight="6" refX="3" '
    'refY="3"><path d="M0 0L6 3L0 6z" fill="#555"/></marker>'
)


class Picture(Layout):
    """The layout, as elements of SVG."""

    def __init__(self, nodes: list[Node]):
        super().__init__(nodes)
        kinds = dict.fromkeys(n.kind for n in nodes if not n.is_operation)
        self.colours = dict(zip(kinds, COLOURS * len(kinds)))
        self.text_left = MAP_WIDTH / 2 + 16

    def edge(self, node: Node, reader: Node, lane: Lane) -> str:
        """From under a node or its left side, along the lane, to the reader.

        Beside a node, what leaves it is below what reaches it.
        """
        x, y = self.lane_of[node].x, self.y(node)
        if x == lane.x:
            path = f"M{x:.1f} {y + self.height(node) / 2:.1f}"
        else:
            y += self.height(node) / 4
            path = f"M{x - self.width(node) / 2:.1f} {y:.1f}H{lane.x:.1f}"
        x, y = self.lane_of[reader].x, self.y(reader)
        if x == lane.x:
            path += f"V{y - self.height(reader) / 2 - 3:.1f}"
        else:
            y -= self.height(reader) / 4
            path += f"V{y:.1f}H{x - self.width(reader) / 2 - 3:.1f}"
        return f'<path class="edge" d="{path}"/>'

    def boxes(self, node: Node) -> str:
        x, y, (w, h) = self.lane_of[node].x, self.y(node), self.box(node)
        top = y - (h + SHIFT * (node.count - 1)) / 2
        colour = self.colours.get(node.kind, "#999")
        drawn = "".join(
            f'<rect class="box" x="{x - w / 2:.1f}" y="{top + SHIFT * i:.1f}" '
            f'width="{w:.1f}" height="{h:.1f}" fill="{colour}"/>'
            for i in range(node.count)
        )
        if symbol := SYMBOLS.get(node.kind):
            drawn += f'<circle class="symbol" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'
            drawn += _text(x, y + 4.5, symbol, "middle")
        return drawn

    def words(self, node: Node) -> str:
        """The row's text."""
        x, y, lines = self.text_left, self.y(node) + 4.5, said(node)
        drawn = ""
        for i, (name, rest) in enumerate(lines):
            line = y + (i - (len(lines) - 1) / 2) * LINE
            drawn += f'<text x="{x:.1f}" y="{line:.1f}">'
            if name:
                style = "operation" if node.is_operation else "bold"
                drawn += f'<tspan class="{style}">{escape(name)}</tspan>'
            if rest:
                apart = ' dx="7"' if name else ""
                drawn += f'<tspan class="small"{apart}>{escape(rest)}</tspan>'
            drawn += "</text>"
        drawn += _text(x + OUTPUT, y, " × ".join(map(str, node.shape)), "right")
        if node.parameters:
            drawn += _text(x + PARAMETERS, y, f"{node.parameters:,}", "right")
            drawn += _text(x + WORK, y, f"{node.macs / 1e6:,.1f}", "right")
        return drawn

    def brackets(self, x: float) -> Iterator[str]:
        """Beside the rows of a part that is drawn as what is in it."""
        for name in dict.fromkeys(node.within for node in self.nodes if node.within):
            rows = [self.row[n] for n in self.nodes if n.within == name]
            top, bottom = self.top[min(rows)] + 3, self.top[max(rows) + 1] - 3
            line = f"M{x + 6:.1f} {top:.1f}h-6V{bottom:.1f}h6"
            yield f'<path class="bracket" d="{line}"/>'
            at = f"translate({x - 5:.1f} {(top + bottom) / 2:.1f})rotate(-90)"
            yield f'<text class="small middle" transform="{at}">{escape(name)}</text>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def svg(name: str) -> str:
    """The picture of the network called `name`."""
    picture = Picture(graph(models.create(name, num_classes=CLASSES), HW))
    nodes, left, rows = picture.nodes, picture.text_left, picture.top
    start, bottom = picture.left - MARGIN, rows[-1]
    width, height = left + WORK + 14 - start, bottom + 62
    size = " × ".join(map(str, HW))
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{start:.0f} 0 {width:.0f} '
        f'{height:.0f}" width="{width:.0f}" height="{height:.0f}">',
        f"<title>{name} at {size}, {CLASSES} classes</title>",
        f"<style>{STYLE}</style>",
        ARROW,
        f'<rect x="{start:.0f}" width="100%" height="100%" fill="#fff"/>',
        _text(start + 14, 30, name, "bold title"),
        _text(left, 50, "part", "small"),
        _text(left + OUTPUT, 50, "height × width × channels", "small right"),
        _text(left + PARAMETERS, 50, "parameters", "small right"),
        _text(left + WORK, 50, "10⁶ MAC", "small right"),
    ]
    for top, end in list(zip(rows, rows[1:]))[::2]:
        drawn.append(
            f'<rect class="stripe" x="{start:.0f}" y="{top:.1f}" width="{width:.0f}" '
            f'height="{end - top:.1f}"/>'
        )
    drawn += picture.brackets(start + 22)
    drawn += [picture.edge(*edge) for edge in picture.edges]
    drawn += [picture.boxes(node) + picture.words(node) for node in nodes]
    parameters, macs = sum(n.parameters for n in nodes), sum(n.macs for n in nodes)
    drawn += [
        _text(left, bottom + 20, "in all", "bold"),
        _text(left + PARAMETERS, bottom + 20, f"{parameters:,}", "bold right"),
        _text(left + WORK, bottom + 20, f"{macs / 1e6:,.1f}", "bold right"),
        _text(start + 14, bottom + 48, NOTE, "small"),
        "</svg>",
    ]
    return "\n".join(drawn) + "\n"


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or models.names():
        (FOLDER / f"{name}.svg").write_text(svg(name))


if __name__ == "__main__":
    main(sys.argv[1:])
