"""Export formats, and how a network is written in each.

All of them are the function `segment` of the folded network, under the textbook
lowering: on every machine the engine that runs it chooses the arithmetic.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.engines import FILES, require
from jaxseg.deploy.int8 import quantize
from jaxseg.deploy.predictor import deploy, segment
from jaxseg.errors import UserError
from jaxseg.ops import Lowering, Pair, lowering

PLATFORMS = ("cpu", "cuda", "tpu")


@dataclass(frozen=True)
class Job:
    """A network to write down, and for what pictures.

    Attributes:
        model, variables, preprocess: as trained.
        hw: height and width of the pictures; a single number, to whose multiples they
            are padded, leaves both open. See `export_onnx`.
        batch: pictures in a call; None leaves their number open.
        output: "labels" or "logits".
        calibration: pictures, uint8 `(h, w, 3)`, whose maps have the ranges for
            convolutions of 8-bit integers; without any they are float32.
    """

    model: nn.Module
    variables: Any
    preprocess: Preprocess
    hw: Pair | int
    batch: int | None = 1
    output: str = "labels"
    calibration: tuple[np.ndarray, ...] = ()

    @property
    def fixed_hw(self) -> Pair:
        """`hw`, in a format that cannot leave it open."""
        return cast(Pair, self.hw)

    def function(self, **how_else: bool) -> Callable[[jax.Array], jax.Array]:
        """uint8 `(b, h, w, 3)` to the output, in JAX's own operations."""
        how = Lowering("textbook", join_pairs=False, **how_else)
        with lowering(how):
            network, weights = deploy(
                self.model, self.variables, self.preprocess, self.fixed_hw
            )

        def run(image: jax.Array) -> jax.Array:
            with lowering(how):
                y = segment(network, weights, self.preprocess, image, self.output)
                return cast(jax.Array, y)

        return run


def _onnx(job: Job, path: Path) -> None:
    path.write_bytes(_graph(job).SerializeToString())
    if job.calibration:
        quantize(path, job.calibration)


def _graph(job: Job, join_pairs: bool = False) -> Any:
    from jaxseg.deploy.onnx import export_onnx

    return export_onnx(
        *(job.model, job.variables, job.preprocess, job.hw, job.output),
        join_pairs=join_pairs,
        batch=job.batch,
    )


def _stablehlo(job: Job, path: Path) -> None:
    from jax import export

    batch = job.batch or export.symbolic_shape("b")[0]
    image = jax.ShapeDtypeStruct((batch, *job.fixed_hw, 3), jnp.uint8)
    exported = export.export(jax.jit(job.function()), platforms=PLATFORMS)(image)
    path.write_bytes(exported.serialize())


def _saved_model(job: Job, path: Path) -> None:
    tf = require("tensorflow", "tensorflow")
    module = _tensorflow_module(tf, job, PLATFORMS)
    signature = module.segment.get_concrete_function()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns that the module is no Keras model
    try:
        # An empty module: with the function in it the weights are written twice.
        tf.saved_model.save(tf.Module(), str(path), {"serving_default": signature})
    finally:
        logger.setLevel(level)


def _tflite(job: Job, path: Path) -> None:
    tf = require("tensorflow", "tflite")
    module = _tensorflow_module(tf, job, ("cpu",), even_kernels=True)
    functions = [module.segment.get_concrete_function()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, module)
    path.write_bytes(converter.convert())


def _tensorflow_module(
    tf: Any, job: Job, platforms: tuple[str, ...], **how_else: bool
) -> Any:
    """A `tf.Module` with the function `segment`."""
    from jax.experimental import jax2tf

    run = jax2tf.convert(
        job.function(**how_else),
        with_gradient=False,
        native_serialization_platforms=platforms,
    )
    image = tf.TensorSpec((job.batch, *job.fixed_hw, 3), tf.uint8, "image")
    module = tf.Module()
    named = lambda image: {job.output: run(image)}  # noqa: E731
    module.segment = tf.function(named, input_signature=[image], autograph=False)
    return module


def _openvino(job: Job, path: Path) -> None:
    openvino = require("openvino", "openvino")
    graph = path.with_suffix(".onnx")
    fixed = not isinstance(job.hw, int)  # a joined pair has a bias per pixel
    graph.write_bytes(_graph(job, join_pairs=fixed).SerializeToString())
    if job.calibration:
        quantize(graph, job.calibration)
    model = openvino.convert_model(str(graph))
    # By default weights are stored in half precision.
    openvino.save_model(model, str(path), compress_to_fp16=False)
    graph.unlink()


@dataclass(frozen=True)
class Format:
    """A way to write a network down.

    Attributes:
        write: `(job, path)`, the file or folder to make.
        needs: modules of the engine and the converter.
        extra: of jaxseg's, which brings them; "" for JAX itself.
        packages: whose versions matter to what comes out.
        open_batch: whether the number of pictures can be left open.
        open_hw: whether height and width can.
        int8: whether it has convolutions of 8-bit integers.
    """

    write: Callable[[Job, Path], None]
    needs: tuple[str, ...]
    extra: str
    packages: tuple[str, ...]
    open_batch: bool = True
    open_hw: bool = False
    int8: bool = False


FORMATS = {
    "onnx": Format(
        _onnx,
        ("onnx", "onnxruntime"),
        "onnx",
        ("onnx", "onnxruntime"),
        open_hw=True,
        int8=True,
    ),
    "stablehlo": Format(_stablehlo, (), "", ()),
    "saved_model": Format(
        _saved_model,
        ("tensorflow",),
        "tensorflow",
        ("tensorflow-cpu",),
        # JAX 0.11 asserts of an open one that it is not empty, by an operation that
        # TensorFlow 2.21 does not know.
        open_batch=False,
    ),
    "tflite": Format(
        _tflite,
        ("tensorflow", "ai_edge_litert.interpreter"),
        "tflite",
        ("tensorflow-cpu", "ai-edge-litert"),
        open_batch=False,
    ),
    "openvino": Format(
        _openvino,
        ("onnx", "openvino"),
        "openvino",
        ("openvino",),
        open_hw=True,
        int8=True,
    ),
}


def check_format(
    kind: str, batch: int | None = 1, int8: bool = False, fixed_hw: bool = True
) -> None:
    """Raises `UserError` unless this machine can write `kind`, and so as asked for."""
    if kind not in FORMATS:
        raise UserError(f"--format is {kind!r}; there are: {', '.join(FORMATS)}.")
    form = FORMATS[kind]
    for module in form.needs:
        require(module, form.extra)
    if batch is None and not form.open_batch:
        raise UserError(f"{kind} needs a fixed number of pictures; give --batch 1.")
    if not fixed_hw and not form.open_hw:
        able = " and ".join(name for name, form in FORMATS.items() if form.open_hw)
        raise UserError(f"{kind} needs a fixed --size; any is for {able}.")
    if int8 and not form.int8:
        able = " and ".join(name for name, form in FORMATS.items() if form.int8)
        raise UserError(f"{kind} leaves in float32 alone; --int8 is for {able}.")
    if int8 and not fixed_hw:
        raise UserError("--int8 needs a fixed --size, of the pictures to calibrate on.")


def write(kind: str, job: Job, folder: Path) -> Path:
    """Writes the network to `folder`, and returns the file or folder in it.

    Raises:
        UserError: a package is missing.
        ValueError: the network computes something that the format cannot say.
    """
    path = folder / FILES[kind]
    FORMATS[kind].write(job, path)
    return path
