"""Trainings that are killed with SIGKILL again and again, and end as one that is not.

Each restart aims at a phase, drawn at random, and is killed a random time after it was
first seen there; the phase that the kill fell into is what is counted.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxseg.runs import Run
from tools.reliability import toy
from tools.reliability.table import Row

VARIANTS = {
    "resident": (),
    "resident, EMA": ("--config.train.ema_decay=0.9",),
    "tfdata": ("--config.data.loader=tfdata",),
}
# Each with the longest time, in seconds, from when it is first seen to the kill.
PHASES = {
    "start-up": 6.0,
    "data": 0.5,
    "compiling": 4.0,
    "step": 1.0,
    "checkpoint": 0.1,
    "validation": 0.5,
    "end": 0.3,
}
_COLD_EVERY = 20  # restarts: with an empty cache, so that data and programs are made


def storm(folder: Path, kills: int, variants: tuple[str, ...], seed: int) -> list[Row]:
    """Kills `kills` times in all; a row for each of the `variants`, and one of phases.

    Args:
        folder: an empty one for what it writes.
        variants: of `VARIANTS`.
    """
    rng = np.random.default_rng(seed)
    data, cache = toy.write_pictures(folder / "data"), folder / "cache"
    whole, rows = {}, {name: Row(f"SIGKILL, {name}") for name in variants}
    for name in variants:
        workdir = folder / f"whole-{len(whole)}"
        given = toy.arguments(data, workdir, *VARIANTS[name])
        code, text = toy.run("train.py", given, folder / "log", cache)
        if code:
            raise RuntimeError(f"the undisturbed run failed: {text[-2000:]}")
        whole[name] = ending(workdir)
    phases: Counter[str] = Counter()
    done = number = 0
    while done < kills:
        name = variants[number % len(variants)]
        workdir = folder / f"killed-{number}"
        given = toy.arguments(data, workdir, *VARIANTS[name])
        killed, text = 0, ""
        while done < kills:
            aim = str(rng.choice(list(PHASES)))
            used = cache
            if done % _COLD_EVERY == _COLD_EVERY - 1:
                aim, used = str(rng.choice(["data", "compiling"])), folder / "cold"
                shutil.rmtree(used, ignore_errors=True)
            process = toy.start("train.py", given, folder / "log", used)
            phase = _kill(process, workdir, folder / "log", aim, rng)
            text = (folder / "log").read_text(errors="replace")
            if phase is None:
                break
            phases[phase] += 1
            killed, done = killed + 1, done + 1
        code, text = toy.run("train.py", given, folder / "log", cache)
        ended = outcome(code, text, workdir, whole[name])
        for _ in range(max(killed, 1)):
            rows[name].add(ended, f"run {number}: {text[-200:]}")
        number += 1
    note = ", ".join(f"{phase} {phases[phase]}" for phase in PHASES)
    for name, row in rows.items():
        runs = len(range(list(variants).index(name), number, len(variants)))
        row.note = f"{runs} runs to their end"
    first = rows[variants[0]]
    first.note += (
        f"; the {done} kills of all fell into: {note}. A run that ended before its "
        "kill counts once too"
    )
    return list(rows.values())


def _kill(
    process: subprocess.Popen,
    workdir: Path,
    log: Path,
    aim: str,
    rng: np.random.Generator,
) -> str | None:
    """The phase that the kill fell into; None if the process ended before."""
    delay = rng.uniform(0, PHASES[aim])
    while process.poll() is None and _phase(workdir, log) != aim:
        time.sleep(0.002)
    until = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    if process.poll() is not None:
        return None
    process.send_signal(signal.SIGSTOP)
    phase = _phase(workdir, log)
    with suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)
    return phase if process.wait() == -signal.SIGKILL else None


def _phase(workdir: Path, log: Path) -> str:
    text = log.read_text(errors="replace")
    if "Trained." in text:
        return "end"
    if not text:
        return "start-up"
    if "to validate." not in text:
        return "data"
    if list((workdir / "checkpoints").glob("*tmp*")):
        return "checkpoint"
    found = re.search(r"Going on from step (\d+)", text)
    begin, entry = int(found[1]) if found else 0, last_entry(workdir)
    if entry["step"] <= begin:
        return "compiling"
    due = entry["step"] % (2 * toy.STEPS_PER_EPOCH) == 0
    return "validation" if due and entry["kind"] == "train" else "step"


def last_entry(workdir: Path) -> dict[str, Any]:
    """The last whole line of a run's journal; of one that has none, step 0."""
    journal = workdir / "metrics.jsonl"
    lines = journal.read_text().splitlines(True) if journal.is_file() else []
    whole = [line for line in lines if line.endswith("\n")]
    return json.loads(whole[-1]) if whole else {"step": 0}


def ending(workdir: Path) -> dict[str, Any]:
    """All that a run ends with: weights, record, scores, and which step is the best."""
    run, kept = Run(workdir), {}
    for which in ("last", "best"):
        variables, step = run.variables(which)
        kept[which] = step, jax.device_get(variables)
    speeds = ("images_per_s", "data_wait")
    lines = [
        {k: v for k, v in json.loads(line).items() if k not in speeds}
        for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]
    return {**kept, "lines": lines, "scores": run.record["scores"]}


def outcome(code: int, text: str, workdir: Path, whole: dict[str, Any]) -> str:
    """How a run that was killed ended, beside one that was not; see `table`."""
    if "Traceback" in text or code not in (0, 2):
        return "crashed"
    if code:
        return "detected"
    found = ending(workdir)
    same = found["lines"] == whole["lines"] and found["scores"] == whole["scores"]
    for which in ("last", "best"):
        step, variables = found[which]
        expected_step, expected = whole[which]
        pairs = zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True)
        same &= step == expected_step
        same &= all(np.array_equal(a, b) for a, b in pairs)
    return "no effect" if same else "unnoticed"
