"""Many train steps in one call, for a split that lies on the device."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.data.loaders import Batch, take
from jaxseg.training.step import TrainState, TrainStep

TrainSteps = Callable[..., tuple[TrainState, dict[str, jax.Array]]]


def make_train_steps(train_step: TrainStep) -> TrainSteps:
    """A jitted `(state, split, order, start, stop) -> (state, metrics)`.

    It takes the steps of the rows `start` to `stop - 1` of `order`, int32 `(n, b)`,
    whose numbers are indices into `split`, the `arrays` of a `ResidentLoader`. Metrics
    are those of the steps, each `(n,)`, 0 for rows that were not asked for. `state` is
    donated.

    It is one program for every `start` and `stop`: however an epoch is divided into
    calls, also by a restart, the state ends with the same bits. `train_step` called by
    itself is another program, which XLA may round differently.
    """

    @jax.jit(donate_argnums=0)
    def train_steps(state: TrainState, split: Batch, order, start, stop):
        def step(state, row):
            return train_step(state, take(split, order[row]))

        def one_more(row, carried):
            state, metrics = step(carried[0], row)
            return state, jax.tree.map(
                lambda column, value: column.at[row].set(value), carried[1], metrics
            )

        _, shapes = jax.eval_shape(step, state, start)
        columns = jax.tree.map(lambda x: jnp.zeros(len(order), x.dtype), shapes)
        return lax.fori_loop(start, stop, one_more, (state, columns))

    return train_steps
