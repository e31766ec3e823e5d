"""What there is to do when a GPU is at hand, prepared, within a budget of seconds.

python -m tools.gpu_run pack --camvid PATH --reference PATH [--folder .gpu]
    before: wheels, recorded outputs and pictures that travel with the working tree
python -m tools.gpu_run call1 FOLDER --budget 300
    is it right, and how fast is it
python -m tools.gpu_run call2 FOLDER --budget 420
    trainings on CamVid; needs both halves of the pictures, so call1 on that machine
python -m tools.gpu_run collect FOLDER
    after: results/gpu-latency.*, gpu-lowerings.md, gpu-training.md, and runs/

FOLDER gets a JSON file per part, summary.json, logs.tar.gz and run-NETWORK.tar. Every
part is a process with its share of the budget; what fails, hangs or is out of time is
ended and the next begins. --dry-run does the same on a CPU, with pictures of 64x128.
"""

import argparse
import ctypes
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from jaxseg import models
from jaxseg.errors import UserError
from tools.gpu import pack
from tools.gpu.budget import Part, run_parts
from tools.gpu.training import Plan
from tools.gpu.work import Work

# Cheapest first, by the multiply-accumulates in results/parity.md.
CHEAPEST = (
    *("liteseg_shufflenet", "liteseg_mobilenet", "fpenet", "fddwnet", "dabnet"),
    *("esnet", "liteseg_darknet"),
)
COMPILED = ("dabnet", "fddwnet", "esnet")  # by torch.compile, which takes minutes
CLOSER = ("dabnet", "fddwnet")  # of which several lowerings are compared
CALLS = 200

# name: (dtype, what differs from the lowering of `Predictor`, XLA's flags). XLA leaves
# convolutions out of its command buffers by default.
_CAPTURED = "--xla_gpu_enable_command_buffer=+CONVOLUTION"
_FUSED = "--xla_gpu_experimental_enable_conv_fusion=true"
VARIANTS = {
    "products": ("bfloat16", dict(dots=True), ""),
    "products with barriers": ("bfloat16", dict(dots=True, barriers=True), ""),
    "products in float16": ("float16", dict(dots=True), ""),
    "convolutions": ("bfloat16", dict(dots=False), ""),
    "convolutions captured": ("bfloat16", dict(dots=False), _CAPTURED),
    "convolutions fused": ("bfloat16", dict(dots=False), _FUSED),
}


def gpus() -> int:
    """How many GPUs the driver has; asked without JAX, which takes seconds."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _age_s() -> float:
    """Seconds since this process began, whose imports are of the budget too."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    begun = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - begun


def call1(flags: argparse.Namespace) -> list[Part]:
    """Is it right, how fast is it; the most valuable part first."""
    small = flags.dry_run
    hw, large = ((64, 128), (128, 256)) if small else ((512, 1024), (1024, 2048))
    calls = 3 if small else CALLS
    dtypes = ("bfloat16", "float32" if small else "tf32")
    networks = tuple(n for n in CHEAPEST if n in flags.networks)
    compiled, closer, chosen = COMPILED, CLOSER, VARIANTS
    shares = 0.25, 0.35, 0.22, 0.18
    if small:  # two cores compile what sixteen would
        shares = 0.5, 0.3, 0.08, 0.12
        dtypes, compiled, closer = dtypes[:1], compiled[:1], closer[:1]
        chosen = {name: VARIANTS[name] for name in ("products", "convolutions")}
    sides = [Work(n, "jaxseg", hw, 1, dtypes) for n in networks]
    sides += [Work(n, "torch", hw, 1, dtypes[:1]) for n in networks]
    sides += [
        Work(n, "torch_compile", hw, 1, dtypes[:1]) for n in compiled if n in networks
    ]
    closer = [n for n in closer if n in networks]
    variants = [
        Work(n, "jaxseg", hw, 1, (dtype,), variant, how, xla)
        for n in closer
        for variant, (dtype, how, xla) in chosen.items()
    ]
    sizes = [
        Work(n, side, size, batch, dtypes[:1])
        for n in closer
        for size, batch in ((large, 1), (hw, 8))
        for side in ("jaxseg", "torch")
    ]
    asked = {
        "networks": networks,
        "reference": str(flags.packed / "reference"),
        "inputs": ["a"] if small else ["a", "b", "large"],
    }
    correct = "-m", "tools.gpu.correct", json.dumps(asked)
    return [
        Part("correct", correct, shares[0], start="call"),
        _timed("latency", sides, calls, shares[1], "call"),
        _timed("lowerings", variants, calls, shares[2], "correct"),
        _timed("sizes", sizes, calls, shares[3], "latency"),
    ]


def _timed(name: str, works: list[Work], calls: int, share: float, start: str) -> Part:
    plan = json.dumps({"works": [asdict(work) for work in works], "calls": calls})
    arguments = "-m", "tools.gpu.latency", plan
    return Part(name, arguments, share, start=start)


def call2(flags: argparse.Namespace) -> list[Part]:
    """Trainings on CamVid, in the order in which they were asked for."""
    camvid = flags.scratch / "camvid"
    missing = pack.unpack(flags.packed, camvid)
    if missing:
        raise UserError(
            f"{' and '.join(missing)} of CamVid's pictures did not come to {camvid}: "
            f"each call carries one half, in {flags.packed}, and call1 comes first."
        )
    networks = flags.networks[: flags.trainings]
    share = 0.65 / len(networks)
    small = {}
    if flags.dry_run:
        crop = [["augment.crop_hw", [64, 128]], ["train.batch_size", 4]]
        small = dict(overrides=crop, epochs=2, torch_hw=[64, 128], torch_batch=4)
        # The others differ in flags that are a GPU's alone.
        small |= dict(steps=5, candidates=("convolutions", "products"))
    plan = Plan(
        networks=networks,
        data=str(camvid),
        torch=networks[:1],
        seconds_each=share * flags.budget,
        **small,
    )
    text = json.dumps(asdict(plan))
    module = "-m", "tools.gpu.training"
    measured = Part("candidates", (*module, "candidates", text), 0.35, start="call")
    trainings = [
        Part(
            f"train-{network}",
            (*module, "train", network, text),
            share,
            start="candidates",
            keeps=("run-*.tar",),
        )
        for network in networks
    ]
    return [measured, *trainings]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; see the docstring of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu_run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack", help="prepare what travels")
    packing.add_argument("--camvid", type=Path, required=True)
    packing.add_argument("--reference", type=Path, required=True)
    packing.add_argument("--folder", type=Path, default=".gpu")
    for name, budget in (("call1", 300.0), ("call2", 420.0)):
        call = commands.add_parser(name, help=f"a call of {budget:.0f} s")
        call.add_argument("folder", type=Path)
        call.add_argument("--budget", type=float, default=budget, help="seconds")
        call.add_argument("--dry-run", action="store_true", help="on a CPU, small")
        call.add_argument(
            "--networks", default=",".join(CHEAPEST), help="with commas, in order"
        )
        call.add_argument("--packed", type=Path, default=".gpu")
        default = Path(tempfile.gettempdir()) / "jaxseg-gpu"
        call.add_argument("--scratch", type=Path, default=default)
        call.add_argument(
            "--trainings", type=int, default=3, help="how many networks call2 trains"
        )
    collecting = commands.add_parser("collect", help="results from what came back")
    collecting.add_argument("folder", type=Path)
    flags = parser.parse_args(arguments)
    if flags.command in ("call1", "call2"):
        flags.networks = tuple(flags.networks.split(","))
        if unknown := set(flags.networks) - set(models.names()):
            parser.error(f"no network is called {', '.join(sorted(unknown))}")
        if flags.trainings < 1 or flags.budget <= 0:
            parser.error("--trainings must be 1 or more, --budget above 0")
    return flags


def main(arguments: list[str]) -> int:
    """The exit status: 0 if every part is done, 1 if not, 2 if none could begin."""
    flags = parse(arguments)
    try:
        if flags.command == "pack":
            pack.pack(flags.camvid, flags.reference, flags.folder)
            return 0
        if flags.command == "collect":
            from tools.gpu.collect import collect

            print(*collect(flags.folder), sep="\n")
            return 0
        if not flags.dry_run and not gpus():
            raise UserError("there is no GPU here; --dry-run does the same on a CPU.")
        os.environ["JAXSEG_GPU_PLATFORM"] = "cpu" if flags.dry_run else "gpu"
        return _call(flags)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _call(flags: argparse.Namespace) -> int:
    flags.scratch.mkdir(parents=True, exist_ok=True)
    pack.unpack(flags.packed, flags.scratch / "camvid")
    # Programs and what was found to be fastest are kept from one process to the next.
    os.environ.setdefault("JAXSEG_CACHE", str(flags.scratch / "cache"))
    os.environ["JAXSEG_GPU_FOLDER"] = str(flags.scratch)
    # Many processes share the device's memory: none may take most of it beforehand.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if flags.dry_run and flags.command == "call1":  # few calls: compiling is the time
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    parts = {"call1": call1, "call2": call2}[flags.command](flags)
    scratch = flags.scratch / flags.command
    outcomes = run_parts(parts, flags.folder, scratch, flags.budget - _age_s())
    return 0 if all(outcome.state == "done" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
