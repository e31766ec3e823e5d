"""Parts that fail, hang, are killed or run out of memory: the budget holds."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

from conftest import ROOT

from tools.gpu.budget import Part, run_parts

WRITE = "import sys; open(sys.argv[1], 'w').write('{\"n\": 1}'); "


def part(name, code, share=0.5, **more):
    return Part(name, ("-c", code), share, **more)


def is_running(pid):
    """Whether there is such a process that has not ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def states(outcomes):
    return {o.name: o.state for o in outcomes}


def test_every_part_gets_its_turn_whatever_the_others_do(tmp_path):
    """One fails, one is killed, one takes all memory that it may, one is well."""
    memory = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28)); "
        "bytearray(2**30)"
    )
    said = []
    outcomes = run_parts(
        [
            part("fails", WRITE + "sys.exit('no such network')"),
            part("killed", "import os; os.kill(os.getpid(), 9)"),
            part("greedy", memory),
            part("well", WRITE),
        ],
        tmp_path / "out",
        tmp_path / "scratch",
        budget_s=30,
        say=said.append,
    )
    assert states(outcomes) == {
        "fails": "failed",
        "killed": "failed",
        "greedy": "failed",
        "well": "done",
    }
    assert "no such network" in said[0] and "SIGKILL" in said[1]
    assert "MemoryError" in said[2] and said[3].startswith("well: done")
    # What the failed part had is kept, and says so.
    kept = json.loads((tmp_path / "out" / "fails.json").read_text())
    assert kept["n"] == 1 and kept["state"] == "failed"
    assert json.loads((tmp_path / "out" / "well.json").read_text())["state"] == "done"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [entry["name"] for entry in summary] == ["fails", "killed", "greedy", "well"]
    with tarfile.open(tmp_path / "out" / "logs.tar.gz") as logs:
        assert "fails/log" in logs.getnames()


def test_a_part_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    """It ignores SIGTERM, and has a child that would outlive it."""
    code = (
        "import signal, subprocess, sys, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen(['sleep', '600']); "
        "open(sys.argv[1], 'w').write('{\"child\": %d}' % child.pid); time.sleep(600)"
    )
    begin = time.monotonic()
    outcomes = run_parts(
        [part("hangs", code, share=0.2), part("well", WRITE, share=0.3)],
        tmp_path / "out",
        tmp_path / "scratch",
        budget_s=20,
    )
    assert time.monotonic() - begin < 20
    assert states(outcomes) == {"hangs": "cut off", "well": "done"}
    kept = json.loads((tmp_path / "out" / "hangs.json").read_text())
    assert kept["state"] == "cut off"
    assert not is_running(kept["child"])


def test_a_small_budget_is_kept_and_the_rest_is_not_begun(tmp_path):
    sleepy = [part(f"p{i}", "import time; time.sleep(600)", 0.4) for i in range(4)]
    begin = time.monotonic()
    outcomes = run_parts(sleepy, tmp_path / "out", tmp_path / "scratch", budget_s=8)
    assert time.monotonic() - begin < 8
    assert outcomes[0].state == "cut off" and outcomes[-1].state == "not begun"


def test_an_early_part_prepares_beside_the_one_before_it(tmp_path):
    """It has prepared when its turn comes, and is told how long that is."""
    early = (
        "import json, sys, time; from tools.gpu.budget import wait_for_turn; "
        "ready = time.monotonic(); deadline = wait_for_turn(); "
        "json.dump({'waited': time.monotonic() - ready, 'left': deadline.left}, "
        "open(sys.argv[1], 'w'))"
    )
    run_parts(
        [
            part("first", "import time; time.sleep(8)"),  # Python may start slowly
            part("early", early, start="call", environment={"PYTHONPATH": str(ROOT)}),
        ],
        tmp_path / "out",
        tmp_path / "scratch",
        budget_s=30,
    )
    found = json.loads((tmp_path / "out" / "early.json").read_text())
    assert found["waited"] > 1 and 0 < found["left"] < 30


def test_a_result_folder_that_is_full_is_said_and_stops_nothing(tmp_path):
    """Files may be 10 bytes long: enough for what parts write, not for what is kept."""
    script = (
        "import resource, sys; from pathlib import Path; "
        "from tools.gpu.budget import Part, run_parts; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); "
        "parts = [Part(n, ('-c', sys.argv[1]), 0.4) for n in 'ab']; "
        "root = Path(sys.argv[2]); run_parts(parts, root / 'out', root / 'scratch', 20)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, WRITE, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    a, b, rest = done.stdout.splitlines()
    assert a.startswith("a: failed") and b.startswith("b: failed")
    assert "could not be kept (File too large" in a and "could not be kept" in rest


def test_a_part_that_is_killed_from_outside(tmp_path):
    code = (
        WRITE + "import os, time; from pathlib import Path; "
        "Path(sys.argv[1]).with_name('pid').write_text(str(os.getpid())); "
        "time.sleep(600)"
    )

    def kill():
        pid = tmp_path / "scratch" / "one" / "pid"
        while not pid.exists() or not pid.read_text():
            time.sleep(0.05)
        os.kill(int(pid.read_text()), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    begin = time.monotonic()
    outcomes = run_parts(
        [part("one", code)], tmp_path / "out", tmp_path / "scratch", budget_s=60
    )
    assert time.monotonic() - begin < 50
    assert outcomes[0].state == "failed" and "SIGKILL" in outcomes[0].why
