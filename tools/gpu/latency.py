"""Latency of our networks beside PyTorch's, all compiled at once, timed in turn.

python -m tools.gpu.latency PLAN RESULT, where PLAN is JSON, the fields of `Work` for
each process and how many `calls` to time. RESULT is a report as `benchmark.py`'s.
"""

import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import models
from jaxseg.benchmark import latency as benchmark
from jaxseg.benchmark import timing
from jaxseg.benchmark.runtimes import OURS
from jaxseg.ops import Pair
from tools.gpu.budget import Deadline, save_result, wait_for_turn
from tools.gpu.held import Held
from tools.gpu.work import Work, platform

TURNS = 3
# Of a part's turn, what may be spent on waiting for those that still compile.
_WAITING_SHARE = 0.5
_QUESTION_S = 20.0  # for some calls; one that takes longer must not use up the turn
_PROFILED_AS_RUN = "--xla_enable_command_buffers_during_profiling=true"


def start(work: Work) -> Held:
    """The process of `work`, which begins to compile at once."""
    environment = _environment(work.runtime, work.flags)
    given = json.dumps(asdict(work))
    return Held("tools.gpu.work", given, environment=environment)


def _environment(runtime_name: str, flags: str = "") -> dict[str, str]:
    if runtime_name != OURS:
        return {**os.environ, "JAX_PLATFORMS": "cpu"}  # JAX writes the graph, no more
    profiled = "" if platform() == "cpu" else _PROFILED_AS_RUN
    every = f"{os.environ.get('XLA_FLAGS', '')} {flags} {profiled}"
    return {**os.environ, "XLA_FLAGS": " ".join(every.split())}


def measure(works: list[Work], calls: int, result: str) -> None:
    """Starts all, times those that are ready in turn, and keeps what there is."""
    machine = Held("tools.gpu.work", "--machine", environment=_environment(OURS))
    processes = {work.title: start(work) for work in works}
    rows = {(w.title, dtype): _row(w, dtype) for w in works for dtype in w.dtypes}
    for row in rows.values():
        row["error"] = "not reached"
    header = {"platform": platform(), "device": "a device that did not answer"}
    header["command"] = "python -m tools.gpu_run call1 FOLDER"
    report = {
        "format": benchmark.FORMAT,
        "header": benchmark.header_of_machine() | header,
        "ceilings": {},
        "rows": list(rows.values()),
    }
    deadline = wait_for_turn()
    save_result(result, report)
    waiting = Deadline(deadline.left * _WAITING_SHARE)
    found = {name: one.answer(waiting.left) for name, one in processes.items()}
    ready = {name: one["ready"] for name, one in found.items() if "ready" in one}
    for (name, _), row in rows.items():
        if name not in ready:
            row["error"] = f"not compiled: {found[name]['error']}"
    machine.answer(_QUESTION_S)
    facts = machine.ask({}, _QUESTION_S)
    facts.pop("error", None)
    report["ceilings"] = facts.pop("ceilings", {})
    report["header"] |= {**facts, "weights": "drawn, seed 0"}
    groups: dict[tuple[str, Pair, int], list[Work]] = {}
    for work in works:
        groups.setdefault((work.network, work.hw, work.batch), []).append(work)
    for group in groups.values():
        _time_group(group, ready, processes, rows, calls, deadline)
        report["rows"] = [
            {**row, **benchmark.shares(row, report["ceilings"])}
            for row in rows.values()
        ]
        save_result(result, report)
    for process in (machine, *processes.values()):
        process.end()
    if left := sum("network" not in row for row in rows.values()):
        sys.exit(f"{left} of {len(rows)} rows were not measured; the result says why")


def _time_group(
    group: list[Work],
    ready: dict[str, dict[str, Any]],
    processes: dict[str, Held],
    rows: dict[tuple[str, str], dict[str, Any]],
    calls: int,
    deadline: Deadline,
) -> None:
    """Every runtime of one network: a third of its calls, and again in turn."""
    times: dict[tuple[str, str], list[dict[str, list[float]]]] = {}
    for turn in range(TURNS + 1):  # the first one warms up
        for work in group:
            for dtype in work.dtypes if work.title in ready else ():
                if deadline.left < 2:
                    rows[work.title, dtype]["error"] = "no time was left"
                    continue
                some = max(1, calls // (TURNS if turn else 10 * TURNS))
                question = {"dtype": dtype, "calls": some}
                patience = min(_QUESTION_S, deadline.left - 1)
                found = processes[work.title].ask(question, patience)
                if "error" in found:
                    rows[work.title, dtype]["error"] = found["error"]
                elif turn:
                    times.setdefault((work.title, dtype), []).append(found)
    for work in group:
        for dtype in work.dtypes:
            key = work.title, dtype
            if len(times.get(key, ())) != TURNS:
                continue
            rows[key].pop("error", None)
            question = {"dtype": dtype, "calls": 0}
            counted = {
                "bytes_moved": None,
                **processes[key[0]].ask(question, _QUESTION_S),
            }
            rows[key] |= _measured(work, times[key], counted, ready[key[0]][dtype])
            rows[key]["agreement"] = _agreement(work, dtype)


def _row(work: Work, dtype: str) -> dict[str, Any]:
    from jaxseg.models.sizes import padded_hw
    from jaxseg.models.summary import stages

    parts = stages(models.create(work.network), padded_hw(work.hw))
    return {
        "model": work.network,
        "size": benchmark.size_name(work.hw),
        "batch": work.batch,
        "dtype": dtype,
        "runtime": work.runtime,
        "variant": work.variant,
        "parameters": sum(part.parameters for part in parts),
        "gmac": 1e-9 * sum(part.macs for part in parts),
    }


def _measured(
    work: Work,
    turns: list[dict[str, list[float]]],
    counted: dict[str, Any],
    facts: dict[str, Any],
) -> dict[str, Any]:
    found: dict[str, Any] = {**facts, "contended": False, "processes": [counted]}
    for what in timing.MEASURES:
        times = [ms for turn in turns for ms in turn[what]]
        row = timing.summarise(times)
        medians = [statistics.median(turn[what]) for turn in turns]
        row["frames_per_s"] = 1e3 * work.batch / row["p50_ms"]
        found[what] = {**row, "processes": 1, "medians_of_turns": medians}
    moved = counted.get("device_bytes")
    found["peak_memory_mb"] = moved and moved / 1e6
    for key in ("kernels", "launches"):
        found[key] = counted.get(key)
    return found


def _agreement(work: Work, dtype: str) -> float | None:
    """Share of the labels that are those of the textbook's network in float32."""
    folder = Path(os.environ["JAXSEG_GPU_FOLDER"])
    plain = Work(work.network, OURS, work.hw, work.batch, ())
    try:
        truth = np.load(folder / f"{plain.title}-textbook.npy")
        found = np.load(folder / f"{work.title}-{dtype}.npy")
    except OSError:
        return None
    return float(np.mean(found == truth))


def main() -> None:
    plan = json.loads(sys.argv[1])
    works = [Work.of(given) for given in plan["works"]]
    measure(works, plan["calls"], sys.argv[2])


if __name__ == "__main__":
    main()
