"""Trained weights that ship with the package, a folder each.

A folder is that of a run without checkpoints: `run.json`, a model card, and
`weights.safetensors` with parameters in float16, and batch statistics, some of which
are small, in float32.
Its name stands for it wherever a run's folder is asked for. Runs that are made of other
people's weights have the same form, in float32 throughout.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg import card
from jaxseg.errors import UserError
from jaxseg.files import write_whole

FILE = "weights.safetensors"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The weights that ship."""
    return sorted(path.parent.name for path in _FOLDER.glob(f"*/{FILE}"))


def folder_of(name: str) -> Path | None:
    """The folder of the weights called `name`, or None."""
    return _FOLDER / name if name in names() else None


def read(folder: Path, sha256: str) -> dict[str, Any]:
    """`{"params", "batch_stats"}` in float32.

    Raises:
        UserError: the file is not the one whose checksum was written down.
    """
    from safetensors.numpy import load

    content = (folder / FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{folder / FILE} is cut off or was changed: its checksum is not the one "
            "in run.json. Install jaxseg again, or convert the weights again."
        )
    arrays = {path: a.astype(np.float32) for path, a in load(content).items()}
    return unflatten_dict(arrays, sep="/")


def write(
    folder: Path,
    record: Mapping[str, Any],
    variables: Mapping[str, Any],
    halved: bool = True,
    **about: str,
) -> None:
    """Makes `folder` one that ships.

    Args:
        record: of the run that the weights are from.
        halved: parameters are written in float16, for a small package.
        about: what else there is to say of them.
    """
    from safetensors.numpy import save

    flat = flatten_dict(variables, sep="/")
    parameters = np.float16 if halved else np.float32
    dtypes = {"params": parameters, "batch_stats": np.float32}
    # Not views: of a transposed one safetensors writes the memory that it has.
    arrays = {
        path: np.array(a, dtypes[path.split("/")[0]], order="C")
        for path, a in flat.items()
    }
    content = save(arrays)
    weights = {"sha256": hashlib.sha256(content).hexdigest(), **about}
    record = {**record, "weights": weights}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, content)
    write_whole(folder / "run.json", json.dumps(record, indent=1) + "\n")
    write_whole(folder / card.NAME, card.card_of_run(record))
