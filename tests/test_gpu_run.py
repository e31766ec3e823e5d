"""The calls on a GPU as far as they go without one: limits, packing, collecting."""

import json
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from conftest import ROOT, write_camvid

from jaxseg.data.sources import CamVid
from tools.gpu import pack
from tools.gpu.collect import collect
from tools.gpu.training import epochs_in, fastest
from tools.gpu_run import gpus


def call(*arguments):
    """Exit code, standard output and error, and the seconds that it took."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu_run", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begin


@pytest.mark.skipif(gpus() > 0, reason="this machine has a GPU")
def test_without_a_gpu_a_call_says_so_at_once(tmp_path):
    code, _, error, seconds = call("call1", tmp_path / "out")
    assert code == 2 and "there is no GPU here" in error
    assert seconds < 10 and not (tmp_path / "out").exists()


def test_a_second_call_without_the_first_one_s_pictures(tmp_path):
    (tmp_path / "packed" / "camvid-2").mkdir(parents=True)
    folders = "--packed", tmp_path / "packed", "--scratch", tmp_path / "scratch"
    code, _, error, _ = call("call2", tmp_path / "out", "--dry-run", *folders)
    assert code == 2 and "Traceback" not in error
    assert "camvid-1 of CamVid's pictures did not come" in error


def test_a_budget_of_20_s_is_kept(tmp_path):
    folders = "--packed", tmp_path, "--scratch", tmp_path / "scratch"
    more = "--budget", 20, "--networks", "fpenet", "--dry-run"
    code, out, error, seconds = call("call1", tmp_path / "out", *more, *folders)
    assert seconds < 20 and code == 1, error
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [part["name"] for part in summary] == [
        "correct",
        "latency",
        "lowerings",
        "sizes",
    ]
    assert {part["state"] for part in summary} <= {"cut off", "failed", "not begun"}
    assert len(out.splitlines()) == 4


def test_an_unknown_network_and_help_start_nothing(tmp_path):
    code, _, error, _ = call("call1", tmp_path / "out", "--networks", "unet")
    assert code == 2 and "no network is called unet" in error
    code, out, _, _ = call("--help")
    assert code == 0 and "call2" in out and not (tmp_path / "out").exists()


def test_the_packed_halves_hold_the_same_pixels(tmp_path, monkeypatch):
    source = write_camvid(tmp_path / "camvid", {"train": 3, "val": 2})
    pack._pictures(source, tmp_path / "packed")
    assert pack.unpack(tmp_path / "packed", tmp_path / "there") == []
    ours, theirs = CamVid(source), CamVid(tmp_path / "there")
    for split in ("train", "val", "trainval"):
        assert ours.ids(split) == theirs.ids(split)
        for name in ours.ids(split):
            pairs = zip(ours.read(split, name), theirs.read(split, name))
            for a, b in pairs:
                np.testing.assert_array_equal(a, b)
    kinds = {path.suffix for path in (tmp_path / "there" / "train").iterdir()}
    assert kinds == {".webp"}


def test_one_half_alone_is_not_all(tmp_path):
    (tmp_path / "packed" / "camvid-1").mkdir(parents=True)
    assert pack.unpack(tmp_path / "packed", tmp_path / "there") == ["camvid-2"]


def test_the_fastest_candidate_and_the_epochs_that_fit():
    rates = {
        "slow": {"images_per_s": [10.0, 11.0, 500.0]},
        "fast": {"images_per_s": [20.0, 21.0, 5.0]},
        "broken": {"images_per_s": [99.0], "error": "the loss is not finite"},
        "torch": {"images_per_s": [99.0]},
    }
    assert fastest(rates) == ("fast", 20.0)
    assert fastest({"broken": rates["broken"]}) is None
    # 0.9 of the 88 s after the start, at 500 images/s: 39600 images.
    assert epochs_in(100.0, 500.0, 450) == 88
    assert epochs_in(5.0, 500.0, 450) == 1


def a_row(runtime, ms, **more):
    times = dict(p50_ms=ms, p90_ms=ms, p99_ms=ms, min_ms=ms, frames_per_s=1e3 / ms)
    row = dict(model="dabnet", size="512x1024", batch=1, dtype="bfloat16", variant="")
    measured = dict(end_to_end=times, network=times, contended=False, compile_s=1.0)
    facts = dict(parameters=756_643, gmac=10.2, peak_memory_mb=None, agreement=0.999)
    return {**row, **measured, **facts, "runtime": runtime, "settings": "", **more}


def test_what_came_back_becomes_tables_and_a_run(tmp_path):
    head = {"date": "2026-01-01", "platform": "gpu", "device": "a GPU"}
    head |= {"versions": {"jax": "0.11.2"}, "cpu": "a CPU"}
    report = {"format": 1, "header": head, "ceilings": {}, "state": "cut off"}
    report |= {"why": "its 90 s were over"}
    rows = [a_row("jaxseg", 0.25), a_row("torch", 0.5)]
    variants = [a_row("jaxseg", 0.25, variant="products", kernels=91.0)]
    files = {
        "latency": {**report, "rows": rows},
        "lowerings": {**report, "rows": variants},
        "train-dabnet": {
            "network": "dabnet",
            "candidate": "products",
            "split": "trainval",
            "epochs": 321,
            "seconds": 61.0,
            "state": "done",
            "why": "",
        },
    }
    folder = tmp_path / "out"
    (folder / "dabnet").mkdir(parents=True)
    (folder / "dabnet" / "run.json").write_text("{}")
    for name, found in files.items():
        (folder / f"{name}.json").write_text(json.dumps(found))
    with tarfile.open(folder / "run-dabnet.tar", "w") as archive:
        archive.add(folder / "dabnet", "dabnet")
    collect(folder, tmp_path / "results", tmp_path / "runs")
    results = tmp_path / "results"
    assert "| dabnet | torch | 0.50 |" in (results / "gpu-latency.md").read_text()
    lowerings = (results / "gpu-lowerings.md").read_text()
    assert "| dabnet | products, bfloat16 | 0.250 |" in lowerings
    assert "not whole: cut off, its 90 s were over" in lowerings
    training = (results / "gpu-training.md").read_text()
    assert "| dabnet | products | trainval | 321 | 61 | done" in training
    assert (tmp_path / "runs" / "dabnet" / "run.json").is_file()
