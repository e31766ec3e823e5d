"""From the network that was trained to the one that is deployed."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.models.layers import Conv, Unit, Weights
from jaxseg.ops import Pair, bfloat16_pays, prepared_kernel
from jaxseg.ops.winograd import Tiles


def fold(
    model: nn.Module, variables: Mapping[str, Any], hw: Pair
) -> tuple[nn.Module, dict[str, Any]]:
    """The deployed form of `model` and its variables, for images of size `hw`.

    Every batch norm becomes part of the convolution that it follows, or where none
    comes before it a gain and a shift. The arithmetic is that of evaluation up to
    rounding, done once, in float64. The deployed model is called as the other one, with
    `train=False`; its variables fit `hw` alone.

    What unit becomes what can depend on `ops.lowering`: fold and call the result
    inside the same.

    With `dtype=bfloat16` the kernels of convolutions are bfloat16, where that is faster
    (`ops.bfloat16_pays`): matrix products read bfloat16 and sum float32. Maps
    have the dtype of the image.
    """
    leaves = {
        path: np.asarray(value, np.float64)
        for part in ("params", "batch_stats")
        for path, value in flatten_dict(variables.get(part, {})).items()
    }

    def weights(path: tuple[str, ...]) -> Weights:
        n = len(path)
        return unflatten_dict({p[n:]: v for p, v in leaves.items() if p[:n] == path})

    folded: dict[tuple[str, ...], np.ndarray] = {}
    convs: dict[tuple[str, ...], dict[str, Any]] = {}  # geometries
    units: list[tuple[str, ...]] = []  # that were folded, the last one may be running
    depth = 0

    def visit(call, args, kwargs, context):
        nonlocal depth
        unit, own = context.module, None
        if isinstance(unit, Conv):
            convs[unit.path] = unit.geometry
        if context.method_name == "__call__" and isinstance(unit, Unit) and not depth:
            own = unit.fold(weights, args[0].shape[1:3])
        if own is None and not depth:
            return call(*args, **kwargs)
        if own is not None:
            units.append(unit.path)
            folded.update({unit.path + p: v for p, v in flatten_dict(own).items()})
        depth += 1
        try:
            return call(*args, **kwargs)
        finally:
            depth -= 1

    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    with nn.intercept_methods(visit):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    norms = {path[:-1] for path in leaves if path[-1] == "var"}
    for path, value in leaves.items():
        in_unit = any(path[: len(unit)] == unit for unit in units)
        if not in_unit and path[:-1] not in norms:
            folded[path] = value

    operands = jnp.dtype(model.dtype if bfloat16_pays() else np.float32)

    def stored(path: tuple[str, ...], value: np.ndarray) -> np.ndarray | Tiles:
        product = path[-1] == "kernel" and value.shape[2] > 1
        if product and path[:-1] in convs:
            return prepared_kernel(value, operands, **convs[path[:-1]])
        return value.astype(operands if product else np.float32)

    params = {path: stored(path, value) for path, value in folded.items()}
    return model.clone(folded=True), {"params": unflatten_dict(params)}
