"""What only a GPU can decide: one lowering against another, in OUTPUT.

python -m tools.lowerings OUTPUT [--size 512x1024] [NETWORK ...]

Every network runs, labels from pixels on the device, with each of `VARIANTS`, each in a
process of its own. The table has the times, and what a call launches by the profiler.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from jaxseg import models, runtime
from jaxseg.benchmark import timing

CALLS, PROFILED, PATIENCE_S = 200, 5, 10.0
# XLA leaves convolutions out of its command buffers by default.
CAPTURED = "--xla_gpu_enable_command_buffer=+CONVOLUTION"
PROFILED_AS_RUN = "--xla_enable_command_buffers_during_profiling=true"

# name: (dtype, what differs from the lowering of `Predictor`, XLA's flags)
VARIANTS = {
    "dots": ("bfloat16", dict(dots=True), ""),
    "dots, barriers": ("bfloat16", dict(dots=True, barriers=True), ""),
    "dots, float16": ("float16", dict(dots=True), ""),
    "dots, pairs apart": ("bfloat16", dict(dots=True, join_pairs=False), ""),
    "convolutions": ("bfloat16", dict(dots=False), ""),
    "convolutions captured": ("bfloat16", dict(dots=False), CAPTURED),
    "convolutions captured, float16": ("float16", dict(dots=False), CAPTURED),
}


def measure(name: str, variant: str, hw: tuple[int, int]) -> dict:
    """Times one variant in this process, then counts what it launches."""
    runtime.setup()
    import jax

    from jaxseg.benchmark.workload import draw_images, draw_weights
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.inference.predictor import Predictor
    from jaxseg.models.primitives import deployed_lowering

    dtype, changes, _ = VARIANTS[variant]
    model = models.create(name)
    weights, how = draw_weights(model), replace(deployed_lowering(), **changes)
    preprocess = Preprocess((120.0, 110.0, 100.0), (60.0, 58.0, 57.0))
    predictor = Predictor(model.clone(dtype=dtype), weights, preprocess, how=how)
    program = predictor.program(1, *hw)
    inputs = [jax.device_put(image) for image in draw_images(hw, 1)]

    def call(x):
        jax.block_until_ready(program(x))

    found = timing.measure(call, inputs, CALLS, PATIENCE_S)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(PROFILED):
                call(inputs[0])
        (trace,) = Path(folder).rglob("*.trace.json.gz")
        events = json.load(gzip.open(trace))["traceEvents"]
    launches = Counter(
        kind
        for event in events
        for kind in ("GraphLaunch", "LaunchKernel")
        if kind in event.get("name", "")
    )
    kernels = sum("hlo_op" in event.get("args", {}) for event in events)
    found["launches"] = {k: n / PROFILED for k, n in launches.items()}
    return {
        **found,
        "kernels": kernels / PROFILED,
        "device": jax.devices()[0].device_kind,
    }


def report(names: list[str], hw: tuple[int, int]) -> str:
    """The table, as Markdown."""
    rows, device = [], "?"
    for name, variant in track([(n, v) for n in names for v in VARIANTS], "Lowerings"):
        flags = f"{os.environ.get('XLA_FLAGS', '')} {VARIANTS[variant][2]}"
        worker = [sys.executable, "-m", "tools.lowerings", "--worker", name, variant]
        done = subprocess.run(
            [*worker, *map(str, hw)],
            env={**os.environ, "XLA_FLAGS": f"{flags} {PROFILED_AS_RUN}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            rows.append(f"| {name} | {variant} | failed, see the log | | | | |")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        device, launches = found["device"], found["launches"]
        rows.append(
            f"| {name} | {variant} | {found['p50_ms']:.3f} | {found['min_ms']:.3f} | "
            f"{found['kernels']:.0f} | {launches.get('GraphLaunch', 0):.1f} | "
            f"{launches.get('LaunchKernel', 0):.1f} |"
        )
    return f"""# Lowerings on {device}

{hw[0]}x{hw[1]}, batch 1, from uint8 pixels on the device to labels there; {CALLS} calls
of a process; {time.strftime("%Y-%m-%d")}. Kernels and launches are a call's, by JAX's
profiler with command buffers left on. Made by
`python -m tools.lowerings {" ".join(sys.argv[1:])}`.

| network | variant | p50 ms | min ms | kernels | graph launches | kernel launches |
|---|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}
"""


def size(text: str) -> tuple[int, int]:
    """Height and width of "512x1024"."""
    h, w = map(int, text.split("x"))
    return h, w


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("networks", nargs="*", metavar="NETWORK")
    parser.add_argument("--size", type=size, default="512x1024")
    flags = parser.parse_intermixed_args()
    if unknown := set(flags.networks) - set(models.names()):
        parser.error(f"no network is called {', '.join(unknown)}")
    flags.output.write_text(report(flags.networks or models.names(), flags.size))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        name, variant, h, w = sys.argv[2:]
        print(json.dumps(measure(name, variant, (int(h), int(w)))))
    else:
        main()
