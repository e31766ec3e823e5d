"""Latency of our networks beside that of other runtimes, fairly.

Every runtime runs alone, in processes of its own, in turn with the others, on the same
weights, pictures, threads and allocator.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jaxseg
from jaxseg import models
from jaxseg.benchmark import timing
from jaxseg.benchmark.runtimes import (
    DTYPES,
    OURS,
    PEERS,
    RUNTIMES,
    Workload,
    threads,
)
from jaxseg.errors import UserError
from jaxseg.models.registry import NETWORKS

FORMAT = 1
# ImageNet's pixels, for weights that are drawn.
_PREPROCESS = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}
# A compiler that searches may take long; a process that hangs ends here.
_JOB_TIMEOUT_S = 1800

_MEMORY = "memory_gb_per_s"

Record = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        networks: names for `models.create`.
        sizes: height and width of the pictures, of which there are `batch` in a call.
        dtypes, peers: of `DTYPES` and `PEERS`.
        rounds: processes a row.
        calls: timed in a process; None for 50 on a CPU and 200 elsewhere.
        patience_s: what a process waits for others to be quiet, at most, in each of
            its two measurements.
        check: compare label maps before timing.
        ckpts: runs' folders, whose networks and weights are taken in place of
            `networks` and weights that are drawn.
    """

    networks: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] = ((512, 1024),)
    batch: int = 1
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    peers: tuple[str, ...] = PEERS
    rounds: int = 3
    calls: int | None = None
    patience_s: float = 30.0
    check: bool = False
    ckpts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, values, there in (
            ("models", self.networks, models.names()),
            ("dtypes", self.dtypes, DTYPES),
            ("peers", self.peers, PEERS),
        ):
            unknown = next((value for value in values if value not in there), None)
            if unknown is not None:
                known = ", ".join(there)
                raise UserError(f"--{what} has {unknown!r}; there are: {known}.")
        for what in ("batch", "rounds", "calls"):
            if (value := getattr(self, what)) is not None and value < 1:
                raise UserError(f"--{what} is {value}; it must be 1 or more.")


def benchmark(
    plan: Plan,
    save: Callable[[Record], None] = lambda report: None,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Record:
    """Measures all of `plan`: `{"format", "header", "ceilings", "rows"}`.

    Args:
        save: called with the report each time that there are more rows.
        tell: called with what is done next, how many processes ended and will have.

    Raises:
        UserError: there is no such run, or a network or the machine cannot be measured.
    """
    works = [
        (Workload("", model, preprocess, hw, plan.batch), ckpt, score)
        for model, preprocess, ckpt, score in _networks(plan)
        for hw in plan.sizes
    ]
    each = len(plan.dtypes) * plan.rounds * (1 + len(plan.peers))
    tell("ceilings of the machine", 0, each * len(works))
    machine = _run_job("machine", "the machine")
    ceilings, platform = machine.pop("ceilings"), machine["platform"]
    if plan.calls is None:
        plan = replace(plan, calls=50 if platform == "cpu" else 200)
    asked = {key: getattr(plan, key) for key in ("rounds", "calls", "check")}
    weights = ", ".join(plan.ckpts) or "drawn, seed 0"
    header = {**header_of_machine(), **machine, "weights": weights, **asked}
    report = {"format": FORMAT, "header": header, "ceilings": ceilings, "rows": []}
    for i, (work, ckpt, score) in enumerate(works):
        with TemporaryDirectory() as folder:
            work = replace(work, folder=folder, platform=platform)
            name = f"{work.model['name']} {size_name(work.hw)}"

            def tell_part(what: str, done: int, i: int = i, name: str = name) -> None:
                tell(f"{name} {what}", each * i + done, each * len(works))

            for row in _measure(plan, work, ckpt, name, tell_part):
                report["rows"].append({**row, **shares(row, ceilings), **score})
        header["mhz_at_end"] = _cpu_info()[1]
        save(report)
    return report


def _networks(
    plan: Plan,
) -> list[tuple[Record, Record, str | None, Record]]:
    """Of each network what `Workload` asks for, its run, and its row's score."""
    if not plan.ckpts:
        drawn = [{"name": name, "num_classes": 19} for name in plan.networks]
        return [(model, _PREPROCESS, None, {}) for model in drawn]
    from jaxseg.runs import Run

    found: list[tuple[Record, Record, str | None, Record]] = []
    for ckpt in plan.ckpts:
        run, score = Run(ckpt), {}
        best = run.record["scores"].get("best", {})
        if best.get("miou") is not None:  # converted weights have no score
            score = {"scored_miou": 100 * best["miou"], "scored_by": best["protocol"]}
        found.append((run.record["model"], asdict(run.preprocess), ckpt, score))
    return found


def _measure(
    plan: Plan,
    work: Workload,
    ckpt: str | None,
    name: str,
    tell: Callable[[str, int], None],
) -> list[Record]:
    """The rows of one network and size."""
    tell("", 0)
    facts = _run_job(
        "prepare",
        name,
        work=asdict(work),
        ckpt=ckpt,
        export=bool(plan.peers),
        check=plan.check,
    )
    failed_export = {"error": facts.pop("export_error", None)}
    rows, names, ended = [], (OURS, *plan.peers), 0
    for dtype in plan.dtypes:
        failed: dict[str, Record] = {}
        for runtime in names:
            if absent := _absent(runtime, dtype, work.platform):
                failed[runtime] = {"absent": absent}
            elif runtime != OURS and failed_export["error"]:
                failed[runtime] = failed_export
        processes: dict[str, list[Record]] = {runtime: [] for runtime in names}
        # In turn, so that what changes with the hour changes for all.
        for round_number in range(1, plan.rounds + 1):
            for runtime in names:
                if runtime not in failed:
                    at = f"round {round_number} of {plan.rounds}"
                    tell(f"{dtype}, {runtime}, {at}", ended)
                    result = _run_job(
                        "latency",
                        runtime=runtime,
                        work=asdict(replace(work, dtype=dtype)),
                        calls=plan.calls,
                        patience_s=plan.patience_s,
                        check=plan.check,
                    )
                    if "error" in result or "absent" in result:
                        failed[runtime] = result
                    processes[runtime].append(result)
                ended += 1
        for runtime in names:
            row = {
                "model": work.model["name"],
                "size": size_name(work.hw),
                "batch": work.batch,
                "dtype": dtype,
                "runtime": runtime,
                **{key: facts[key] for key in ("parameters", "gmac")},
            }
            row |= failed.get(runtime) or timing.merge(processes[runtime], work.batch)
            rows.append({**row, "processes": processes[runtime]})
    return rows


def size_name(hw: tuple[int, int]) -> str:
    return f"{hw[0]}x{hw[1]}"


def _run_job(task: str, required: str | None = None, **job: Any) -> Record:
    """What a worker answers, or `{"error"}`, which for a `required` job is raised."""
    root = str(Path(jaxseg.__file__).resolve().parents[1])
    paths = root, os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # A program from a cache would have no compile time.
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    if "work" in job:
        environment["TORCHINDUCTOR_CACHE_DIR"] = f"{job['work']['folder']}/inductor"
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "jaxseg.benchmark.worker"],
            input=json.dumps({"task": task, **job}),
            capture_output=True,
            text=True,
            env=environment,
            timeout=_JOB_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        result = {"error": f"not done after {_JOB_TIMEOUT_S} s"}
    else:
        last = (ended.stdout.strip().splitlines() or [""])[-1]
        said = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        failed = {"error": f"the process ended with code {ended.returncode}: {said}"}
        result = failed if ended.returncode else json.loads(last)
    if required and "error" in result:
        raise UserError(f"{required} cannot be measured: {result['error']}")
    return result


def header_of_machine() -> Record:
    """What a reader has to know of the program and the machine, but for the device."""
    cpu, mhz = _cpu_info()
    peers = [package for name in PEERS for package in RUNTIMES[name].packages]
    packages = sorted({"jax", "jaxlib", "flax", "numpy", *peers})
    driver = Path("/proc/driver/nvidia/version")
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "driver": driver.read_text().splitlines()[0] if driver.exists() else None,
        "cpu": cpu,
        "cores": threads(),
        "mhz_at_start": mhz,
        "mhz_at_end": None,
        "load_at_start": os.getloadavg()[0],
        "versions": {package: _version(package) for package in packages},
        "xla_flags": os.environ.get("XLA_FLAGS"),
    }


def _cpu_info() -> tuple[str | None, float | None]:
    """The processor's name, and the mean clock of its cores in MHz."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None, None
    pairs = [[part.strip() for part in line.split(":", 1)] for line in lines if line]
    clocks = [float(p[1]) for p in pairs if p[0] == "cpu MHz"]
    name = next((p[1] for p in pairs if p[0] == "model name"), None)
    return name, sum(clocks) / len(clocks) if clocks else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _absent(runtime: str, dtype: str, platform: str) -> str | None:
    """Why `runtime` need not be tried at all."""
    if missing := [p for p in RUNTIMES[runtime].packages if _version(p) is None]:
        return f"{', '.join(missing)} not installed; pip install '.[peers]'"
    if dtype not in RUNTIMES[runtime].dtypes or (dtype, platform) == ("tf32", "cpu"):
        return f"has no {dtype} here"
    return None


def shares(row: Record, ceilings: dict[str, float]) -> Record:
    """The published figures beside ours, and how near the network came to ceilings."""
    found: Record = {}
    entry = NETWORKS.get(row["model"])
    paper = entry and entry.published
    if paper and row["runtime"] == OURS:
        found["published"] = paper.speed(row["size"])
        found["published_miou"] = paper.miou
        found["published_in"] = paper.source
    if "network" in row:
        seconds = 1e-3 * row["network"]["p50_ms"]
        done = 2 * row["gmac"] * row["batch"] / seconds
        if ceiling := ceilings.get(f"{row['dtype']}_gflop_per_s"):
            found["arithmetic_share"] = done / ceiling
        moved, ceiling = row["processes"][0]["bytes_moved"], ceilings.get(_MEMORY)
        if moved and ceiling:
            found["memory_share"] = 1e-9 * moved / seconds / ceiling
    return found
