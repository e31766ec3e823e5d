"""Times the networks, beside other runtimes: python benchmark.py --check

  python benchmark.py --models fddwnet,dabnet --sizes 512x1024,1024x2048 --peers none
      lists are written with commas
  python benchmark.py --ckpt runs/esnet,runs/dabnet --sizes 360x480 --output out/mine
      runs' networks and weights; the picture shows their scores beside their latency
  python benchmark.py --compare results/cpu-latency.json --fail-above 10%
      exits with 1 where we got slower than that

Every row is the median of several processes in which a runtime runs alone, in turn with
the others. Writes OUTPUT.json, OUTPUT.md and, if matplotlib is installed, OUTPUT.png.
Peers that are not installed (pip install '.[peers]') are rows that say so.
"""

import re
import sys

from absl import flags

from jaxseg.errors import UserError

_MODELS = flags.DEFINE_list("models", ["all"], "networks, with commas, or all")
_SIZES = flags.DEFINE_list("sizes", ["512x1024"], "height x width, with commas")
_BATCH = flags.DEFINE_integer("batch", 1, "pictures in a call")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "with commas")
_PEERS = flags.DEFINE_list(
    "peers", ["auto"], "auto, none, or of onnxruntime, openvino, torch, torch_compile"
)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "processes a row")
_CALLS = flags.DEFINE_integer(
    "calls", None, "timed calls in a process; by default 50 on a CPU, else 200"
)
_PATIENCE = flags.DEFINE_float(
    "patience", 30.0, "seconds that a process may wait for other processes to be quiet"
)
_CHECK = flags.DEFINE_bool(
    "check", False, "before timing, compare label maps with the unfolded network's"
)
_CKPT = flags.DEFINE_list(
    "ckpt", [], "runs' folders or weights that ship, in place of --models"
)
_OUTPUT = flags.DEFINE_string(
    "output",
    "results/PLATFORM-latency",
    "files, without suffix; PLATFORM is cpu or gpu",
)
_COMPARE = flags.DEFINE_string("compare", None, "a report (JSON) to compare with")
_FAIL_ABOVE = flags.DEFINE_string("fail-above", "10%", "growth that is a failure")


def main() -> None:
    from jaxseg import models
    from jaxseg.benchmark.command import measure_and_report
    from jaxseg.benchmark.latency import Plan
    from jaxseg.benchmark.runtimes import PEERS

    limit = re.fullmatch(r"(\d+(?:\.\d+)?)%", _FAIL_ABOVE.value)
    if not limit:
        raise UserError(f"--fail-above is {_FAIL_ABOVE.value!r}; give it as 10%.")
    if _CKPT.value and _MODELS.present:
        raise UserError("--ckpt says which networks; leave --models out.")
    named: dict[tuple[str, ...], tuple[str, ...]] = {("auto",): PEERS, ("none",): ()}
    peers = named.get(tuple(_PEERS.value), _PEERS.value)
    every = models.names() if _MODELS.value == ["all"] else _MODELS.value
    plan = Plan(
        networks=tuple(every),
        sizes=tuple(map(_size, _SIZES.value)),
        batch=_BATCH.value,
        dtypes=tuple(_DTYPES.value),
        peers=tuple(peers),
        rounds=_ROUNDS.value,
        calls=_CALLS.value,
        patience_s=_PATIENCE.value,
        check=_CHECK.value,
        ckpts=tuple(_CKPT.value),
    )
    percent = float(limit[1])
    if not measure_and_report(plan, _OUTPUT.value, _COMPARE.value, percent / 100):
        sys.exit(1)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not int(match[1]) * int(match[2]):
        raise UserError(f"--sizes has {text!r}; give height x width, as 512x1024.")
    return int(match[1]), int(match[2])
