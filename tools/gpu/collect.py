"""Results from what the calls on a GPU left: tables, a picture, runs to be scored."""

import json
import statistics
import tarfile
from pathlib import Path
from typing import Any

from jaxseg.benchmark import report
from jaxseg.errors import UserError
from tools.gpu.training import TORCH, fastest

_COMMAND = "`python -m tools.gpu_run collect FOLDER`"


def collect(
    folder: Path, results: Path = Path("results"), runs: Path = Path("runs")
) -> list[str]:
    """Turns each file in `folder` into its results; what was written, a line each.

    Raises:
        UserError: there is nothing in `folder` that a call left.
    """
    done: list[str] = []
    if latency := _read(folder, "latency"):
        # Larger pictures and batches are rows of the same table.
        for row in (_read(folder, "sizes") or {}).get("rows", ()):
            latency["rows"].append(row)
        report.write(latency, results / "gpu-latency")
        report.draw(latency, results / "gpu-latency")
        done.append(f"{results}/gpu-latency.json, .md and .png")
    if lowerings := _read(folder, "lowerings"):
        done.append(_write(results / "gpu-lowerings.md", lowerings_table(lowerings)))
    trainings = [_read(folder, path.stem) for path in sorted(folder.glob("train-*"))]
    checks, rates = _read(folder, "correct"), _read(folder, "candidates")
    if rates or trainings:
        text = training_table(rates or {}, trainings)
        done.append(_write(results / "gpu-training.md", text))
    if checks:
        done.append(_write(results / "gpu-correct.md", checks_table(checks)))
    for archive in sorted(folder.glob("run-*.tar")):
        with tarfile.open(archive) as tar:
            tar.extractall(runs, filter="data")
            name = tar.getnames()[0]
        done.append(f"{runs}/{name}; score it with eval.py --ckpt {runs}/{name}")
    if not done:
        raise UserError(f"{folder} holds nothing that call1 or call2 left.")
    return done


def _read(folder: Path, part: str) -> dict[str, Any] | None:
    path = folder / f"{part}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def _state(found: dict[str, Any]) -> str:
    """A sentence where a part did not end well: what it had is not all."""
    if found.get("state") == "done":
        return ""
    return f"\nThis part is not whole: {found.get('state')}, {found.get('why')}.\n"


def lowerings_table(found: dict[str, Any]) -> str:
    """Every variant of a network: times, kernels and launches of a call."""
    header, rows = found["header"], []
    for row in found["rows"]:
        name = f"| {row['model']} | {row['variant']}, {row['dtype']} |"
        if "network" not in row:
            rows.append(f"{name} {row.get('error', 'not timed')} | | | | | |")
            continue
        launches, times = row.get("launches") or {}, row["network"]
        equal = row.get("agreement")
        rows.append(
            f"{name} {times['p50_ms']:.3f} | {times['p90_ms']:.3f} | "
            f"{times['min_ms']:.3f} | {row.get('kernels') or ''} | "
            f"{launches.get('GraphLaunch', 0):.0f} + "
            f"{launches.get('LaunchKernel', 0):.0f} | "
            f"{'' if equal is None else f'{equal:.3%}'} |"
        )
    size = f"{found['rows'][0]['size']}, batch {found['rows'][0]['batch']}"
    return f"""# Lowerings on {report.device(found)}, {header["date"]}
{_state(found)}
{size}; from uint8 pixels to logits, both in the device's memory, in ms; a process
each, timed in turn; kernels and launches (of graphs + of kernels) a call by JAX's
profiler with command buffers left on; labels compared with the textbook's in float32.
jax {header["versions"]["jax"]}; {header.get("driver") or "no driver"}. Made by
{_COMMAND} from `call1`.

| network | variant | p50 | p90 | min | kernels | launches | labels equal |
|---|---|---:|---:|---:|---:|---:|---:|
{chr(10).join(rows)}
"""


def training_table(rates: dict[str, Any], trainings: list[dict[str, Any]]) -> str:
    """Images/s of every candidate and of PyTorch, and what was trained."""
    lines = []
    for network, every in rates.get("candidates", {}).items():
        best = fastest(every)
        for name, entry in every.items():
            speeds = entry["images_per_s"]
            middle = f"{statistics.median(speeds):.0f}" if speeds else ""
            kind = "PyTorch, autocast, channels_last" if name == TORCH else name
            mark = " (taken)" if best and name == best[0] else ""
            lines.append(
                f"| {network} | {kind}{mark} | {middle} | {entry.get('error', '')} |"
            )
    trained = [
        f"| {t['network']} | {t['candidate']} | {t['split']} | {t['epochs']} | "
        f"{t.get('seconds', 0):.0f} | {t['state']} {t['why']} |"
        for t in trainings
        if "network" in t
    ]
    return f"""# Training on a GPU
{_state(rates) if rates else ""}
CamVid, bfloat16, whole epochs on the device; images/s are medians of three times twenty
steps, candidates and PyTorch in turn. The fastest candidate trained. Made by
{_COMMAND} from `call2`; scores are those of eval.py, in results/camvid.md.

| network | lowering of the step | images/s | |
|---|---|---:|---|
{chr(10).join(lines)}

| network | lowering | trained on | epochs | s | how it ended |
|---|---|---|---:|---:|---|
{chr(10).join(trained)}
"""


def checks_table(found: dict[str, Any]) -> str:
    """What was compared with the authors' code and with a CPU."""
    rows = []
    for network, kinds in found["networks"].items():
        for kind, check in kinds.items():
            share = f"{check['share']:.1e}" if "share" in check else ""
            how = "right" if check.get("ok") else check.get("error", "not right")
            rows.append(
                f"| {network} | {kind} | {share} | {how} | "
                f"{check.get('seconds', 0):.0f} |"
            )
    return f"""# Whether a GPU computes the same
{_state(found)}
float32 and deployed: outputs beside the records of the authors' code, in float32;
bfloat16: the same in bfloat16; each the largest difference by the largest output. step:
what a training step changes, beside a CPU's. restored: a checkpoint's bits. Made by
{_COMMAND} from `call1`.

| network | what | difference | | s |
|---|---|---:|---|---:|
{chr(10).join(rows)}
"""
