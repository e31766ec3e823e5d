"""One process of the latency part: a runtime with a network, held ready.

python -m tools.gpu.work WORK, where WORK is JSON, the fields of `Work`: compiles, says
so, and times what it is asked on standard input. `--machine` in its place holds the
measurement of the machine's ceilings.
"""

import gzip
import json
import os
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
from jaxseg.benchmark import workload
from jaxseg.benchmark.runtimes import OURS, RUNTIMES, Workload
from jaxseg.ops import Pair
from jaxseg.runtime import setup
from tools.gpu.held import answer_questions, core, reply

PROFILED = 5
PREPROCESS = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}


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

    @classmethod
    def of(cls, given: dict[str, Any]) -> "Work":
        """The work that JSON describes."""
        pairs = {"hw": tuple(given["hw"]), "dtypes": tuple(given["dtypes"])}
        return cls(**{**given, **pairs})

    @property
    def title(self) -> str:
        """The name of its process and of the files that it writes."""
        hw = f"{self.hw[0]}x{self.hw[1]}"
        name = f"{self.network}-{hw}-{self.batch}-{self.runtime}"
        return name + (f"-{self.variant.replace(' ', '-')}" if self.variant else "")


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
            asked = Workload(**{**asdict(base), "dtype": dtype, "platform": platform()})
            load = RUNTIMES[work.runtime].load
            build = load(asked, **({"how": work.how} if work.how else {}))
            building[dtype] = [
                pool.submit(_built, build, output, images)
                for output in ("labels", "logits")
            ]
        for dtype, (whole, alone) in building.items():
            network, labels, took = whole.result()
            held[dtype] = network, *alone.result()[:2]
            np.save(folder / f"{work.title}-{dtype}.npy", labels)
            facts[dtype] = {"compile_s": took, "settings": network.settings}
        if textbook:
            np.save(folder / f"{work.title}-textbook.npy", textbook.result())
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
    with core():
        begin = time.perf_counter()
        network = build(output)
        if output == "labels":
            found = [np.asarray(network.call(image)) for image in images]
            return network, found, time.perf_counter() - begin
        resident = [network.put(image) for image in images]
        network.run(resident[0])
        return network, resident, time.perf_counter() - begin


def platform() -> str:
    """The platform that this part is for, as `gpu_run` was told."""
    return os.environ["JAXSEG_GPU_PLATFORM"]


def _write_inputs(base: Workload, weights: Any, graph: bool) -> None:
    workload.save_weights(base.folder, weights)
    if not graph:
        return
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.deploy.onnx import export_onnx

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
    from jaxseg.deploy.predictor import segment
    from jaxseg.ops import Lowering, lowering

    network, preprocess = models.create(work.network), Preprocess(**PREPROCESS)
    exact = jax.default_matmul_precision("highest")
    with core(), lowering(Lowering("textbook")), exact:
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
    if runtime_name != OURS or platform() == "cpu":
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


def _hold_machine() -> None:
    """The process that measures the ceilings of the machine, when nothing else runs."""
    import jax

    from jaxseg.benchmark.worker import machine

    jax.devices()
    reply({"ready": True})
    answer_questions(lambda: machine)


if __name__ == "__main__":
    if sys.argv[1] == "--machine":
        _hold_machine()
    else:
        hold(Work.of(json.loads(sys.argv[1])))
