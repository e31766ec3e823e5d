"""Latencies that can be trusted: percentiles, and calls that others did not disturb."""

import itertools
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEASURES = ("end_to_end", "network")
PERCENTILES = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99}

_WARMUP_CALLS = 5
# Calls are judged in bursts: the kernel counts processor time in steps of 10 ms.
_BURST_S, _PAUSE_S = 0.5, 1.0
# What others may use while a burst counts: this share of all cores, and the error of
# the counters.
_OTHERS_SHARE, _OTHERS_LEAST_S = 0.04, 0.03
# A runtime this slow is not timed any longer once it was called so often.
_LONG_S, _LONG_CALLS = 30.0, 10


def others_seconds() -> float | None:
    """Processor seconds that all but this process ever used, stolen time with them.

    None where there is no `/proc/stat`.
    """
    try:
        line = Path("/proc/stat").read_text().partition("\n")[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, line.split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    own = resource.getrusage(resource.RUSAGE_SELF)
    return ticks / os.sysconf("SC_CLK_TCK") - own.ru_utime - own.ru_stime


def is_disturbed(others_s: float, wall_s: float, cores: int) -> bool:
    """Whether others used too much of `cores` cores during `wall_s`."""
    return others_s > max(_OTHERS_LEAST_S, _OTHERS_SHARE * cores * wall_s)


def measure(
    call: Callable[[Any], Any],
    inputs: Sequence[Any],
    calls: int,
    patience_s: float,
    others: Callable[[], float | None] = others_seconds,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """`summarise` of `calls` calls over `inputs` in turn, after some that warm up.

    Bursts during which other processes used the machine are thrown away and repeated
    until `patience_s` were spent on that; after it they count as `contended`.
    """
    kept: list[float] = []
    discarded, contended, turn = 0, 0, itertools.cycle(inputs)
    cores = os.cpu_count() or 1
    for _ in range(_WARMUP_CALLS):
        call(next(turn))
    while len(kept) < calls:
        if len(kept) >= _LONG_CALLS and sum(kept) > 1e3 * _LONG_S:
            break
        burst: list[float] = []
        start, before = clock(), others()
        while len(burst) < calls - len(kept) and clock() - start < _BURST_S:
            x, begin = next(turn), clock()
            call(x)
            burst.append(1e3 * (clock() - begin))
        wall_s, after = clock() - start, others()
        disturbed = (
            before is not None
            and after is not None
            and is_disturbed(after - before, wall_s, cores)
        )
        if disturbed and patience_s > 0:
            patience_s -= wall_s + _PAUSE_S
            discarded += len(burst)
            sleep(_PAUSE_S)
            continue
        kept += burst
        contended += len(burst) if disturbed else 0
    counts = {"calls": len(kept), "discarded": discarded, "contended": contended}
    return {**summarise(kept), **counts}


def summarise(latencies_ms: Sequence[float]) -> dict[str, float]:
    """Percentiles, interpolated between calls, and the minimum."""
    values = np.percentile(latencies_ms, list(PERCENTILES.values())).tolist()
    return {**dict(zip(PERCENTILES, values)), "min_ms": min(latencies_ms)}


def merge(processes: Sequence[dict[str, Any]], batch: int) -> dict[str, Any]:
    """One row of several processes: the medians of their figures, the least minimum.

    A process stays as fast as the memory pages that it was given, hence the median.
    Processes of which others disturbed more than a tenth of the calls are left out,
    unless that is all of them: then the row is `contended`.
    """
    first = processes[0]
    row: dict[str, Any] = {key: first[key] for key in ("compile_s", "settings")}
    row["contended"] = False
    for what in MEASURES:
        every = [process[what] for process in processes]
        quiet = [p for p in every if p["contended"] <= 0.1 * p["calls"]]
        row["contended"] |= not quiet
        used = quiet or every
        found = {k: statistics.median(p[k] for p in used) for k in PERCENTILES}
        found["min_ms"] = min(p["min_ms"] for p in used)
        found["frames_per_s"] = 1e3 * batch / found["p50_ms"]
        row[what] = {**found, "processes": len(used)}
    for key, one_of in (("peak_memory_mb", statistics.median), ("agreement", min)):
        values = [p[key] for p in processes if p.get(key) is not None]
        row[key] = one_of(values) if values else None
    return row
