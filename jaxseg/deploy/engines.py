"""Exported networks, each opened in its own engine.

An engine is the package that runs a format: onnxruntime, OpenVINO, JAX for StableHLO,
TensorFlow, LiteRT. They are imported when they are needed, so that each export needs
its own alone.
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np

from jaxseg.errors import UserError
from jaxseg.ops import Pair

# A format and the file, or folder, that an export has in it.
FILES = {
    "onnx": "model.onnx",
    "stablehlo": "model.stablehlo",
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "openvino": "model.xml",
}


@dataclass(frozen=True)
class Engine:
    """A network in memory: uint8 `(b, h, w, 3)` to its output.

    The output is labels, uint8 `(b, h, w)`, or float32 logits `(b, h, w, k)`.

    Attributes:
        name: the package that runs it and its version, "onnxruntime 1.31.1".
        hw: height and width that it takes; None where they are open.
        batch: the number of pictures of a call; None where it is open.
        output: "labels" or "logits".
        call: as this object's own, without a look at what is given.
    """

    name: str
    hw: Pair | None
    batch: int | None
    output: str
    call: Callable[[np.ndarray], np.ndarray]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The output in host memory.

        Raises:
            ValueError: `image` has another dtype, number of pictures or size than the
                network takes.
        """
        h, w = self.hw or ("h", "w")
        wanted = (self.batch or "b", h, w, 3)
        fits = image.ndim == 4 and all(
            isinstance(n, str) or n == m for n, m in zip(wanted, image.shape)
        )
        if image.dtype != np.uint8 or not fits:
            shape = ", ".join(map(str, wanted))
            raise ValueError(
                f"this network takes uint8 ({shape}), got {image.dtype} {image.shape}."
            )
        return np.asarray(self.call(image))


def open_engine(path: str | os.PathLike) -> Engine:
    """Opens an exported file, or the folder that export.py wrote.

    Raises:
        UserError: it is none, is damaged, or the package that runs it is missing.
    """
    kind, file = find(path)
    try:
        return _OPEN[kind](file)
    except UserError:
        raise
    except Exception as error:  # each engine has kinds of its own for a damaged file
        text = " ".join(str(error).split())[:200]
        raise UserError(f"{file} cannot be opened as {kind} ({text}).") from error


def find(path: str | os.PathLike) -> tuple[str, Path]:
    """The format of an exported network, and its file.

    Args:
        path: the file, or for a SavedModel its folder; or the folder around them.

    Raises:
        UserError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model", path
        for kind, name in FILES.items():
            if (path / name).exists():
                return kind, path / name
    suffixes = {Path(name).suffix: kind for kind, name in FILES.items()}
    if path.is_file() and path.suffix in suffixes:
        return suffixes[path.suffix], path
    known = ", ".join(filter(None, suffixes))
    raise UserError(
        f"{path} is no exported network; give the folder that export.py wrote, or a "
        f"file of the kinds {known}."
    )


def is_exported(path: str | os.PathLike) -> bool:
    """True of what `open_engine` would try to open."""
    try:
        return bool(find(path))
    except UserError:
        return False


def require(module: str, extra: str) -> Any:
    """The module, imported.

    Raises:
        UserError: it is not installed, and which of jaxseg's extras brings it.
    """
    if module == "tensorflow":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if module == "openvino":
        # It goes without this, which when imported forks a process to report that it
        # was; JAX's threads make a fork dangerous.
        sys.modules.setdefault("openvino_telemetry", cast(Any, None))
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs the package {module.split('.')[0]}, which is not installed "
            f"({error}): pip install '.[{extra}]'."
        ) from error
    if module == "tensorflow":  # or it would take an accelerator's memory for itself
        found.config.set_visible_devices([], "GPU")
    return found


def onnxruntime_engine(model: Path | bytes) -> Engine:
    """An ONNX model, in a file or in memory, run by onnxruntime on the CPU."""
    ort = require("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    given = model if isinstance(model, bytes) else str(model)
    session = ort.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    (taken,), (made,) = session.get_inputs(), session.get_outputs()

    def call(image: np.ndarray) -> np.ndarray:
        return session.run(None, {taken.name: image})[0]

    numbers = [n if isinstance(n, int) else None for n in taken.shape]
    return _engine(_name("onnxruntime"), numbers, len(made.shape), call)


def openvino_engine(model: Path | bytes) -> Engine:
    """An ONNX model or OpenVINO's IR, in a file or in memory, run on the CPU."""
    openvino = require("openvino", "openvino")
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": _threads(),
        "NUM_STREAMS": 1,
        # By default it takes bfloat16 where the processor has instructions for it.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    given = model if isinstance(model, bytes) else str(model)
    compiled = core.compile_model(core.read_model(given), "CPU", settings)
    request = compiled.create_infer_request()

    def call(image: np.ndarray) -> np.ndarray:
        return request.infer([image], share_inputs=True)[0]

    taken, made = compiled.input(0).partial_shape, compiled.output(0).partial_shape
    numbers = [n.get_length() if n.is_static else None for n in taken]
    return _engine(_name("openvino"), numbers, len(made), call)


def _stablehlo(path: Path) -> Engine:
    import jax
    from jax import export

    exported = export.deserialize(bytearray(path.read_bytes()))
    (taken,), (made,) = exported.in_avals, exported.out_avals
    numbers = [n if isinstance(n, int) else None for n in taken.shape]
    return _engine(_name("jax"), numbers, made.ndim, jax.jit(exported.call))


def _saved_model(path: Path) -> Engine:
    tf = require("tensorflow", "tensorflow")
    loaded = tf.saved_model.load(str(path))
    run = loaded.signatures["serving_default"]
    ((name, taken),) = run.structured_input_signature[1].items()
    ((result, made),) = run.structured_outputs.items()

    # The signature alone does not keep the model's constants.
    def call(image: np.ndarray, kept: Any = loaded) -> np.ndarray:
        return run(**{name: tf.constant(image)})[result].numpy()

    engine = _name("tensorflow", "tensorflow-cpu")
    return _engine(engine, taken.shape.as_list(), len(made.shape), call)


def _tflite(path: Path) -> Engine:
    litert = require("ai_edge_litert.interpreter", "tflite")
    interpreter = litert.Interpreter(str(path), num_threads=_threads())
    interpreter.allocate_tensors()
    (taken,), (made,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )

    def call(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(taken["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(made["index"])

    engine = _name("ai-edge-litert")
    return _engine(engine, taken["shape"].tolist(), len(made["shape"]), call)


_OPEN: dict[str, Callable[[Path], Engine]] = {
    "onnx": onnxruntime_engine,
    "stablehlo": _stablehlo,
    "saved_model": _saved_model,
    "tflite": _tflite,
    "openvino": openvino_engine,
}


def _engine(
    name: str,
    shape: list[int | None],
    rank: int,
    call: Callable[[np.ndarray], np.ndarray],
) -> Engine:
    """An engine, from the shape of its input and the rank of its output."""
    if len(shape) != 4 or rank not in (3, 4):
        raise ValueError(
            f"its input has {len(shape)} axes and its output {rank}; pictures have 4, "
            "labels 3 and logits 4: export.py did not write it"
        )
    b, h, w, _ = shape
    hw = None if h is None or w is None else (h, w)
    return Engine(name, hw, b, "labels" if rank == 3 else "logits", call)


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _name(*packages: str) -> str:
    """The first of these that is installed, and its version."""
    for package in packages:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        return f"{packages[0]} {version}"
    return packages[0]
