"""PyTorch state dicts of the authors' code <-> variables of our networks, exactly.

Works on mappings of names to NumPy arrays; PyTorch is not needed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg import models
from jaxseg.convert.keys import MODULES


@dataclass(frozen=True)
class Report:
    """What a conversion could not match.

    Attributes:
        missing: authors' names that the network needs and the state dict lacks.
        unused: names of the state dict that the network has no use for.
    """

    missing: tuple[str, ...]
    unused: tuple[str, ...]


def convert_state_dict(
    name: str, state_dict: Mapping[str, np.ndarray], num_classes: int = 19
) -> tuple[dict[str, Any], Report]:
    """Variables `{"params", "batch_stats"}` of network `name`, and what did not match.

    Entries that the network computes nothing from (ESNet's encoder output, LiteSeg's
    ImageNet classifiers, counters of batches) are left out and listed.

    Raises:
        ValueError: an entry that is needed is missing or has another shape.
    """
    keys = list(_torch_keys(name, num_classes))
    missing = [torch_key for _, torch_key, _ in keys if torch_key not in state_dict]
    used = {torch_key for _, torch_key, _ in keys}
    report = Report(tuple(missing), tuple(k for k in state_dict if k not in used))
    if missing:
        raise ValueError(
            f"the state dict is not {name}'s: {len(missing)} of {len(keys)} entries "
            f"are missing, the first is {missing[0]!r}; unused are "
            f"{list(report.unused[:3])}."
        )
    flat = {}
    for path, torch_key, shape in keys:
        value = np.asarray(state_dict[torch_key])
        if value.ndim == 4:
            value = value.transpose(_AXES_FROM_TORCH[_is_transposed(path)])
        if value.shape != shape:
            raise ValueError(
                f"{torch_key} does not fit {name} with {num_classes} classes: it is "
                f"{value.shape} where {'/'.join(path)} is {shape} (our axis order)."
            )
        flat[path] = value
    return unflatten_dict(flat), report


def to_torch_state_dict(
    name: str, variables: Mapping[str, Any], num_classes: int = 19
) -> dict[str, np.ndarray]:
    """The inverse: the authors' names, PyTorch's axis order, NumPy arrays."""
    flat = flatten_dict(variables)
    state_dict = {}
    for path, torch_key, _ in _torch_keys(name, num_classes):
        value = np.asarray(flat[path])
        if value.ndim == 4:
            value = value.transpose(np.argsort(_AXES_FROM_TORCH[_is_transposed(path)]))
        state_dict[torch_key] = value
    return state_dict


# (out, in, kh, kw) of a convolution, (in, out, kh, kw) of a transposed one, to ours.
_AXES_FROM_TORCH = {False: (2, 3, 1, 0), True: (2, 3, 0, 1)}

_LEAVES = {
    ("params", "kernel"): "weight",
    ("params", "bias"): "bias",
    ("params", "scale"): "weight",
    ("params", "slope"): "weight",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}


def _is_transposed(path: tuple[str, ...]) -> bool:
    return path[-2] == "deconv"


def _torch_keys(
    name: str, num_classes: int
) -> Iterator[tuple[tuple[str, ...], str, tuple[int, ...]]]:
    """Yields our path, the authors' name and our shape of every array of a network."""
    model = models.create(name, num_classes=num_classes)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)  # taken by every network
    variables = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    modules = MODULES[name]()
    for path, value in flatten_dict(variables).items():
        module, leaf = "/".join(path[1:-1]), _LEAVES[path[0], path[-1]]
        yield path, f"{modules[module]}.{leaf}", value.shape
