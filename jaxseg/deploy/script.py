"""The script beside an export: it needs NumPy, Pillow and the engine alone."""

from jaxseg.deploy.engines import FILES
from jaxseg.ops import Pair

# A format, what its script imports, and how it makes `found` of `pixels`.
_ENGINES = {
    "onnx": (
        "import onnxruntime",
        """\
session = onnxruntime.InferenceSession(str(here / "{file}"))
(found,) = session.run(None, {{"image": pixels}})""",
    ),
    "stablehlo": (
        "from jax import export",
        """\
program = export.deserialize(bytearray((here / "{file}").read_bytes()))
found = np.asarray(program.call(pixels))""",
    ),
    "saved_model": (
        "import tensorflow as tf",
        """\
model = tf.saved_model.load(str(here / "{file}"))
run = model.signatures["serving_default"]
found = run(image=tf.constant(pixels))["{output}"].numpy()""",
    ),
    "tflite": (
        "from ai_edge_litert.interpreter import Interpreter",
        """\
network = Interpreter(str(here / "{file}"))
network.allocate_tensors()
network.set_tensor(network.get_input_details()[0]["index"], pixels)
network.invoke()
found = network.get_tensor(network.get_output_details()[0]["index"])""",
    ),
    "openvino": (
        "import openvino",
        """\
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # else some processors round more
network = openvino.compile_model(str(here / "{file}"), "CPU", exact)
found = network(pixels)[0]""",
    ),
}

_SCRIPT = '''\
"""The label map of a picture: python run_model.py picture.png labels.png"""

import json
import sys
from pathlib import Path

import numpy as np
{engine}
from PIL import Image

here, (source, target) = Path(__file__).parent, sys.argv[1:]
picture = Image.open(source).convert("RGB"){resize}
pixels = np.asarray(picture)[None]
{body}
labels = Image.fromarray(found[0]{chosen})
labels.putpalette(np.ravel(json.loads((here / "palette.json").read_text())).tolist())
labels.save(target)
'''


def script(kind: str, hw: Pair | None, output: str) -> str:
    """The text of `run_model.py` for an export of format `kind`; `hw` may be open."""
    engine, body = _ENGINES[kind]
    return _SCRIPT.format(
        engine=engine,
        resize=f".resize({(hw[1], hw[0])}, Image.Resampling.BILINEAR)" if hw else "",
        body=body.format(file=FILES[kind], output=output),
        chosen="" if output == "labels" else '.argmax(-1).astype("uint8")',
    )
