"""The networks' pages: pictures, counts and figures are true."""

import importlib
import re
import xml.etree.ElementTree as ElementTree
from functools import cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT

from jaxseg import models, papers
from jaxseg.models.registry import NETWORKS
from jaxseg.models.summary import stages
from jaxseg.training import forecast
from tools import draw
from tools.graph import graph

FOLDER = ROOT / "docs" / "networks"
PAGES = [FOLDER.with_suffix(".md"), FOLDER.parent / "reproducing.md"]
PAGES += sorted(FOLDER.glob("*.md"))


def rows(pages=PAGES):
    """The cells of all rows of tables that begin with code, and that code."""
    for page in pages:
        for line in page.read_text().splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| `") and cells[0].count("`") == 2:
                yield cells[0].strip("`"), cells


@pytest.mark.parametrize("name", models.names())
def test_pictures_are_what_is_drawn_now(name):
    text = draw.svg(name)
    ElementTree.fromstring(text)
    made = f"make it anew: python -m tools.draw {name}"
    assert (FOLDER / f"{name}.svg").read_text() == text, made
    assert any(f"({name}.svg)" in page.read_text() for page in FOLDER.glob("*.md"))


@cache
def counts(code):
    model = models.create(code) if code in NETWORKS else eval(code, {"m": models})
    parts = stages(model, (512, 1024))
    return sum(part.parameters for part in parts), sum(part.macs for part in parts)


def test_counts_on_the_pages_are_the_networks():
    checked = set()
    for code, cells in rows():
        if code not in NETWORKS and not code.startswith("m."):
            continue
        parameters, macs = counts(code)
        work = next(cell for cell in cells if re.fullmatch(r"[\d.]+ G", cell))
        digits = len(work.removesuffix(" G").partition(".")[2])
        assert f"{parameters:,}" in cells, cells
        assert work == f"{macs / 1e9:.{digits}f} G", cells
        checked.add(code)
    assert checked > set(NETWORKS) and len(checked) > 30


def takes(name, size):
    image = jax.ShapeDtypeStruct((1, size, 32, 3), jnp.float32)
    model = models.create(name)
    try:
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", models.names())
def test_sizes_on_the_pages_are_those_that_are_taken(name):
    said = {c[-1] if len(c) == 4 else c[4] for code, c in rows() if code == name}
    assert len(said) == 1, said
    words = said.pop()
    multiple = int((re.findall(r"multiples of (\d+)", words) or [1])[0])
    least = int((re.findall(r"(\d+) at least", words) or [1])[0])
    short = {0, 1} if "or one less" in words else {0}
    for size in (12, 19, 20, 24):
        expected = -size % multiple in short and size >= least
        assert takes(name, size) == expected, (size, words)


def test_the_papers_figures_are_the_papers():
    every = {row.name: row for row in papers.rows()}
    checked = 0
    for _, cells in rows():
        for name in (cell.strip("`") for cell in cells if cell.strip("`") in every):
            # Those after the row's name; the next is ours.
            figures = cells[cells.index(f"`{name}`") + 1 :][:2]
            for number in re.findall(
                r"(?<![\dx.])(\d+(?:\.\d+)?) %", " ".join(figures)
            ):
                assert float(number) == every[name].figures["miou"], cells
                checked += 1
    assert checked > 40


def test_variants_are_those_of_the_papers_rows():
    every = {row.name: row for row in papers.rows()}
    checked = 0
    for code, cells in rows():
        name = cells[3].strip("`") if len(cells) > 3 else ""
        if code.startswith("m.") and name in every:
            row = every[name]
            given = {
                k: tuple(v) if isinstance(v, list) else v
                for k, v in row.arguments.items()
            }
            expected = models.create(row.network, **given)
            assert eval(code, {"m": models}) == expected, cells
            checked += 1
    assert checked > 20


def test_what_a_training_takes():
    page = [FOLDER.parent / "reproducing.md"]
    found = [(code, cells) for code, cells in rows(page) if ":" in code]
    assert len(found) == 10
    for code, cells in found:
        name, _, dataset = code.partition(":")
        config = importlib.import_module(f"configs.{name}").get_config(dataset)
        pictures, batch = int(cells[1]), config.train.batch_size
        assert cells[2:4] == [str(config.train.num_epochs), str(batch)], cells
        steps = pictures // batch * config.train.num_epochs
        assert cells[4] == f"{steps:,}", cells
        crops = [config.augment.crop_hw, *config.augment.more_crops_hw]
        pixels = steps * batch * sum(h * w for h, w in crops) / len(crops)
        days = pixels * forecast._US_PER_PIXEL[name] * 1e-6 / 2 / 86400
        assert float(cells[5].split()[0]) == pytest.approx(days, rel=0.05, abs=0.05)
        work = 3 * counts(name)[1] * pixels / (512 * 1024) / 1e15
        assert float(cells[6]) == pytest.approx(work, rel=0.03, abs=0.05), cells


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
