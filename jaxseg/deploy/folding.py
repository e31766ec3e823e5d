"""From the network that was trained to the one that is deployed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxseg.deploy import blocks, layers, memory
from jaxseg.deploy.layers import classes, convolve_transposed
from jaxseg.deploy.weights import Weights
from jaxseg.models.layers import BatchNorm, Classifier2x, Conv
from jaxseg.ops import (
    Pair,
    bfloat16_pays,
    deployed,
    hw_of,
    prepared_kernel,
    resize_labels,
)
from jaxseg.ops.winograd import Tiles

FORMS = layers.FORMS | blocks.FORMS

Path = tuple[str, ...]  # names of modules, from the network to a part of it


@dataclass(frozen=True)
class Deployed:
    """A network whose weights `fold` made.

    Attributes:
        network: what was trained.
        forms: the blocks that are computed in a form of their own, see `FORMS`.
        labels: return the class of the largest logit, uint8 `(b, h, w)`, in place of
            the logits. Where resizing comes last they are never made in full size.
    """

    network: nn.Module
    forms: frozenset[Path]
    labels: bool = False

    @property
    def dtype(self) -> Any:
        return self.network.dtype

    def clone(self, *, labels: bool) -> "Deployed":
        return replace(self, labels=labels)

    def apply(
        self, variables: Mapping[str, Any], image: jax.Array, *, train: bool = False
    ) -> jax.Array:
        """Logits `(b, h, w, k)`, or labels; maps have the dtype of the image."""
        if train:
            raise ValueError("a folded network has no batch norms left to train.")
        network = self.network.clone(dtype=image.dtype)
        with deployed(), nn.intercept_methods(self._intercept):
            y = cast(jax.Array, network.apply(variables, image, train=False))
        # For networks whose last operation does not choose classes itself.
        return classes(y) if self.labels and y.ndim == 4 else y

    def _intercept(self, call, args, kwargs, context):
        block = context.module
        if self.labels and context.method_name == "enlarge":
            return _enlarged_labels(*args, **kwargs)
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        weights = block.variables.get("params", {})
        if type(block) is Classifier2x:
            finish = classes if self.labels else lambda y: y
            return convolve_transposed(weights, args[0], finish)
        if layer := layers.LAYERS.get(type(block)):
            # Without weights: they went into the layer before or after it.
            y = layer(block, weights, args[0]) if weights else args[0]
        elif block.path in self.forms and (form := FORMS[type(block)]).run:
            y = form.run(block, weights, args[0])
        else:
            y = call(memory.stored_input(block, args[0]), *args[1:], **kwargs)
        return memory.stored_output(block, y)


def _enlarged_labels(logits, image, *, align_corners):
    return resize_labels(logits, hw_of(image), align_corners)


def fold(
    model: nn.Module, variables: Mapping[str, Any], hw: Pair
) -> tuple[Deployed, dict[str, Any]]:
    """The deployed form of `model` and its variables, for images of size `hw`.

    Every batch norm becomes part of the convolution before it, or a gain and a shift
    where there is none. Folding is done once, in float64; results equal those of the
    trained network in evaluation up to rounding. The deployed model is called like the
    trained one, with `train=False`. Its variables are for pictures of `hw` only.

    The forms that blocks take can depend on `ops.lowering`: fold, and call the result,
    under the same lowering.

    With `dtype=bfloat16` the kernels of convolutions are bfloat16, where that is faster
    (`ops.bfloat16_pays`): matrix products read bfloat16 and sum float32. Maps have the
    dtype of the image.
    """
    folding = _Folding(variables)
    image = jax.ShapeDtypeStruct((1, *hw, 3), jnp.float32)
    with nn.intercept_methods(folding.visit):
        jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    operands = jnp.dtype(model.dtype if bfloat16_pays() else np.float32)

    def stored(path: Path, value: np.ndarray) -> np.ndarray | Tiles:
        product = path[-1] == "kernel" and value.shape[2] > 1
        if product and path[:-1] in folding.convolutions:
            return prepared_kernel(value, operands, **folding.convolutions[path[:-1]])
        return value.astype(operands if product else np.float32)

    params = {path: stored(path, value) for path, value in folding.weights().items()}
    forms = frozenset(folding.folded)
    return Deployed(model, forms), {"params": unflatten_dict(params)}


class _Folding:
    """The weights and forms found in a trace of the network that was trained.

    Attributes:
        folded: the blocks that have a form, with the weights of it.
        convolutions: their arguments, of `ops.conv2d`.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._trained = {
            path: np.asarray(value, np.float64)
            for part in ("params", "batch_stats")
            for path, value in flatten_dict(variables.get(part, {})).items()
        }
        self.folded: dict[Path, Weights] = {}
        self.convolutions: dict[Path, dict[str, Any]] = {}
        self._inside = False  # a block that was folded as a whole
        self._absorbed: set[Path] = set()  # batch norms of such blocks
        self._alone: set[Path] = set()  # the others

    def visit(self, call, args, kwargs, context):
        """For `nn.intercept_methods`: folds the outermost blocks that have a form."""
        block, form = context.module, FORMS.get(type(context.module))
        if isinstance(block, Conv):
            self.convolutions[block.path] = block.options
        if isinstance(block, BatchNorm):
            (self._absorbed if self._inside else self._alone).add(block.path)
            if shared := self._absorbed & self._alone:
                raise ValueError(
                    f"the batch norm {'/'.join(*shared)} is used behind a convolution "
                    "and by itself: it cannot be folded into both; give it two names."
                )
        if self._inside or form is None or context.method_name != "__call__":
            return call(*args, **kwargs)
        weights = form.fold(block, self._below, args[0].shape[1:3])
        if weights is None:
            return call(*args, **kwargs)
        self.folded[block.path] = weights
        self._inside = True
        try:
            return call(*args, **kwargs)
        finally:
            self._inside = False

    def _below(self, path: Path) -> Weights:
        n = len(path)
        found = {p[n:]: v for p, v in self._trained.items() if p[:n] == path}
        return unflatten_dict(found)

    def weights(self) -> dict[Path, np.ndarray]:
        """The weights of folded blocks, and all others as they were trained."""
        made = {
            block + path: value
            for block, weights in self.folded.items()
            for path, value in flatten_dict(weights).items()
        }
        norms = {path[:-1] for path in self._trained if path[-1] == "var"}
        for path, value in self._trained.items():
            in_block = any(path[:n] in self.folded for n in range(len(path)))
            if not in_block and path[:-1] not in norms:
                made[path] = value
        return made
