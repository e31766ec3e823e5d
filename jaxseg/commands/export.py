"""Exports a network, checked, to a folder that others can run.

  python export.py --ckpt runs/esnet --format onnx --size 512x1024 --to out/

--to gets the exported file, from uint8 pixels (b, h, w, 3) to uint8 labels (b, h, w),
and beside it labels.txt, palette.json, report.json, a model card and run_model.py, a
script that needs NumPy, Pillow and the engine alone.

The file is run at once, by its own engine in a fresh process, on pictures of the run's
validation split, and compared with the network as it was trained. Where less than
99.9 % of the labels are equal (--int8: 95 %) nothing is left behind, and the exit code
is 1.
"""

import sys

from absl import flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CKPT = flags.DEFINE_string(
    "ckpt", None, "a run's folder, or weights that ship", required=True
)
_FORMAT = flags.DEFINE_string(
    "format", None, "onnx, stablehlo, saved_model, tflite or openvino", required=True
)
_SIZE = flags.DEFINE_string(
    "size", None, "height x width, such as 512x1024, or any", required=True
)
_TO = flags.DEFINE_string("to", None, "the folder to write", required=True)
_BATCH = flags.DEFINE_string("batch", "1", "pictures in a call: 1, or any")
_OUTPUT = flags.DEFINE_string("output", "labels", "labels or logits")
_STEP = flags.DEFINE_string("step", "best", "best, last or a step")
_INT8 = flags.DEFINE_bool("int8", False, "convolutions of 8-bit integers, for onnx")
_CALIBRATE = flags.DEFINE_string(
    "calibrate", None, "for --int8, a folder of pictures as those that will come"
)
_DATA_DIR = flags.DEFINE_string(
    "data-dir", None, "where the data lie, if not where they lay in training"
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "replace an older export")


def main() -> None:
    runtime.setup()
    from jaxseg.evaluation.agreement import Unequal
    from jaxseg.evaluation.export import export_run, parse_size

    if _BATCH.value not in ("1", "any"):
        raise UserError(f"--batch is {_BATCH.value!r}; it can be 1 or any.")
    if _INT8.value != (_CALIBRATE.value is not None):
        raise UserError(
            "--int8 and --calibrate FOLDER are given together or not at all."
        )
    try:
        report = export_run(
            _CKPT.value,
            _FORMAT.value,
            None if _SIZE.value == "any" else parse_size(_SIZE.value),
            _TO.value,
            None if _BATCH.value == "any" else 1,
            _OUTPUT.value,
            cli.step_name(_STEP.value),
            _OVERWRITE.value,
            _CALIBRATE.value,
            _DATA_DIR.value,
        )
    except Unequal as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    check = report["check"]
    print(
        f"{_TO.value}: {report['file']}, {report['bytes'] / 1e6:.1f} MB; "
        f"{100 * check['equal_labels']:.3f} % of the labels of {check['count']} "
        f"pictures ({check['pictures']}) are equal; {check['latency_ms']:.1f} ms a "
        f"picture by {check['engine']}."
    )
