"""The networks' pages: pictures and counts are those of the networks."""

import xml.etree.ElementTree as ElementTree

import flax.linen as nn
import jax.numpy as jnp
import pytest
from conftest import ROOT

from jaxseg import models
from tools import draw
from tools.graph import graph

FOLDER = ROOT / "docs" / "networks"


@pytest.mark.parametrize("name", models.names())
def test_pictures_are_what_is_drawn_now(name):
    text = draw.svg(name)
    ElementTree.fromstring(text)
    made = f"make it anew: python -m tools.draw {name}"
    assert (FOLDER / f"{name}.svg").read_text() == text, made


class Doubled(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return x + nn.Conv(x.shape[-1], (1, 1), name="conv")(x)


class Ladder(nn.Module):
    """Two maps, of which the first is also read by the end."""

    @nn.compact
    def __call__(self, x, *, train):
        x = first = nn.Conv(4, (3, 3), name="first")(x)
        for i in range(3):
            x = Doubled(name=f"doubled{i}")(x, train=train)
        x = jnp.concatenate([nn.relu(x), first.mean((1, 2), keepdims=True) + x], -1)
        return nn.Conv(2, (1, 1), name="last")(x)


def test_a_graph_is_found_in_any_network():
    image, first, doubled, total, both, last = graph(Ladder(), (8, 16))
    assert (image.kind, image.shape, image.inputs) == ("image", (8, 16, 3), [])
    assert (first.kind, first.parameters, first.inputs) == ("Conv", 112, [image])
    assert first.values == {"kernel_size": [(3, 3)]}
    assert (doubled.kind, doubled.count, doubled.inputs) == ("Doubled", 3, [first])
    assert (doubled.parameters, doubled.macs) == (60, 3 * 8 * 16 * 16)
    assert (total.kind, total.inputs) == ("add", [first, doubled])
    assert (both.kind, both.shape) == ("concatenate", (8, 16, 8))
    assert set(both.inputs) == {doubled, total}
    assert (last.kind, last.inputs, last.shape) == ("Conv", [both], (8, 16, 2))
