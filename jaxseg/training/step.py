"""The train step: augmentation, network, loss, gradient, update; one program."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.data.augment import Augment
from jaxseg.data.loaders import Batch
from jaxseg.data.preprocess import Preprocess
from jaxseg.training.losses import CrossEntropy


@flax.struct.dataclass
class TrainState:
    """Everything that training carries from one step to the next; arrays only.

    Attributes:
        average: the moving average of `params` and `batch_stats`, or None.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    average: dict[str, Any] | None = None

    @property
    def variables(self) -> dict[str, Any]:
        """What the network is scored and used with."""
        return self.average or self.trained

    @property
    def trained(self) -> dict[str, Any]:
        """What the next step starts from."""
        return {"params": self.params, "batch_stats": self.batch_stats}


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]


def init_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    seed: int,
    hw: tuple[int, int],
    ema_decay: float = 0.0,
) -> TrainState:
    """A state at step 0 with weights drawn from `seed`."""
    draw = partial(_draw, model, tx, seed, hw, ema_decay)
    # It runs once: optimising ESNet's draws took longer than compiling them.
    return jax.jit(draw, compiler_options={"xla_backend_optimization_level": 0})()


def state_shapes(
    model: nn.Module, tx: optax.GradientTransformation, ema_decay: float = 0.0
) -> TrainState:
    """The shapes and dtypes of what `init_state` returns."""
    return jax.eval_shape(partial(_draw, model, tx, 0, (64, 64), ema_decay))


def _draw(model, tx, seed, hw, ema_decay) -> TrainState:
    image = jnp.zeros((1, *hw, 3))
    variables = model.init(jax.random.key(seed), image, train=False)
    return state_of(variables, tx, ema_decay)


def state_of(
    variables: Mapping[str, Any], tx: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    """A state at step 0 that starts from `variables`."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=tx.init(variables["params"]),
    )
    if not ema_decay:
        return state
    # A copy: the step gives the state's buffers away, and none may be given twice.
    return replace(state, average=jax.tree.map(jnp.copy, state.trained))


def make_train_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    loss: CrossEntropy,
    augment: Augment,
    preprocess: Preprocess,
    seed: int,
    ema_decay: float = 0.0,
) -> TrainStep:
    """A jitted `(state, batch) -> (state, metrics)`, which donates `state`.

    Its random numbers are a function of `seed` and `state.step`, so that a step that is
    taken again after a restart is the same step. With a model that has an `axis_name`,
    the returned function's `__wrapped__` is what `jax.pmap` maps: gradients and losses
    are averaged over that axis, and each device draws its own numbers. Without one, a
    batch that is sharded over devices gives what the whole batch gives on one: batch
    statistics, OHEM and the loss are over the global batch.

    With `ema_decay` the state's `average` moves towards the new weights and batch
    statistics by `1 - d`; d rises to `ema_decay` as (1 + step) / (10 + step), so that
    the start is forgotten.
    """
    axis_name = model.axis_name
    scale = tuple(factor * preprocess.input_scale for factor in augment.scale)
    augment = replace(augment, scale=scale)

    def prepared(batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, batch["label"].shape[0])
        augmented = jax.vmap(partial(augment, fill=preprocess.mean))
        image, label = augmented(keys, batch["image"], batch["label"])
        return preprocess(image), label

    @partial(jax.jit, donate_argnums=0)
    def train_step(state: TrainState, batch: Batch):
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        augment_key, dropout_key = jax.random.split(key)
        image, label = prepared(batch, augment_key)

        def loss_fn(params):
            logits, updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                image,
                train=True,
                rngs={"dropout": dropout_key},
                mutable=["batch_stats"],
            )
            value, metrics = loss(logits, label)
            return value, ({"loss": value, **metrics}, updated["batch_stats"])

        grads, (metrics, batch_stats) = jax.grad(loss_fn, has_aux=True)(state.params)
        if axis_name is not None:
            metrics, grads = jax.lax.pmean((metrics, grads), axis_name)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = None
        if ema_decay:
            taken = state.step.astype(jnp.float32)
            decay = jnp.minimum(ema_decay, (1 + taken) / (10 + taken))
            average = jax.tree.map(
                lambda old, new: decay * old + (1 - decay) * new,
                state.average,
                {"params": params, "batch_stats": batch_stats},
            )
        state = TrainState(state.step + 1, params, batch_stats, opt_state, average)
        return state, {**metrics, "grad_norm": optax.tree.norm(grads)}

    return train_step
