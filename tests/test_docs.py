"""README and docs: their Python runs as written, their commands have those flags."""

import importlib.util
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from jaxseg import cli

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]

WHOLE = [ROOT / "README.md", ROOT / "docs" / "python.md"]  # the others show pieces


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands(page):
    """Lines of shell, joined where they go on."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from re.split(r"&& ", line.partition("  #")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_runs_as_written(page, tmp_path):
    code = "\n".join(blocks(page, "python"))
    compile(code, page.name, "exec")
    if page not in WHOLE:
        return
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@cache
def flags_of(command):
    code = f"import jaxseg.commands.{command}; from absl import flags"
    code += "; print(*flags.FLAGS)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return set(done.stdout.split())


def test_commands_have_the_flags_that_are_written():
    checked = 0
    for line in (line for page in PAGES for line in commands(page)):
        called = re.search(r"(?:python3? (\w+)\.py|\bjaxseg (\w+)) ", line)
        module = re.search(r"python3? -m (jaxseg[\w.]*|tools[\w.]*)", line)
        if called and called[0] != "jaxseg --":
            name = called[1] or called[2]
            assert name in cli.COMMANDS, line
            given = re.findall(r"--(?:no)?([\w-]+)", line[called.end() :])
            assert set(given) <= flags_of(name), line
            checked += 1
        elif module:
            assert importlib.util.find_spec(module[1]), line
    assert checked > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
