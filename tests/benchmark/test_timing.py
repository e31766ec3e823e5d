"""Percentiles, and which calls and processes count."""

from pathlib import Path

import pytest

from jaxseg.benchmark import timing, worker


class Machine:
    """A clock that only sleeping and calls of 0.125 s move, and others' use of it."""

    def __init__(self, busy_until: float = 0.0) -> None:
        self.now, self.busy_until, self.seen = 0.0, busy_until, []

    def call(self, x):
        self.seen.append(x)
        self.now += 0.125

    def sleep(self, seconds):
        self.now += seconds

    def others(self):
        # All cores of any machine.
        return 1000 * min(self.now, self.busy_until)

    def measure(self, calls, patience_s=100.0, others=None):
        return timing.measure(
            self.call,
            "abcd",
            calls,
            patience_s,
            others or self.others,
            lambda: self.now,
            self.sleep,
        )


def test_percentiles_lie_between_calls():
    found = timing.summarise([30.0, 10.0, 20.0, 50.0, 40.0])
    # Of five values the 90th percentile is 3.6 steps from the least.
    expected = {"p50_ms": 30, "p90_ms": 46, "p99_ms": 49.6, "min_ms": 10}
    assert found == pytest.approx(expected)


def test_inputs_take_turns_and_warming_up_does_not_count():
    machine = Machine()
    found = machine.measure(calls=4)
    assert "".join(machine.seen) == "abcdabcda"
    assert found["p50_ms"] == 125
    assert (found["calls"], found["discarded"], found["contended"]) == (4, 0, 0)


def test_disturbed_bursts_are_repeated_until_others_are_quiet():
    # Bursts of four calls begin at 0.625 s, 2.125 s and 3.625 s.
    found = Machine(busy_until=2.5).measure(calls=8)
    assert (found["calls"], found["discarded"], found["contended"]) == (8, 8, 0)


def test_disturbed_bursts_count_when_patience_is_over():
    found = Machine(busy_until=2.5).measure(calls=8, patience_s=1.0)
    assert (found["calls"], found["discarded"], found["contended"]) == (8, 4, 4)


def test_without_the_kernel_s_counters_every_call_counts():
    found = Machine(busy_until=9.0).measure(calls=7, others=lambda: None)
    assert (found["calls"], found["contended"]) == (7, 0)


def test_a_slow_runtime_is_not_called_for_hours():
    machine = Machine()
    machine.call = lambda x: machine.sleep(7.0)
    assert machine.measure(calls=50)["calls"] == 10


@pytest.mark.parametrize(
    "others_s, wall_s, cores, disturbed",
    [(0.02, 0.1, 2, False), (0.1, 1.0, 2, True), (0.1, 1.0, 16, False)],
)
def test_what_others_may_use(others_s, wall_s, cores, disturbed):
    assert timing.is_disturbed(others_s, wall_s, cores) == disturbed


def test_own_work_is_not_that_of_others():
    before = timing.others_seconds()
    if before is None:
        pytest.skip("no /proc/stat")
    assert 0 < before <= timing.others_seconds() + 0.1


def process(p50_ms, contended=0, **more):
    found = {"p50_ms": p50_ms, "p90_ms": 2 * p50_ms, "p99_ms": 3 * p50_ms}
    found |= {"min_ms": p50_ms / 2, "calls": 50, "contended": contended}
    common = {"compile_s": p50_ms, "settings": "two threads", "peak_memory_mb": 100}
    return {"end_to_end": found, "network": found, **common, **more}


def test_a_row_is_the_median_of_its_processes():
    row = timing.merge([process(10), process(40), process(20)], batch=2)
    assert row["end_to_end"]["p50_ms"] == 20 and row["network"]["p99_ms"] == 60
    assert row["end_to_end"]["min_ms"] == 5
    assert row["end_to_end"]["frames_per_s"] == 100
    assert row["compile_s"] == 10  # of the first: later ones may find things cached
    assert not row["contended"] and row["agreement"] is None


def test_processes_that_were_disturbed_count_only_if_all_were():
    row = timing.merge([process(10, contended=6), process(20), process(30)], batch=1)
    assert row["network"]["p50_ms"] == 25 and row["network"]["processes"] == 2
    assert not row["contended"]
    row = timing.merge([process(10, contended=6), process(20, contended=50)], batch=1)
    assert row["network"]["p50_ms"] == 15 and row["contended"]


def test_the_least_agreement_counts():
    shares = [process(1, agreement=share) for share in (1.0, 0.9995)]
    assert timing.merge(shares, batch=1)["agreement"] == 0.9995


def test_memory_is_unknown_where_the_kernel_does_not_say(monkeypatch):
    status = "VmSize:\t    4000 kB\nVmRSS:\t    2000 kB\n"
    monkeypatch.setattr(Path, "read_text", lambda self: status)
    assert worker.resident_bytes() is None
    monkeypatch.setattr(Path, "read_text", lambda self: status + "VmHWM:\t  3000 kB\n")
    assert worker.resident_bytes() == 3_072_000
