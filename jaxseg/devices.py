"""All devices of all processes as one axis, `data`, over which batches are split.

With one device everything here is plain placement on it.
"""

from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


@cache
def _mesh() -> Mesh:
    return Mesh(np.asarray(jax.devices()), ("data",))


def replicated() -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(_mesh(), PartitionSpec())


def by_sample() -> NamedSharding:
    """Every device holds its part of the first axis."""
    return NamedSharding(_mesh(), PartitionSpec("data"))


def place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """A global array of one that every process holds whole."""
    return jax.make_array_from_callback(array.shape, sharding, lambda i: array[i])


def place_part(array: np.ndarray) -> jax.Array:
    """A global array, split by sample, of this process's samples."""
    return jax.make_array_from_process_local_data(by_sample(), array)


def replicate(tree: Any) -> Any:
    """The tree with every array on every device; what is there already stays."""
    if jax.process_count() == 1:
        return jax.device_put(tree, replicated())
    return jax.tree.map(
        lambda x: x if _is_global(x) else place(np.asarray(x), replicated()), tree
    )


def _is_global(x: Any) -> bool:
    return isinstance(x, jax.Array) and not x.is_fully_addressable


def own_part(row: np.ndarray) -> np.ndarray:
    """The samples of a batch that this process has to read."""
    share = len(row) // jax.process_count()
    return row[jax.process_index() * share :][:share]


def round_up(batch_size: int) -> int:
    """The least multiple of the number of devices that holds a batch."""
    return -(-batch_size // jax.device_count()) * jax.device_count()


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0
