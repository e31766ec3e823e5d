"""Optimiser and learning rate, from Optax."""

from collections.abc import Mapping

import optax
from flax.traverse_util import path_aware_map

from jaxseg.errors import UserError


def build_schedule(
    peak_lr: float,
    poly_power: float,
    total_steps: int,
    warmup_steps: int = 0,
    warmup_factor: float = 0.0,
) -> optax.Schedule:
    """Polynomial decay to zero at `total_steps`, after a linear warm-up.

    Without warm-up it is the papers' "poly" policy: step s has the rate
    `peak_lr * (1 - s / total_steps) ** poly_power`. The warm-up rises from
    `warmup_factor * peak_lr`, and the decay starts where it ends; it takes a fifth of
    the training at most, so that a short one learns something.
    """
    warmup_steps = min(warmup_steps, total_steps // 5)
    decay = optax.polynomial_schedule(
        peak_lr, 0.0, poly_power, max(total_steps - warmup_steps, 1)
    )
    if not warmup_steps:
        return decay
    warmup = optax.linear_schedule(warmup_factor * peak_lr, peak_lr, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def build_optimizer(
    schedule: optax.Schedule,
    name: str,
    weight_decay: float,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> optax.GradientTransformation:
    """`adam` (betas 0.9, 0.999) or `sgd` (with `momentum`), after coupled L2.

    L2 is added to the gradient before the optimiser sees it, as PyTorch's
    `weight_decay` does, and on convolution kernels only.

    Raises:
        UserError: another name.
    """
    scalers = {
        "adam": optax.scale_by_adam(),
        "sgd": optax.trace(decay=momentum, nesterov=nesterov),
    }
    if name not in scalers:
        raise UserError(
            f"config.optim.name is {name!r}; it can be {' or '.join(scalers)}."
        )
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=_is_kernel),
        scalers[name],
        optax.scale_by_learning_rate(schedule),
    )


def _is_kernel(params) -> Mapping:
    return path_aware_map(lambda path, _: path[-1] == "kernel", params)
