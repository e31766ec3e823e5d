"""The report from figures known beforehand, and the guard against regressions."""

import copy
import json

import pytest

from jaxseg.benchmark import command, latency, regression, report
from jaxseg.benchmark.latency import Plan
from jaxseg.errors import UserError
from jaxseg.models.registry import NETWORKS

HEADER = {
    "date": "2026-01-02 03:04:05 +0000",
    "command": "benchmark.py",
    "platform": "cpu",
    "device": "cpu",
    "cpu": "A Processor",
    "cores": 2,
    "driver": None,
    "versions": {"jax": "0.10.2", "torch": None},
}
CEILINGS = {"float32_gflop_per_s": 100.0, "memory_gb_per_s": 10.0}


def row(runtime, p50_ms, model="dabnet", **more):
    figures = {"p50_ms": p50_ms, "p90_ms": 90.0, "p99_ms": 99.0, "min_ms": 1.0}
    figures["frames_per_s"] = 1e3 / p50_ms
    found = {"model": model, "size": "512x1024", "batch": 1, "dtype": "float32"}
    found |= {"runtime": runtime, "parameters": 760_000, "gmac": 2.0}
    found |= {"end_to_end": figures, "network": dict(figures, p50_ms=p50_ms / 2)}
    found |= {"compile_s": 1.5, "peak_memory_mb": 300.0, "settings": "two threads"}
    found |= {"contended": False, "agreement": 0.99999}
    found |= {"processes": [{"bytes_moved": 8e7}]}
    return {**found, **more}


def failed(runtime, **reason):
    keys = ("model", "size", "batch", "dtype", "parameters", "gmac")
    return {**{k: row("", 1)[k] for k in keys}, "runtime": runtime, **reason}


def example(ours_ms=80.0, torch_ms=100.0, ort_ms=125.0):
    rows = [
        row("jaxseg", ours_ms, published="27.7 frames/s", published_miou=70.1),
        row("torch", torch_ms, contended=True),
        row("onnxruntime", ort_ms),
        failed("openvino", absent="openvino not installed"),
        failed("torch_compile", error="RuntimeError: no | compiler"),
    ]
    return {"format": 1, "header": HEADER, "ceilings": CEILINGS, "rows": rows}


def test_markdown_has_every_row_and_hides_nothing():
    lines = report.markdown(example()).splitlines()
    assert lines[0] == "# Latency on A Processor, 2026-01-02 03:04:05 +0000"
    assert "- versions: jax 0.10.2, torch not installed" in lines
    assert (
        "| dabnet | jaxseg | 80.0 | 90.0 | 99.0 | 1.00 | 12.5 | 1.50 | 300.0 "
        "| 99.999 % | 27.7 frames/s |"
    ) in lines
    assert any(line.startswith("| dabnet | torch * | 100.0 |") for line in lines)
    assert any("| openvino | absent: openvino not installed |" in x for x in lines)
    assert any("error: RuntimeError: no / compiler |" in line for line in lines)
    tables = [line.count("|") for line in lines if line.startswith("|")]
    assert set(tables) == {12}


def test_summary_is_a_line_a_row():
    lines = report.summary(example()["rows"])
    ours = "dabnet 512x1024 float32 jaxseg: 80.0 ms, 0.80 of the fastest peer"
    assert lines[0] == f"{ours}, 99.999% of the labels equal"
    assert lines[1].endswith("torch: 100.0 ms, 99.999% of the labels equal (contended)")
    assert lines[3].endswith("openvino: absent: openvino not installed")


def test_best_peer_is_the_fastest_of_the_same_workload():
    rows = [*example()["rows"], row("torch", 1.0, model="esnet")]
    assert report.best_peer_ms(rows[0], rows) == 100
    assert report.best_peer_ms(rows[0], rows, "network") == 50
    assert report.best_peer_ms(rows[0], rows[:1]) is None


def test_shares_of_the_ceilings_and_what_was_published():
    shares = latency.shares(row("jaxseg", 80.0), CEILINGS)
    # 2 x 2 GMAC and 80 MB in 40 ms are 100 GFLOP/s and 2 GB/s.
    assert shares["arithmetic_share"] == pytest.approx(1.0)
    assert shares["memory_share"] == pytest.approx(0.2)
    assert shares["published"] == "104.2 frames/s, GTX 1080 Ti"
    assert "published" not in latency.shares(row("torch", 1.0), CEILINGS)


def test_published_speed_names_its_size_where_it_is_another():
    assert NETWORKS["esnet"].published.speed("512x1024") == "63 frames/s, GTX 1080 Ti"
    liteseg = NETWORKS["liteseg_mobilenet"].published.speed("512x1024")
    assert liteseg == "161 frames/s at 360x640, GTX 1080 Ti"


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    assert report.draw(example(), tmp_path / "a")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_picture_of_trained_runs_shows_their_scores(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    drawn, save = [], figure.savefig
    monkeypatch.setattr(
        figure,
        "savefig",
        lambda self, *a, **k: drawn.append(self) or save(self, *a, **k),
    )
    found = example()
    score = {"scored_miou": 66.5, "scored_by": "camvid val, 480x360, 11 classes"}
    found["rows"] = [{**row, **score} for row in found["rows"]]
    assert report.draw(found, tmp_path / "a")
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "% mean IoU, camvid val, as scored in training"
    points = [tuple(x.get_offsets()[0]) for x in axes.collections]
    assert points == [(100.0, 66.5), (80.0, 66.5)]  # the fastest peer, and ours


def growths(old, new):
    changes = regression.compare(old, new)
    return {c.figure: round(c.growth, 6) for c in changes}


def test_compare_takes_ratios_and_on_the_same_machine_times():
    # All twice as slow: that is the machine's hour, or this CPU got slower.
    found = growths(example(), example(160.0, 200.0, 250.0))
    assert found == {
        "end_to_end / best peer": 0.0,
        "end_to_end ms": 1.0,
        "network / best peer": 0.0,
        "network ms": 1.0,
    }
    other = copy.deepcopy(example(160.0))
    other["header"] = {**HEADER, "cpu": "Another"}
    assert set(growths(example(), other).values()) == {1.0}
    assert "end_to_end ms" not in growths(example(), other)


def test_compare_takes_the_best_of_the_peers_in_both():
    new = example(80.0, 50.0)
    assert growths(example(), new)["network / best peer"] == 1.0
    old = example()
    old["rows"][1] = failed("torch", absent="not installed")
    assert growths(old, new)["network / best peer"] == 0.0


@pytest.mark.parametrize("ours_ms, ok", [(87.0, True), (89.0, False)])
def test_guard_fails_above_its_limit(ours_ms, ok, tmp_path, monkeypatch, capsys):
    old = tmp_path / "old.json"
    old.write_text(json.dumps(example()))

    def measured(plan, save, tell):
        save(example(ours_ms))
        return example(ours_ms)

    monkeypatch.setattr(command, "benchmark", measured)
    output = f"{tmp_path}/new/PLATFORM-latency"
    assert command.measure_and_report(Plan(("dabnet",)), output, old, 0.1) == ok
    assert "end_to_end / best peer" in capsys.readouterr().out
    assert json.loads((tmp_path / "new/cpu-latency.json").read_text()) == example(
        ours_ms
    )


def test_a_row_of_ours_that_failed_is_a_failure(tmp_path, monkeypatch, capsys):
    broken = example()
    broken["rows"][0] = failed("jaxseg", error="97 % of the labels are right")
    monkeypatch.setattr(command, "benchmark", lambda plan, save, tell: broken)
    assert not command.measure_and_report(Plan(("dabnet",)), str(tmp_path / "a"))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 0}'])
def test_a_file_that_is_no_report(tmp_path, text):
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is no report of benchmark.py"):
        regression.read_report(path)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"dtypes": ("float8",)}, "--dtypes has 'float8'; there are: float32"),
        ({"peers": ("tvm",)}, "--peers has 'tvm'; there are: onnxruntime"),
        ({"rounds": 0}, "--rounds is 0; it must be 1 or more"),
    ],
)
def test_plans_that_cannot_be(wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        Plan(("esnet",), **wrong)
