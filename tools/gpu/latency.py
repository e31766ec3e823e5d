"""Latency of our networks beside PyTorch's, all compiled at once, timed in turn.

python -m tools.gpu.latency PLAN RESULT, where PLAN is JSON, the fields of `Work` for
each process and how many `calls` to time. RESULT is a report as `benchmark.py`'s.
"""

import gzip
import json
import os
import statistics
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from jaxseg import models
from jaxseg.benchmark import latency as benchmark
from jaxseg.benchmark import timing, workload
from jaxseg.benchmark.runtimes import OURS, RUNTIMES, Workload
from jaxseg.ops import Pair
from jaxseg.runtime import setup
from tools.gpu.budget import Deadline, save_result, wait_for_turn
from tools.gpu.held import Held, answer_questions, reply

TURNS, PROFILED = 3, 5
PREPROCESS = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}
# Of a part's turn, what may be spent on waiting for those that still compile.
_WAITING_SHARE = 0.5
_QUESTION_S = 20.0  # for some calls; one that takes longer must not use up the turn
_PROFILED_AS_RUN = "--xla_enable_command_buffers_during_profiling=true"


@dataclass(frozen=True)
class Work:
    """One process: a runtime with a network.

    Attributes:
        dtypes: of each of which it holds a program.
        how: what differs from the lowering of `Predictor`; for our runtime.
        flags: XLA's, in addition to what is in the environment.
        variant: a name for `how` and `flags`; empty for what a user gets.
    """

    network: str
    runtime: str
    hw: Pair
    batch: int
    dtypes: tuple[str, ...]
    variant: str = ""
    how: dict[str, Any] = field(default_factory=dict)
    flags: str = ""


def hold(work: Work) -> None:
    """The process of one `Work`: compiles, says `ready`, and times what it is asked."""
    setup()
    answer_questions(lambda: _prepared(work))


def _prepared(work: Work):
    folder = Path(os.environ["JAXSEG_GPU_FOLDER"])
    model = {"name": work.network, "num_classes": 19}
    weights = workload.draw_weights(models.create(**model))
    images = list(workload.draw_images(work.hw, work.batch))
    ours = work.runtime == OURS
    held, facts = {}, {}
    # XLA compiles in threads; PyTorch's compiler does not like it.
    with TemporaryDirectory() as given, ThreadPoolExecutor(8 if ours else 1) as pool:
        base = Workload(given, model, PREPROCESS, work.hw, work.batch)
        _write_inputs(base, weights, graph=not ours)
        textbook = None
        if ours and not work.variant:
            textbook = pool.submit(_textbook, work, weights, images)
        building = {}
        for dtype in work.dtypes:
            asked = Workload(
                **{**asdict(base), "dtype": dtype, "platform": _platform()}
            )
            load = RUNTIMES[work.runtime].load
            build = load(asked, **({"how": work.how} if work.how else {}))
            building[dtype] = [
                pool.submit(_built, build, output, images)
                for output in ("labels", "logits")
            ]
        for dtype, (whole, alone) in building.items():
            network, labels, took = whole.result()
            held[dtype] = network, *alone.result()[:2]
            np.save(folder / f"{_title(work)}-{dtype}.npy", labels)
            facts[dtype] = {"compile_s": took, "settings": network.settings}
        if textbook:
            np.save(folder / f"{_title(work)}-textbook.npy", textbook.result())
    reply({"ready": facts})

    def answer(dtype: str, calls: int) -> dict[str, Any]:
        network, alone, resident = held[dtype]
        if not calls:
            return _counted(alone, resident[0], work.runtime)
        return {
            "end_to_end": _times(network.call, images, calls),
            "network": _times(alone.run, resident, calls),
        }

    return answer


def _built(build: Any, output: str, images: list[np.ndarray]) -> tuple[Any, Any, float]:
    """The network, its labels or the pictures on the device, and the seconds."""
    begin = time.perf_counter()
    network = build(output)
    if output == "labels":
        found = [np.asarray(network.call(image)) for image in images]
        return network, found, time.perf_counter() - begin
    resident = [network.put(image) for image in images]
    network.run(resident[0])
    return network, resident, time.perf_counter() - begin


def _platform() -> str:
    return os.environ["JAXSEG_GPU_PLATFORM"]


def _title(work: Work) -> str:
    name = f"{work.network}-{work.hw[0]}x{work.hw[1]}-{work.batch}-{work.runtime}"
    return name + (f"-{work.variant.replace(' ', '-')}" if work.variant else "")


def _write_inputs(base: Workload, weights: Any, graph: bool) -> None:
    workload.save_weights(base.folder, weights)
    if not graph:
        return
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.inference.onnx import export_onnx

    network, preprocess = models.create(**base.model), Preprocess(**PREPROCESS)
    for output in ("labels", "logits"):
        exported = export_onnx(
            network, weights, preprocess, base.hw, output, batch=base.batch
        )
        Path(base.onnx(output)).write_bytes(exported.SerializeToString())


def _textbook(work: Work, weights: Any, images: list[np.ndarray]) -> np.ndarray:
    """The labels of the network as it was trained, one `lax` call an operation."""
    import jax

    from jaxseg.data.preprocess import Preprocess
    from jaxseg.inference.predictor import segment
    from jaxseg.ops import Lowering, lowering

    network, preprocess = models.create(work.network), Preprocess(**PREPROCESS)
    with lowering(Lowering("textbook")), jax.default_matmul_precision("highest"):
        logits = jax.jit(lambda x: segment(network, weights, preprocess, x, "logits"))
        return np.stack([np.asarray(logits(x).argmax(-1)) for x in images])


def _times(call: Any, inputs: list[Any], calls: int) -> list[float]:
    """Milliseconds of each of `calls` calls."""
    times = []
    for n in range(calls):
        begin = time.perf_counter()
        call(inputs[n % len(inputs)])
        times.append(1e3 * (time.perf_counter() - begin))
    return times


def _counted(network: Any, x: Any, runtime_name: str) -> dict[str, Any]:
    """Memory; and of ours the kernels and launches a call, by JAX's profiler."""
    found: dict[str, Any] = {"bytes_moved": network.bytes_moved}
    found["device_bytes"] = network.device_bytes()
    if runtime_name != OURS or _platform() == "cpu":
        return found
    import jax

    with TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(PROFILED):
                network.run(x)
        (trace,) = Path(folder).rglob("*.trace.json.gz")
        events = json.load(gzip.open(trace))["traceEvents"]
    launches = Counter(
        kind
        for event in events
        for kind in ("GraphLaunch", "LaunchKernel")
        if kind in event.get("name", "")
    )
    kernels = sum("hlo_op" in event.get("args", {}) for event in events)
    found["launches"] = {kind: n / PROFILED for kind, n in launches.items()}
    return {**found, "kernels": kernels / PROFILED}


def start(work: Work) -> Held:
    """The process of `work`, which begins to compile at once."""
    environment = _environment(work.runtime, work.flags)
    arguments = "--worker", json.dumps(asdict(work))
    return Held("tools.gpu.latency", *arguments, environment=environment)


def _environment(runtime_name: str, flags: str = "") -> dict[str, str]:
    if runtime_name != OURS:
        return {**os.environ, "JAX_PLATFORMS": "cpu"}  # JAX writes the graph, no more
    profiled = "" if _platform() == "cpu" else _PROFILED_AS_RUN
    every = f"{os.environ.get('XLA_FLAGS', '')} {flags} {profiled}"
    return {**os.environ, "XLA_FLAGS": " ".join(every.split())}


def measure(works: list[Work], calls: int, result: str) -> None:
    """Starts all, times those that are ready in turn, and keeps what there is."""
    machine = Held("tools.gpu.latency", "--machine", environment=_environment(OURS))
    processes = {_title(work): start(work) for work in works}
    rows = {(_title(w), dtype): _row(w, dtype) for w in works for dtype in w.dtypes}
    for row in rows.values():
        row["error"] = "not reached"
    header = {"platform": _platform(), "device": "a device that did not answer"}
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
            for dtype in work.dtypes if _title(work) in ready else ():
                if deadline.left < 2:
                    rows[_title(work), dtype]["error"] = "no time was left"
                    continue
                some = max(1, calls // (TURNS if turn else 10 * TURNS))
                question = {"dtype": dtype, "calls": some}
                patience = min(_QUESTION_S, deadline.left - 1)
                found = processes[_title(work)].ask(question, patience)
                if "error" in found:
                    rows[_title(work), dtype]["error"] = found["error"]
                elif turn:
                    times.setdefault((_title(work), dtype), []).append(found)
    for work in group:
        for dtype in work.dtypes:
            key = _title(work), dtype
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
        truth = np.load(folder / f"{_title(plain)}-textbook.npy")
        found = np.load(folder / f"{_title(work)}-{dtype}.npy")
    except OSError:
        return None
    return float(np.mean(found == truth))


def main() -> None:
    plan = json.loads(sys.argv[1])
    works = [_work(given) for given in plan["works"]]
    measure(works, plan["calls"], sys.argv[2])


def _work(given: dict[str, Any]) -> Work:
    pairs = {"hw": tuple(given["hw"]), "dtypes": tuple(given["dtypes"])}
    return Work(**{**given, **pairs})


def _hold_machine() -> None:
    """The process that measures the ceilings of the machine, when nothing else runs."""
    import jax

    from jaxseg.benchmark.worker import machine

    jax.devices()
    reply({"ready": True})
    answer_questions(lambda: machine)


if __name__ == "__main__":
    if sys.argv[1:] == ["--machine"]:
        _hold_machine()
    elif sys.argv[1:2] == ["--worker"]:
        hold(_work(json.loads(sys.argv[2])))
    else:
        main()
