"""PyTorch state dicts of the authors' code <-> variables of our networks, exactly.

Works on mappings of names to NumPy arrays; PyTorch is not needed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg import models
from jaxseg.convert.files import read_darknet
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
    flat, report = match_state_dict(name, state_dict, num_classes)
    if report.missing:
        raise ValueError(
            f"the state dict is not {name}'s: {len(report.missing)} of {len(keys)} "
            f"entries are missing, the first is {report.missing[0]!r}; unused are "
            f"{list(report.unused[:3])}."
        )
    for path, torch_key, shape in keys:
        if flat[path].shape != shape:
            raise ValueError(
                f"{torch_key} does not fit {name} with {num_classes} classes: it is "
                f"{flat[path].shape} where {'/'.join(path)} is {shape} (our axis "
                "order)."
            )
    return unflatten_dict(flat), report


def match_state_dict(
    name: str, state_dict: Mapping[str, np.ndarray], num_classes: int = 19
) -> tuple[dict[tuple[str, ...], np.ndarray], Report]:
    """What of `state_dict` has a name in network `name`, by our path and axis order.

    Shapes are not compared. The file of a LiteSeg backbone alone, with the names that
    its authors or torchvision gave it, is recognised.
    """
    keys = list(_torch_keys(name, num_classes))
    state_dict = _with_backbone_prefix(name, state_dict)
    flat = {}
    for path, torch_key, _ in keys:
        if torch_key in state_dict:
            value = np.asarray(state_dict[torch_key])
            if value.ndim == 4:
                value = value.transpose(_AXES_FROM_TORCH[_is_transposed(path)])
            flat[path] = value
    used = {torch_key for _, torch_key, _ in keys}
    missing = tuple(key for _, key, _ in keys if key not in state_dict)
    return flat, Report(missing, tuple(k for k in state_dict if k not in used))


def convert_darknet(path: str | Path) -> dict[tuple[str, ...], np.ndarray]:
    """LiteSeg's Darknet19 backbone from a Darknet `.weights` file, by our path.

    Raises:
        UserError: the file cannot be read or is too short.
    """
    keys = {path[1:]: shape for path, _, shape in _torch_keys("liteseg_darknet", 19)}
    # In the order of the network, which is that of the file.
    layers = sorted(
        {p[1] for p in keys if p[0] == "backbone"}, key=lambda n: int(n[len("layer") :])
    )
    kernels = [keys["backbone", layer, "conv", "kernel"] for layer in layers]
    shapes = [(out, inner, h, w) for h, w, inner, out in kernels]
    flat: dict[tuple[str, ...], np.ndarray] = {}
    for layer, found in zip(layers, read_darknet(path, shapes)):
        at = ("backbone", layer)
        kernel = found["kernel"].transpose(_AXES_FROM_TORCH[False])
        flat["params", *at, "conv", "kernel"] = kernel
        flat["params", *at, "norm", "scale"] = found["weight"]
        flat["params", *at, "norm", "bias"] = found["bias"]
        flat["batch_stats", *at, "norm", "mean"] = found["running_mean"]
        flat["batch_stats", *at, "norm", "var"] = found["running_var"]
    return flat


# What LiteSeg's code puts before the names of its backbones' files.
_BACKBONES = {
    "liteseg_mobilenet": "mobile_features.",
    "liteseg_shufflenet": "shuffle_features.module.",
    "liteseg_darknet": "resnet_features.",
}


def _with_backbone_prefix(
    name: str, state_dict: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    prefix = _BACKBONES.get(name)
    if prefix is None or any(key.startswith(prefix) for key in state_dict):
        return state_dict
    if any(re.match(_NESTED, key) for key in state_dict):
        state_dict = {_from_torchvision(key): v for key, v in state_dict.items()}
    return {prefix + key: value for key, value in state_dict.items()}


_NESTED = r"(features\.\d+\.conv)\.(\d)\.([01])\.(\w+)$"


def _from_torchvision(key: str) -> str:
    """torchvision nests convolution, norm and activation; the authors number them."""
    nested = re.match(_NESTED, key)
    if nested:
        block, unit, part, leaf = nested.groups()
        return f"{block}.{3 * int(unit) + int(part)}.{leaf}"
    last = re.match(r"(features\.(\d+)\.conv)\.(\d)\.(\w+)$", key)
    if last:  # the linear convolution and its norm, after one or two nested units
        number = int(last[3]) + (2 if last[2] == "1" else 4)
        return f"{last[1]}.{number}.{last[4]}"
    return key


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
    if name not in MODULES:
        known = ", ".join(sorted(MODULES))
        raise ValueError(
            f"it is not known what PyTorch calls the parts of {name!r}, only those of "
            f"{known}; add them to jaxseg/convert/keys.py."
        )
    modules = MODULES[name]()
    for path, value in flatten_dict(variables).items():
        module, leaf = "/".join(path[1:-1]), _LEAVES[path[0], path[-1]]
        yield path, f"{modules[module]}.{leaf}", value.shape
