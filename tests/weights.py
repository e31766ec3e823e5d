"""Weights of a network without its own draw."""

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict


def drawn_variables(model, hw):
    """Variables without running `init`, whose compilation takes most of a test."""
    image = jax.ShapeDtypeStruct((1, *hw, 3), np.float32)
    shapes = jax.eval_shape(
        lambda x: model.init(jax.random.key(0), x, train=False), image
    )
    rng, values = np.random.default_rng(0), {}
    for path, leaf in flatten_dict(shapes).items():
        if path[-1] == "kernel":
            std = (2 / np.prod(leaf.shape[:3])) ** 0.5
            value = rng.normal(0, std, leaf.shape)
        else:
            value = {"scale": 1.0, "slope": 0.25, "var": 1.0}.get(path[-1], 0.1)
        values[path] = np.full(leaf.shape, value, leaf.dtype)
    return unflatten_dict(values)
