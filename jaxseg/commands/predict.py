"""Segments pictures: python predict.py --ckpt runs/esnet --input a.png --output out/

--input is a picture or a folder of pictures of any size. For a.png, out/ gets
a_labels.png (pixels are class ids, shown in the class colours), a_overlay.png, and
legend.png for all. Files that it did not write are never replaced.

A program is compiled for each size of picture. --size-step 64 pads pictures of many
sizes to multiples of 64, which are few; labels then differ a little from those of the
exact size, most near the bottom and right edges.
"""

from absl import flags

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CKPT = flags.DEFINE_string("ckpt", None, "the run's folder", required=True)
_INPUT = flags.DEFINE_string("input", None, "a picture or a folder", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "where to write", required=True)
_STEP = flags.DEFINE_string("step", "best", "best, last or a step")
_SIZE_STEP = flags.DEFINE_integer(
    "size-step", 8, "pad pictures to multiples of this, itself a multiple of 8"
)


def main() -> None:
    runtime.setup()
    from rich.progress import track

    from jaxseg.inference.predict import predict_files

    step = cli.step_name(_STEP.value)
    if _SIZE_STEP.value < 8 or _SIZE_STEP.value % 8:
        raise UserError(f"--size-step is {_SIZE_STEP.value}; it is a multiple of 8.")
    paths = predict_files(
        _CKPT.value,
        _INPUT.value,
        _OUTPUT.value,
        step,
        lambda paths: track(paths, "Segmenting", transient=True),
        _SIZE_STEP.value,
    )
    print(f"{len(paths)} segmented, in {_OUTPUT.value}")
