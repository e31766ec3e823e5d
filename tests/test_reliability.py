"""A look at each part of tools.reliability; the whole of them takes hours."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from tools.reliability import disk, numbers, sizes, storm, table
from tools.reliability.table import OUTCOMES, Row


def assert_survived(rows, least=1):
    """Nothing crashed or went unnoticed, and enough was tried."""
    assert not [failure for row in rows for failure in row.failures]
    assert all(sum(row.counts.values()) >= least for row in rows)


def of_process(module, *arguments):
    command = [sys.executable, "-m", f"tools.reliability.{module}"]
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_hostile_files(tmp_path):
    rows = [Row(**row) for row in of_process("hostile", tmp_path / "files", 12)]
    assert_survived(rows)
    assert sum(row.counts["detected"] for row in rows) > 100


@pytest.mark.slow
@pytest.mark.parametrize("program", ["eval", "predict", "export", "train"])
def test_damaged_runs(tmp_path, program):
    rows = [Row(**row) for row in of_process("damage", tmp_path, 12, program)]
    assert_survived(rows, least=0)
    assert sum(row.counts["detected"] for row in rows)


@pytest.mark.slow
def test_a_storm_of_kills(tmp_path):
    rows = storm.storm(tmp_path, 10, tuple(storm.VARIANTS), seed=1)
    assert_survived(rows, least=0)  # so few need not come to all variants
    assert sum(sum(row.counts.values()) for row in rows) >= 10


@pytest.mark.slow
def test_disks_that_fill_up(tmp_path):
    try:
        with disk.small_disk(tmp_path / "try", 4):
            pass
    except subprocess.CalledProcessError:
        pytest.skip("needs the right to mount a tmpfs")
    assert_survived(disk.full_disks(tmp_path))


def test_sizes():
    rows = sizes.all_sizes(("dabnet",), step=9)
    assert_survived(rows, least=64)
    assert rows[0].note.startswith("1 program,")
    assert_survived(sizes.exact_sizes(("dabnet",), [(13, 21), (16, 24)]), least=2)


@pytest.mark.slow
def test_changes_show_where_they_are():
    assert_survived(sizes.places(("dabnet", "esnet"), (230, 345), 4), least=4)


@pytest.mark.slow
@pytest.mark.parametrize("part, count", [("calls", 500), ("pictures", 300)])
def test_memory(tmp_path, part, count):
    assert_survived([Row(**of_process("memory", part, tmp_path, count))])


def test_numbers():
    rows = numbers.finite_numbers()
    assert_survived(rows[:-1], least=20)
    assert_survived(rows[-1:])


def test_a_run_that_ends_otherwise_is_unnoticed(tmp_path, monkeypatch):
    """What the storm compares would tell."""
    whole = {
        "last": (4, {"w": np.ones(3)}),
        "best": (2, {"w": np.ones(3)}),
        "lines": [{"kind": "val", "step": 4}],
        "scores": {"best": {"miou": 0.5}},
    }
    others = [
        {**whole, "last": (4, {"w": np.array([1, 1, 1.0000001])})},
        {**whole, "best": (4, {"w": np.ones(3)})},
        {**whole, "lines": whole["lines"] * 2},
        {**whole, "scores": {"best": {"miou": 0.4}}},
    ]
    for found in others:
        monkeypatch.setattr(storm, "ending", lambda workdir, found=found: found)
        assert storm.outcome(0, "Trained.", tmp_path, whole) == "unnoticed"
    monkeypatch.setattr(storm, "ending", lambda workdir: whole)
    assert storm.outcome(0, "Trained.", tmp_path, whole) == "no effect"
    assert storm.outcome(2, "error: no room", tmp_path, whole) == "detected"
    assert storm.outcome(1, "Traceback (most", tmp_path, whole) == "crashed"


def test_the_watch_sees_what_files_should_not_do(tmp_path):
    program = (
        "import os, sys; from pathlib import Path; "
        "from tools.reliability.hostile import Watch; "
        "watch = Watch(Path(sys.argv[1])); Path(sys.argv[1], 'in').write_text('x'); "
        "assert not watch.seen, watch.seen; "
        "Path(sys.argv[2]).write_text('x'); os.system('true'); "
        "print(len(watch.seen))"
    )
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    command = [sys.executable, "-c", program, str(inside), str(outside)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "2", done.stderr


def test_the_page_of_results(tmp_path):
    row = Row("a thing")
    row.add("no effect")
    row.add("unnoticed", "where")
    assert not row.survived and tuple(row.counts) == OUTCOMES
    about = {"command": "c", "seconds": 1.0, "device": "d", "versions": "v"}
    about["commit"] = "abc"
    table.save(tmp_path / "r.json", "part", [row], about)
    text = table.markdown(tmp_path / "r.json", {"part": "Title", "other": "None"})
    assert "## Title" in text and "| a thing | 2 | 1 | 0 | 0 | 1 | where |" in text
    assert "None" not in text
