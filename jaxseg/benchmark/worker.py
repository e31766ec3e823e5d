"""One job in a process of its own: `python -m jaxseg.benchmark.worker < job.json`.

A job is the keyword arguments of a function of this file and its name, as `task`. One
line of JSON comes back: what the function returned, or `error`, or `absent`.
"""

import json
import re
import sys
import time
import traceback
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg import runtime as process
from jaxseg.benchmark import timing
from jaxseg.benchmark.runtimes import RUNTIMES, Absent, Workload

# Of the pixels, in float32, between every runtime and the network as it was trained.
_AGREEMENT_LEAST = 0.999


def machine() -> dict[str, Any]:
    """The device as JAX sees it, and its ceilings, measured with all its threads."""
    import jax
    import jax.numpy as jnp

    device = jax.devices()[0]
    n, m = (2048, 2**25) if device.platform == "cpu" else (8192, 2**28)

    def least_seconds(f, *args):
        times = []
        for _ in range(6):
            begin = time.perf_counter()
            jax.block_until_ready(f(*args))
            times.append(time.perf_counter() - begin)
        return min(times)

    ceilings = {}
    for dtype, kind, precision in (
        ("float32", jnp.float32, "highest"),
        ("tf32", jnp.float32, "tensorfloat32"),
        ("bfloat16", jnp.bfloat16, None),
    ):
        if dtype == "tf32" and device.platform == "cpu":
            continue

        @jax.jit
        def multiply(a, precision=precision):
            return jnp.dot(
                a, a, precision=precision, preferred_element_type=jnp.float32
            )

        a = jax.random.normal(jax.random.key(0), (n, n)).astype(kind)
        ceilings[f"{dtype}_gflop_per_s"] = 2e-9 * n**3 / least_seconds(multiply, a)
    x = jnp.arange(m, dtype=jnp.float32)
    triad = least_seconds(jax.jit(lambda x, y: x + 2 * y), x, jnp.ones_like(x))
    ceilings["memory_gb_per_s"] = 3e-9 * x.nbytes / triad
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "backend": device.client.platform_version,
        "ceilings": ceilings,
    }


def prepare(
    work: dict[str, Any], ckpt: str | None, export: bool, check: bool
) -> dict[str, Any]:
    """Fills the workload's folder; parameters and GMAC (of a picture) of the network.

    The labels to compare with are those of the network as it was trained, neither
    folded nor lowered to anything but one `lax` call a primitive.
    """
    import jax

    from jaxseg import models
    from jaxseg.benchmark import workload
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.deploy.predictor import OUTPUTS, segment
    from jaxseg.models.sizes import padded_hw
    from jaxseg.models.summary import stages
    from jaxseg.ops import Lowering, lowering
    from jaxseg.runs import Run

    given = Workload(**work)
    folder, hw = Path(given.folder), (given.hw[0], given.hw[1])
    network = models.create(**{**given.model, "dtype": "float32"})
    variables = Run(ckpt).variables()[0] if ckpt else workload.draw_weights(network)
    preprocess = Preprocess(**given.preprocess)
    images = workload.draw_images(hw, given.batch)
    workload.save_weights(given.folder, variables)
    np.save(folder / "images.npy", images)
    if check:
        with (
            lowering(Lowering("textbook")),
            jax.default_matmul_precision("highest"),
        ):
            logits = jax.jit(
                lambda x: segment(network, variables, preprocess, x, "logits")
            )
            labels = [np.asarray(logits(x).argmax(-1)) for x in images]
        np.save(folder / "labels.npy", np.stack(labels).astype(np.uint8))
    parts = stages(network, padded_hw(preprocess.network_hw(*hw)))
    facts: dict[str, Any] = {
        "parameters": sum(part.parameters for part in parts),
        "gmac": 1e-9 * sum(part.macs for part in parts),
    }
    try:
        for output, join in product(OUTPUTS, (False, True)) if export else ():
            from jaxseg.deploy.onnx import export_onnx

            graph = export_onnx(
                network, variables, preprocess, hw, output, join, given.batch
            )
            Path(given.onnx(output, join)).write_bytes(graph.SerializeToString())
    except Exception as error:  # The peers' rows say it; ours do not need the graph.
        facts["export_error"] = f"no ONNX graph: {_sentence(error)}"
    return facts


def latency(
    runtime: str, work: dict[str, Any], calls: int, patience_s: float, check: bool
) -> dict[str, Any]:
    """Times a runtime end to end, then its network alone; see `timing.measure`."""
    given = Workload(**work)
    build = RUNTIMES[runtime].load(given)
    inputs = list(np.load(Path(given.folder) / "images.npy"))
    begin = time.perf_counter()
    network = build("labels")
    network.call(inputs[0])
    result = {"compile_s": time.perf_counter() - begin, "settings": network.settings}
    if check:
        labels = np.load(Path(given.folder) / "labels.npy")
        share = np.mean([network.call(x) == y for x, y in zip(inputs, labels)])
        result["agreement"] = float(share)
        if given.dtype == "float32" and share < _AGREEMENT_LEAST:
            error = f"{share:.3%} of the labels are right, {_AGREEMENT_LEAST:.1%} must"
            return {**result, "error": error}
    result["end_to_end"] = timing.measure(network.call, inputs, calls, patience_s)
    memory = network.device_bytes() or resident_bytes()
    result["peak_memory_mb"] = memory and memory / 1e6
    network = build("logits")
    resident = [network.put(x) for x in inputs]
    result["network"] = timing.measure(network.run, resident, calls, patience_s)
    return {**result, "bytes_moved": network.bytes_moved}


def resident_bytes() -> int | None:
    """The most memory that this process had; None where the kernel does not say."""
    # Not ru_maxrss: a process starts with its parent's, which may be larger.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    # Not every kernel says: sandboxes have some of their own.
    most = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(most[1]) if most else None


def _sentence(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


_TASKS = {task.__name__: task for task in (machine, prepare, latency)}


def main() -> None:
    """Does the job on standard input, with the allocator that all runtimes get."""
    tuned = process.tune_allocator()
    job = json.load(sys.stdin)
    try:
        result = _TASKS[job.pop("task")](**job)
    except Absent as reason:
        result = {"absent": str(reason)}
    except Exception as error:  # Whatever a peer does wrong belongs in its row.
        traceback.print_exc()
        result = {"error": _sentence(error)}
    print(json.dumps({"allocator_tuned": tuned, **result}), flush=True)


if __name__ == "__main__":
    main()
