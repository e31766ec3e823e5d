"""The runtimes that are compared, each at its best known settings.

Each is a function that loads the library, in a process where no other one is, and
returns another that loads a network whose output is "labels" or "logits".
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


class Absent(Exception):
    """This runtime cannot run here, and why."""


@dataclass(frozen=True)
class Workload:
    """What every runtime is given.

    Attributes:
        folder: holds `weights.npz` and the graphs that `onnx` names.
        model, preprocess: the arguments of `models.create` and of `Preprocess`.
        hw: height and width of the pictures, of which there are `batch` in a call.
        dtype: of the operands of products; one of `DTYPES`.
        platform: JAX's name of the device, "cpu" or "gpu".
    """

    folder: str
    model: dict[str, Any]
    preprocess: dict[str, Any]
    hw: tuple[int, int]
    batch: int
    dtype: str = "float32"
    platform: str = "cpu"

    def onnx(self, output: str, join_pairs: bool = False) -> str:
        """The path of what `export_onnx` makes with these arguments."""
        return str(Path(self.folder) / f"{output}{'-joined' * join_pairs}.onnx")


# tf32 is float32 whose products a GPU may round, which all libraries do by default.
DTYPES = ("float32", "tf32", "bfloat16")


def threads() -> int:
    """As many as there are cores for this process."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Network:
    """A network, loaded and ready.

    Attributes:
        settings: how it was set up, for people.
        call: from uint8 `(b, h, w, 3)` to the output, both in host memory.
        run: from what `put` made of the pictures to the output, both in the device's
            memory; returns when the output is there.
        device_bytes: the most that was in use of the device's memory, if it has its
            own.
        bytes_moved: what a call reads and writes by the compiler's count, if any.
    """

    settings: str
    call: Callable[[np.ndarray], np.ndarray]
    run: Callable[[Any], Any]
    put: Callable[[np.ndarray], Any] = lambda image: image
    device_bytes: Callable[[], int | None] = lambda: None
    bytes_moved: float | None = None


Build = Callable[[str], Network]


def _jaxseg(work: Workload, how: Mapping[str, Any] | None = None) -> Build:
    """`how`: what differs from the lowering of `Predictor`, to compare."""
    import jax

    from jaxseg import models
    from jaxseg.benchmark.workload import load_weights
    from jaxseg.data.preprocess import Preprocess
    from jaxseg.deploy.predictor import Predictor
    from jaxseg.ops import compiler_options, deployed_lowering

    device = jax.local_devices()[0]
    if device.platform != "cpu":
        precision = "highest" if work.dtype == "float32" else "tensorfloat32"
        jax.config.update("jax_default_matmul_precision", precision)
    dtype = "float32" if work.dtype == "tf32" else work.dtype
    model = models.create(**{**work.model, "dtype": dtype})
    chosen = replace(deployed_lowering(), **(how or {}))
    weights, preprocess = load_weights(work.folder), Preprocess(**work.preprocess)
    options = [f"{k}={v}" for k, v in compiler_options(dtype).items()]

    def build(output: str) -> Network:
        predictor = Predictor(model, weights, preprocess, output, chosen)
        program: Any = predictor.program(work.batch, *work.hw)
        return Network(
            ", ".join(["Predictor", *options]),
            call=lambda image: np.asarray(predictor(image)),
            run=lambda x: jax.block_until_ready(program(x)),
            put=jax.device_put,
            device_bytes=lambda: (device.memory_stats() or {}).get("peak_bytes_in_use"),
            bytes_moved=(program.func.cost_analysis() or {}).get("bytes accessed"),
        )

    return build


def _onnxruntime(work: Workload) -> Build:
    import onnxruntime as ort

    cpu = work.platform == "cpu"
    provider = "CPUExecutionProvider" if cpu else "CUDAExecutionProvider"
    if provider not in ort.get_available_providers():
        raise Absent(f"this onnxruntime has no {provider}")
    device = "cpu" if cpu else "cuda"
    asked = {} if cpu else {"use_tf32": str(int(work.dtype == "tf32"))}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    options.inter_op_num_threads = 1

    def build(output: str) -> Network:
        path = work.onnx(output)
        session = ort.InferenceSession(path, options, providers=[(provider, asked)])

        def run(x: Any) -> Any:
            binding = session.io_binding()
            binding.bind_ortvalue_input("image", x)
            binding.bind_output(output, device)
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            return binding.get_outputs()

        return Network(
            f"{provider}, all graph optimisations, {threads()} threads",
            call=lambda image: session.run(None, {"image": image})[0],
            run=run,
            put=lambda image: ort.OrtValue.ortvalue_from_numpy(image, device, 0),
        )

    return build


def _openvino(work: Workload) -> Build:
    import openvino as ov

    if work.platform != "cpu":
        raise Absent(f"OpenVINO has nothing for this {work.platform}")
    hint = "INFERENCE_PRECISION_HINT"
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
        "NUM_STREAMS": 1,
        hint: "bf16" if work.dtype == "bfloat16" else "f32",
    }

    def build(output: str) -> Network:
        path = work.onnx(output, join_pairs=True)
        compiled = ov.Core().compile_model(path, "CPU", options)
        request = compiled.create_infer_request()
        took = compiled.get_property(hint).to_string()

        def run(x: np.ndarray) -> np.ndarray:
            # What it shares is host memory: nothing is copied in or out.
            return request.infer([x], share_inputs=True, share_outputs=True)[0]

        settings = f"LATENCY, 1 stream, precision {took}, {threads()} threads"
        settings += ", depthwise pairs joined"
        return Network(settings, call=run, run=run)

    return build


def _fix_shapes(network: Any) -> None:
    """Makes numbers of the shapes that onnx2torch leaves as tensors.

    torch.compile cannot look into those.
    """
    import torch

    functions = {"OnnxReshape": torch.reshape, "OnnxExpand": torch.broadcast_to}
    for node in network.graph.nodes:
        if node.op != "call_module":
            continue
        kind = type(network.get_submodule(node.target)).__name__
        if kind in functions:
            x, shape = node.args
            shape = tuple(attrgetter(shape.target)(network).tolist())
            node.op, node.target = "call_function", functions[kind]
            node.args = x, shape
    network.recompile()


def _torch(work: Workload, compiled: bool = False) -> Build:
    import torch

    import_torchvision()
    from onnx2torch import convert
    from torch._inductor import config

    cuda = work.platform != "cpu"
    if cuda and not torch.cuda.is_available():
        raise Absent(f"this PyTorch has nothing for a {work.platform}")
    torch.set_num_threads(threads())
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = work.dtype != "float32"
    torch.backends.cuda.matmul.allow_tf32 = work.dtype != "float32"
    config.freezing, config.conv_1x1_as_mm = True, cuda
    device, rounded = "cuda" if cuda else "cpu", work.dtype == "bfloat16"
    kind = "torch.compile max-autotune with freezing" if compiled else "eager"
    if cuda and not compiled:
        kind += " in a CUDA graph"  # which max-autotune makes by itself
    cast = ", autocast to bfloat16" if rounded else ""

    def build(output: str) -> Network:
        network = convert(work.onnx(output)).eval().requires_grad_(False)
        _fix_shapes(network)
        network = network.to(device, memory_format=torch.channels_last)
        if compiled:
            network = torch.compile(network, mode="max-autotune", dynamic=False)
        elif cuda:
            network = _captured(network, (work.batch, *work.hw, 3), rounded)

        def run(x: Any) -> Any:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, rounded):
                y = network(x)
            if cuda:
                torch.cuda.synchronize()
            return y

        def put(image: np.ndarray) -> Any:
            return torch.from_numpy(image).to(device)

        return Network(
            f"{kind}, channels_last, {threads()} threads{cast}",
            call=lambda image: run(put(image)).cpu().numpy(),
            run=run,
            put=put,
            device_bytes=lambda: torch.cuda.max_memory_allocated() if cuda else None,
        )

    return build


def _captured(network: Any, shape: tuple[int, ...], rounded: bool) -> Callable:
    """`network` for uint8 pictures of `shape`, as one CUDA graph.

    What comes back is overwritten by the next call.
    """
    import torch

    for module in network.modules():
        # As autocast would in every call: rounding them is no part of the network.
        if rounded and isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.to(torch.bfloat16)
    image = torch.zeros(shape, dtype=torch.uint8, device="cuda")

    def forward() -> Any:
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16, rounded):
            return network(image)

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # libraries choose algorithms and allocate before capture
            forward()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = forward()

    def replay(x: Any) -> Any:
        image.copy_(x)
        graph.replay()
        return y

    return replay


def import_torchvision() -> None:
    """Has onnx2torch find torchvision, or a stub that does for our graphs."""
    # onnx2torch imports it for operators of detection, which nothing here has. Beside
    # a CPU build of PyTorch the one that pip finds cannot be imported.
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        stub: Any = ModuleType("torchvision")
        stub.ops, stub.roi_align = stub, None
        sys.modules.update({"torchvision": stub, "torchvision.ops": stub})


@dataclass(frozen=True)
class Runtime:
    """How a runtime is loaded, the packages and the dtypes that it has."""

    load: Callable[[Workload], Build]
    packages: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = DTYPES


_TORCH = ("onnx", "torch", "onnx2torch")
OURS = "jaxseg"
RUNTIMES = {
    OURS: Runtime(_jaxseg),
    "onnxruntime": Runtime(_onnxruntime, ("onnx", "onnxruntime"), DTYPES[:2]),
    "openvino": Runtime(_openvino, ("onnx", "openvino")),
    "torch": Runtime(_torch, _TORCH),
    "torch_compile": Runtime(partial(_torch, compiled=True), _TORCH),
}
PEERS = tuple(name for name in RUNTIMES if name != OURS)
