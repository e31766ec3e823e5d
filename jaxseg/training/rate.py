"""Epochs that fit a time: from the rate of some steps, taken before training begins."""

import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxseg import devices
from jaxseg.data.loaders import epoch_order
from jaxseg.training.recipe import Data, Recipe
from jaxseg.training.step import init_state

_SECONDS, _STEPS = 15.0, 20  # of measuring, at most


def epochs_in(minutes: float, recipe: Recipe, data: Data) -> tuple[int, float]:
    """Whole epochs, one at least, whose steps take `minutes`; and the images/s.

    Compiling, validations and checkpoints come on top.
    """
    settings, samples = recipe.settings, len(data.train.ids)
    state = init_state(
        recipe.model, recipe.tx, recipe.seed, (64, 64), settings.ema_decay
    )
    state, steps = devices.replicate(state), recipe.train_steps
    order = epoch_order(recipe.seed, 0, samples, settings.batch_size)
    rows = np.resize(np.arange(len(order)), len(steps) + _STEPS)
    taken, begin = 0, 0.0
    for number, batch in enumerate(data.train.batches(order[rows])):
        state, metrics = steps[number % len(steps)](state, batch)
        jax.block_until_ready(metrics)
        taken += number >= len(steps)  # those before were compiled
        if number == len(steps) - 1:
            begin = time.perf_counter()
        elif taken and time.perf_counter() - begin > _SECONDS:
            break
    rate = taken * settings.batch_size / (time.perf_counter() - begin)
    if jax.process_count() > 1:
        rate = float(multihost_utils.broadcast_one_to_all(np.asarray(rate)))
    pictures = recipe.steps_per_epoch * settings.batch_size
    return max(1, int(60 * minutes * rate / pictures)), rate
