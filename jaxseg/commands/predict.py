"""Segments pictures: python predict.py --ckpt runs/esnet --input a.png --output out/

--input is a picture; a folder, whose tree is kept; a glob in quotes; a .txt file with
a path a line, or - for the same from standard input; or a video, camera:0, or the
address of a stream. It may be given several times. For a.png, out/ gets a_labels.png
(pixels are class ids, shown in the class colours), a_overlay.png, and legend.png for
all. Files that it did not write are never replaced.

  python predict.py --ckpt runs/esnet --input drive.mp4 --output seen.mp4
      a video of overlays; with a folder as --output, pictures of every frame
  python predict.py --ckpt runs/esnet --input photos/ --output out/ --shard 3/16
      every 16th picture from number 3 on, but for those that are done

A program is compiled for each size of picture. --size-step 64 pads pictures of many
sizes to multiples of 64, which are few; labels then differ a little from those of the
exact size, most near the bottom and right edges.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from absl import flags
from rich import progress

from jaxseg import cli, runtime
from jaxseg.errors import UserError

_CKPT = flags.DEFINE_string(
    "ckpt", None, "a run's folder, weights that ship, or an export", required=True
)
_INPUT = flags.DEFINE_multi_string(
    "input", None, "what to segment, see above", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "a folder, or of a video also a video", required=True
)
_STEP = flags.DEFINE_string("step", "best", "best, last or a step")
_OVERLAY = flags.DEFINE_float(
    "overlay", 0.55, "opacity of the colours in a_overlay.png; 0 writes none", 0.0, 1.0
)
_SIDE_BY_SIDE = flags.DEFINE_bool(
    "side-by-side", False, "also a_side_by_side.png: the picture and its overlay"
)
_PALETTE = flags.DEFINE_bool(
    "palette", False, "also a_palette.png: the class colours as an RGB picture"
)
_IDS = flags.DEFINE_bool(
    "ids", False, "also a_ids.png: values of the data set's own label files"
)
_CONFIDENCE = flags.DEFINE_bool(
    "confidence", False, "also a_confidence.png: softmax of the winner, 255 is certain"
)
_UNSURE = flags.DEFINE_float(
    "unsure", 0.0, "white stripes in overlays where the softmax is less", 0.0, 1.0
)
_JSON = flags.DEFINE_string(
    "json", None, "the share of each class in each picture, to this file"
)
_TILES = flags.DEFINE_string(
    "tiles", None, "HEIGHTxWIDTH: larger pictures tile by tile, with 128 pixels overlap"
)
_SHARD = flags.DEFINE_string(
    "shard", None, "I/N: every N-th picture from I on, 0 to N - 1, but those done"
)
_RUNTIME = flags.DEFINE_string(
    "runtime", "xla", "xla, onnxruntime, openvino, or auto: the fastest for the first"
)
_SIZE_STEP = flags.DEFINE_integer(
    "size-step", 8, "pad pictures to multiples of this, itself a multiple of 8"
)


def main() -> None:
    runtime.setup()
    from jaxseg.inference.predict import predict
    from jaxseg.inference.results import Wanted

    if _SIZE_STEP.value < 8 or _SIZE_STEP.value % 8:
        raise UserError(f"--size-step is {_SIZE_STEP.value}; it is a multiple of 8.")
    done = predict(
        _CKPT.value,
        _INPUT.value,
        _OUTPUT.value,
        cli.step_name(_STEP.value),
        Wanted(
            overlay=_OVERLAY.value,
            side_by_side=_SIDE_BY_SIDE.value,
            palette=_PALETTE.value,
            ids=_IDS.value,
            confidence=_CONFIDENCE.value,
            unsure=_UNSURE.value,
        ),
        size_step=_SIZE_STEP.value,
        tiles=_tiles(),
        shard=_shard(),
        shares=_JSON.value,
        runtime=_RUNTIME.value,
        progress=_bar,
    )
    before = f", {done.there} had been before" if done.there else ""
    print(f"{done.pictures} segmented{before}, in {_OUTPUT.value}")
    if _RUNTIME.value == "auto" and done.pictures:
        print(f"By {done.runtime}.")
    if done.pictures > 1:
        print(f"{done.rate:.1f} a second; busy: {done.busy.shares()} of the time.")


class _PerSecond(progress.ProgressColumn):
    def render(self, task: progress.Task) -> str:
        return f"{task.speed:.1f}/s" if task.speed else ""


def _bar(items: Iterable[Any], total: int | None) -> Iterator[Any]:
    columns = (
        progress.TextColumn("Segmenting"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        _PerSecond(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, transient=True) as bar:
        yield from bar.track(items, total=total)


def _tiles() -> tuple[int, int] | None:
    if _TILES.value is None:
        return None
    from jaxseg.inference.tiles import OVERLAP

    match = re.fullmatch(r"(\d+)x(\d+)", _TILES.value)
    hw = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(hw) <= OVERLAP or any(n % 8 for n in hw):
        raise UserError(
            f"--tiles is {_TILES.value!r}; give height x width, multiples of 8 above "
            f"{OVERLAP}, as 1024x2048."
        )
    return hw


def _shard() -> tuple[int, int] | None:
    if _SHARD.value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", _SHARD.value)
    number, count = map(int, match.groups()) if match else (0, 0)
    if number >= count:
        raise UserError(
            f"--shard is {_SHARD.value!r}; give I/N with I from 0 to N - 1."
        )
    return number, count
