"""Rules for every file: its floor, its length, and the words in it."""

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

# From the ground up. A module imports only from its own line and from those below.
FLOORS = (
    ("streets", "jaxseg.card", "jaxseg.errors", "jaxseg.files", "jaxseg.lock"),
    ("jaxseg.runtime", "jaxseg.devices", "jaxseg.ops"),
    ("jaxseg.models",),
    ("jaxseg.deploy", "jaxseg.convert", "jaxseg.data", "jaxseg.weights"),
    ("jaxseg.checkpoints", "jaxseg.runs", "jaxseg.convert.exchange"),
    ("jaxseg.inference", "jaxseg.recipes", "jaxseg.papers"),
    ("jaxseg.evaluation",),
    ("jaxseg.training", "jaxseg.benchmark", "jaxseg.doctor", "jaxseg.cli"),
    ("jaxseg.commands", "jaxseg.__main__", "jaxseg.convert.__main__"),
)
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 350, 60
# Longer ones that are left: each has a task of its own.
LONG = {"jaxseg/training/recipe.py:build", "jaxseg/training/step.py:make_train_step"}
# Words of deployment and of machines, which a paper does not have.
DEPLOYMENT = re.compile(
    r"\b(fold|folded|carry|carried|core|store|as_array|labels|lowering|platform|margin|cpu)\b",
    re.IGNORECASE,
)
NETWORKS = ("backbones", "dabnet", "esnet", "fddwnet", "fpenet", "liteseg")
NETWORKS += ("layers", "units")

FILES = sorted(
    path.relative_to(ROOT)
    for package in ("jaxseg", "streets")
    for path in (ROOT / package).rglob("*.py")
)
TREES = {path: ast.parse((ROOT / path).read_text()) for path in FILES}


def floor(module: str) -> int | None:
    if module in ("jaxseg", "jaxseg.__version__"):
        return 0
    found = {
        name: number
        for number, names in enumerate(FLOORS)
        for name in names
        if module == name or module.startswith(f"{name}.")
    }
    # A part of a package may stand higher than the package does.
    return found[max(found, key=len)] if found else None


def imports(path: Path):
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "jaxseg":
            yield from (f"jaxseg.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_point_down():
    for path in FILES:
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        # The door: `jaxseg.load` imports what it needs when it is called.
        own = len(FLOORS) if module == "jaxseg" else floor(module)
        assert own is not None, f"{module} is on no floor"
        for name in imports(path):
            if name.split(".")[0] in ("jaxseg", "streets"):
                assert floor(name) <= own, f"{module} imports {name}"


def test_scenes_know_nothing_of_jaxseg():
    scenes = [path for path in FILES if path.parts[0] == "streets"]
    assert not any(n.startswith("jaxseg") for path in scenes for n in imports(path))


def test_files_and_functions_are_short():
    for path, tree in TREES.items():
        assert len((ROOT / path).read_text().splitlines()) <= LINES_OF_A_FILE, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and f"{path}:{node.name}" not in LONG:
                lines = node.end_lineno - node.lineno + 1
                assert lines <= LINES_OF_A_FUNCTION, f"{path}: {node.name}"


@pytest.mark.parametrize("name", NETWORKS)
def test_network_files_say_what_the_paper_says(name):
    text = (ROOT / "jaxseg" / "models" / f"{name}.py").read_text()
    assert not DEPLOYMENT.findall(text)


def test_the_lowering_is_asked_in_the_table_alone():
    allowed = {"dispatch.py", "table.py"}
    asking = re.compile(r"current_lowering\(|\.platform\b")
    for path in FILES:
        if path.parent == Path("jaxseg/ops") and path.name not in allowed:
            assert not asking.search((ROOT / path).read_text()), path
        if path.parts[:2] in (("jaxseg", "models"), ("jaxseg", "deploy")):
            assert not asking.search((ROOT / path).read_text()), path


def test_processors_are_named_in_one_file():
    maker = re.compile(r"AuthenticAMD|GenuineIntel|avx|amx_", re.IGNORECASE)
    naming = [path for path in FILES if maker.search((ROOT / path).read_text())]
    assert naming == [Path("jaxseg/ops/machine.py")]


def test_docstrings_open_with_the_thing_itself():
    vague = re.compile(r"(What|Whether|Where|How|Which)\b")
    for path, tree in TREES.items():
        if path.parts[:2] in (("jaxseg", n) for n in ("ops", "models", "deploy")):
            for node in ast.walk(tree):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    text = ast.get_docstring(node) or ""
                    assert not vague.match(text), f"{path}: {text}"
