"""Runs made of other people's weights, and weights of runs for other people."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from rich.console import Console

from jaxseg import models, weights
from jaxseg.convert.matching import fit, read_weights
from jaxseg.convert.torch import to_torch_state_dict
from jaxseg.data.classes import ClassTable
from jaxseg.data.preprocess import Preprocess
from jaxseg.deploy.engines import require
from jaxseg.errors import UserError
from jaxseg.files import whole_folder, write_whole
from jaxseg.runs import Run, describe

KINDS = ("pth", "safetensors")


def make_run(
    source: str,
    config: Mapping[str, Any],
    table: ClassTable,
    folder: str | os.PathLike,
    partial: bool = False,
    console: Console | None = None,
) -> Run:
    """Makes a run of a file of weights, for every program that takes one.

    What was loaded, what has another shape, what the network has no use for and what
    is drawn for want of it is printed.

    Args:
        source: see `read_weights`.
        config: a recipe: its sections `model`, `preprocess` and `data` say which
            network it is, what its pixels become and what it was trained on.
        table: the classes.
        folder: a new one.
        partial: go on although arrays of the network are missing or have another shape.

    Raises:
        UserError: `source` cannot be read or does not fit; `folder` is there already or
            cannot be written.
    """
    console = console or Console(highlight=False, markup=False)
    folder = Path(folder).expanduser().absolute()
    _refuse_to_replace(folder)
    model = models.create(**config["model"])
    if model.num_classes != len(table):
        raise UserError(
            f"the network has {model.num_classes} classes and the data set "
            f"{len(table)}; set --config.model.num_classes to it."
        )
    loaded, unused = read_weights(config["model"]["name"], source, "--from")
    found = fit(flatten_dict(_shapes(model)), loaded, unused, source, console)
    if not found.whole and not (found.fitting and partial):
        raise UserError(
            f"--from {source}: {len(found.mismatched)} arrays have another shape and "
            f"{len(found.left)} are missing (listed above), so this is not the same "
            "network; --partial draws what is missing."
        )
    if found.backbone_only:
        console.print("  all behind the backbone is drawn: it has to be trained.")
    variables = found.fitting
    if found.backbone_only or not found.whole:
        variables = flatten_dict(_drawn(model)) | variables
    preprocess = Preprocess(**config["preprocess"])
    record = describe(config["model"], table, preprocess, config, source)
    record["scores"] = {"best": {"step": 0}}
    try:
        with whole_folder(folder) as new:
            about = {"note": f"Converted from {Path(source).name}."}
            tree = unflatten_dict(variables)
            weights.write(new, record, tree, halved=False, **about)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}).") from error
    return Run(folder)


def write_weights(
    ckpt: str | os.PathLike,
    kind: str,
    path: str | os.PathLike,
    which: str | int = "best",
) -> int:
    """Writes a run's weights with the authors' names, in PyTorch's order of axes.

    Args:
        kind: "safetensors", or "pth", which `torch.load(weights_only=True)` reads.
        path: a new file.
        which: `best`, `last` or a step.

    Returns:
        The number of arrays.

    Raises:
        UserError: no such run, checkpoint or kind; the authors have no names for this
            network; PyTorch is missing; `path` is there already or cannot be written.
    """
    if kind not in KINDS:
        raise UserError(f"--to is {kind!r}; it can be {' or '.join(KINDS)}.")
    torch = require("torch", "peers") if kind == "pth" else None
    path = Path(path).expanduser()
    _refuse_to_replace(path)
    run = Run(Path(ckpt).expanduser())
    name, classes = run.record["model"]["name"], len(run.table)
    variables, _ = run.variables(which)
    try:
        arrays = to_torch_state_dict(name, variables, classes)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{ckpt} is a variant of {name} that its authors have no names for "
            f"({error})."
        ) from error
    # Not views: both kinds would write the memory that a transposed view has.
    arrays = {key: np.array(value, order="C") for key, value in arrays.items()}
    if torch is not None:
        file = io.BytesIO()
        torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, file)
        content = file.getvalue()
    else:
        from safetensors.numpy import save

        content = save(arrays, {"format": "pt"})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}).") from error
    return len(arrays)


def _refuse_to_replace(path: Path) -> None:
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{path} is there already; choose another --output.")


def _shapes(model: nn.Module) -> Any:
    return jax.eval_shape(lambda: _drawn(model))


def _drawn(model: nn.Module) -> Any:
    side = models.SIZE_LEAST
    image = np.zeros((1, side, side, 3), np.float32)
    return model.init(jax.random.key(0), image, train=False)
