"""benchmark.py as a user meets it."""

import importlib.util
import json

import pytest
from conftest import run

from jaxseg.runs import Run

INSTALLED = all(map(importlib.util.find_spec, ("onnx", "onnxruntime")))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A tiny run, its standard output and what it wrote as JSON."""
    output = tmp_path_factory.mktemp("benchmark") / "tiny"
    code, out, err = run(
        "benchmark.py",
        "--models=esnet",
        "--sizes=32x64",
        "--dtypes=float32",
        "--peers=onnxruntime",
        "--rounds=1",
        "--calls=3",
        "--patience=0",
        "--check",
        f"--output={output}",
    )
    assert code == 0, err + out
    assert f"{output}.md" in out and "esnet" in output.with_suffix(".md").read_text()
    return json.loads(output.with_suffix(".json").read_text())


def test_header_says_where_and_how(report):
    header = report["header"]
    assert header["command"].startswith("benchmark.py --models=esnet")
    assert header["versions"]["jax"] and header["cores"] >= 1
    assert {"cpu", "device", "xla_flags", "allocator_tuned", "date"} <= header.keys()
    assert all(value > 0 for value in report["ceilings"].values())


def test_row_of_ours(report):
    row = report["rows"][0]
    assert (row["runtime"], row["size"], row["batch"]) == ("jaxseg", "32x64", 1)
    assert row["parameters"] == 1_659_071
    assert row["agreement"] > 0.999 and row["arithmetic_share"] > 0
    for what in ("end_to_end", "network"):
        found = row[what]
        assert 0 < found["min_ms"] <= found["p50_ms"] <= found["p99_ms"]
        assert row["processes"][0][what]["calls"] == 3
    assert row["compile_s"] > 0 and row["peak_memory_mb"] > 50


@pytest.mark.skipif(not INSTALLED, reason="needs onnx and onnxruntime")
def test_row_of_a_peer(report):
    row = report["rows"][1]
    assert row["runtime"] == "onnxruntime" and row["end_to_end"]["p50_ms"] > 0
    assert row["agreement"] > 0.999


@pytest.mark.skipif(INSTALLED, reason="onnxruntime is installed")
def test_row_of_a_peer_that_is_absent(report):
    assert "not installed; pip install" in report["rows"][1]["absent"]


def test_a_run_brings_its_weights_and_its_score(tmp_path):
    given = ["--ckpt=liteseg_mobilenet-camvid", f"--output={tmp_path / 'a'}"]
    small = ["--sizes=32x64", "--dtypes=float32", "--peers=none", "--patience=0"]
    code, out, err = run("benchmark.py", *given, *small, "--rounds=1", "--calls=1")
    assert code == 0, err + out
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    best = Run("liteseg_mobilenet-camvid").record["scores"]["best"]
    assert row["model"] == "liteseg_mobilenet"
    assert row["scored_miou"] == pytest.approx(100 * best["miou"])
    assert row["scored_by"].startswith("camvid val, 480x360")


@pytest.mark.parametrize(
    "flag, sentence",
    [
        ("--ckpt=runs/none", "runs/none"),
        ("--models=unet", "--models has 'unet'; there are: dabnet, "),
        ("--sizes=512", "--sizes has '512'; give height x width"),
        ("--fail-above=much", "--fail-above is 'much'; give it as 10%"),
    ],
)
def test_a_mistake_is_one_sentence(flag, sentence):
    code, out, err = run("benchmark.py", flag)
    assert code == 2 and sentence in err
    assert len(err.strip().splitlines()) == 1 and not out.strip()
