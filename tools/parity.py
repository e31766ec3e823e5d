"""Every network against its record: python -m tools.parity REFERENCE results/parity.md

REFERENCE is the project's folder of recorded outputs of the authors' PyTorch code.
With a folder in place of results/parity.md, the small records of `tests/golden` are
written there.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import util
from pathlib import Path
from types import ModuleType

import flax.linen as nn
import jax
import numpy as np
from rich.progress import track

from jaxseg import models
from jaxseg.convert.torch import Report, convert_state_dict
from jaxseg.models.registry import NETWORKS
from jaxseg.models.summary import stages

TOLERANCE = 1e-4  # of the largest magnitude; the record's own error is up to 2.5e-5
# input -> (name of what was recorded, every how many pixels)
INPUTS = {
    "a": ("output_a", 1),
    "b": ("output_b", 1),
    "large": ("large_output_every16", 16),
}
_STATISTICS = ("bn_running_mean", "bn_running_var", "bn_num_batches_tracked")


@dataclass(frozen=True)
class Comparison:
    """One output against its record.

    Attributes:
        error: largest difference.
        largest: largest magnitude of the record.
        unmatched: recorded stages that no part of our network reproduces, in the
            order in which they run: the first one that differs comes first.
    """

    error: float
    largest: float
    unmatched: tuple[str, ...]

    @property
    def share(self) -> float:
        return self.error / self.largest


class Reference:
    """The record of one network.

    Attributes:
        inputs: what was recorded of which input, see `INPUTS`.
    """

    inputs = INPUTS

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self._folder = name, folder
        file = "fpenet_paper" if name == "fpenet" else name
        self._path = folder / "fixtures" / file
        self._fill = _module(folder / "fill.py")
        self.spec = self._fill.load_spec(self._path.with_suffix(".json"))

    @cached_property
    def state_dict(self) -> dict[str, np.ndarray]:
        """The weights that it was recorded with, under the authors' names."""
        return self._fill.fill(self.spec)

    @cached_property
    def converted(self) -> tuple[Mapping, Report]:
        """The weights as variables of our network, and what is said of them."""
        return convert_state_dict(self.name, self.state_dict)

    @cached_property
    def _outputs(self) -> dict[str, np.ndarray]:
        golden = _module(self._folder / "golden.py")
        return golden.read(self._path.with_suffix(".npz"))

    @cached_property
    def _stages(self) -> list[dict]:
        path = self._path.with_name(f"{self._path.name}_stages.json")
        return json.loads(path.read_text())["stages"]

    def image(self, key: str) -> np.ndarray:
        """The input `a`, `b` or `large`: `(b, h, w, 3)`."""
        shape = self.spec["inputs"][key]["shape"]
        return self._fill.make_input(shape).transpose(0, 2, 3, 1)

    def count(self, used: bool) -> int:
        """Parameters of the authors' network; `used`: those that the output needs."""
        return sum(
            int(np.prod(entry["shape"]))
            for entry in self.spec["entries"]
            if entry["kind"] not in _STATISTICS
            and not (used and entry.get("used_in_forward") is False)
        )

    def error(self, key: str, logits: np.ndarray) -> tuple[float, float]:
        """The largest error of `(b, h, w, k)`, and the record's largest magnitude."""
        recorded, stride = self.inputs[key]
        theirs = self._outputs[recorded]
        ours = logits.transpose(0, 3, 1, 2)[:, :, ::stride, ::stride]
        return float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())

    def compare(self, model: nn.Module, key: str) -> Comparison:
        """`model` with the recorded weights against the record for the input `key`."""
        variables, _ = self.converted
        # Of the other inputs no stages are recorded.
        run = _run_with_parts if key == "a" else _run
        logits, parts = jax.device_get(run(model, variables, self.image(key)))
        unmatched = ()
        if key == "a":
            unmatched = tuple(
                stage["name"]
                for stage in self._stages
                if not any(_is_stage(part, stage) for part in parts.values())
            )
        return Comparison(*self.error(key, logits), unmatched)

    def write_golden(self, folder: Path) -> None:
        """Writes what `Golden` reads."""
        record = {key: self.spec[key] for key in ("inputs", "entries")}
        record["stages"] = self._stages
        text = json.dumps(record, separators=(",", ":"))
        name, stride = Golden.inputs["a"]
        np.savez_compressed(
            folder / f"{self.name}.npz",
            record=np.frombuffer(text.encode(), np.uint8),
            **{name: self._outputs[name][:, :, ::stride, ::stride]},
        )


class Golden(Reference):
    """The small record of a network in `tests/golden`: input `a`, every eighth pixel.

    The weights, the stages and the counts are those of the whole record.
    """

    inputs = {"a": ("output_a", 8)}

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._fill = _module(folder / "fill.py")
        with np.load(folder / f"{name}.npz") as arrays:
            self._arrays = dict(arrays)
        self.spec = json.loads(self._arrays.pop("record").tobytes())

    @property
    def _outputs(self) -> dict[str, np.ndarray]:
        return self._arrays

    @property
    def _stages(self) -> list[dict]:
        return self.spec["stages"]


def _module(path: Path) -> ModuleType:
    spec = util.spec_from_file_location(path.stem, path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(model: nn.Module, variables: Mapping, image: np.ndarray):
    """The logits, and no parts."""
    return jax.jit(partial(model.apply, train=False))(variables, image), {}


def _run_with_parts(model: nn.Module, variables: Mapping, image: np.ndarray):
    """The logits, and what every module inside returned, by its path."""

    @jax.jit
    def forward(variables, image):
        parts = {}

        def record(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if context.method_name == "__call__" and isinstance(out, jax.Array):
                parts["/".join(context.module.path)] = out
            return out

        with nn.intercept_methods(record):
            return model.apply(variables, image, train=False), parts

    return forward(variables, image)


def _is_stage(part: np.ndarray, stage: Mapping) -> bool:
    """True if `(b, h, w, c)` has the recorded shape, mean, deviation and corner."""
    part = part.transpose(0, 3, 1, 2)
    if list(part.shape) != stage["shape"]:
        return False
    ours = [part.mean(), part.std(), *part[0, :4, :4, :4].ravel()]
    theirs = np.array([stage["mean"], stage["std"], *stage["corner"]])
    return np.abs(ours - theirs).max() < TOLERANCE * np.abs(part).max()


def report(folder: Path) -> str:
    """`results/parity.md`."""
    rows, counts = [], []
    for name in track(models.names(), "Comparing"):
        reference, model = Reference(folder, name), models.create(name)
        for key in INPUTS:
            size = "x".join(map(str, reference.image(key).shape))
            found = reference.compare(model, key)
            rows.append(f"| {name} | {key}, {size} | {found.share:.1e} |")
        parts = stages(model, (512, 1024))
        numbers = (
            sum(part.parameters for part in parts),
            reference.count(used=True),
            reference.count(used=False),
        )
        ours = sum(part.macs for part in parts) / 1e9
        published = NETWORKS[name].published
        counts.append(
            f"| {name} | {' | '.join(f'{n:,}' for n in numbers)} | {ours:.3f} "
            f"| {published.gmac:.3f} | {published.size} |"
        )
    device = jax.devices()[0]
    return "\n".join(
        [
            "# Parity with the authors' code",
            "",
            "Made by `python -m tools.parity REFERENCE results/parity.md`, with jax",
            f"{jax.__version__} on {device.platform}, float32. Outputs in evaluation "
            "mode, with",
            "the same drawn weights in the authors' PyTorch network (FPENet, for which "
            "they published",
            "none: the reading that fits the paper's counts) and in ours.",
            "",
            f"Largest difference / largest magnitude; a test allows {TOLERANCE:.0e}.",
            "",
            "| network | input | difference |",
            "|---|---|---:|",
            *rows,
            "",
            "Parameters and multiply-accumulates of convolutions at 512x1024, 19 "
            "classes. Ours has no",
            "parameter that the output does not need; the authors' have such of "
            "ImageNet",
            "classifiers and of ESNet's encoder. The papers count operations by rules "
            "of their own.",
            "",
            "| network | ours | authors', used | authors', all | our GMAC | authors' "
            "GMAC | paper |",
            "|---|---:|---:|---:|---:|---:|---|",
            *counts,
            "",
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1], "fixtures").is_dir():
        sys.exit(__doc__)
    found, to = map(Path, sys.argv[1:])
    if to.is_dir():
        for network in models.names():
            Reference(found, network).write_golden(to)
    else:
        to.write_text(report(found))
