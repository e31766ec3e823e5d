"""What a training would be, before it is started."""

import os

import jax
from ml_collections import ConfigDict

from jaxseg.data.sources import Source
from jaxseg.training.recipe import build, fit_to_data

# Microseconds that a training step takes for a pixel of its batch on a core:
# results/training-speed.md, its milliseconds * 2 cores / (4 * 256 * 512 pixels).
_US_PER_PIXEL = {
    "dabnet": 2.8,
    "esnet": 4.2,
    "fddwnet": 4.9,
    "fpenet": 2.7,
    "liteseg_darknet": 6.3,
    "liteseg_mobilenet": 1.9,
    "liteseg_shufflenet": 2.5,
}


def forecast(config: ConfigDict, source: Source) -> list[str]:
    """Sentences: sizes, batches, steps, and on a CPU about how long they take.

    Sets in `config` what it leaves to the data, as training does.

    Raises:
        UserError: training would refuse the recipe.
    """
    lines = fit_to_data(config, source)
    samples = len(source.ids(config.data.train_split))
    recipe = build(config, samples, len(source.table))
    settings, (h, w) = recipe.settings, source.hw
    crop_h, crop_w = config.augment.crop_hw
    lines.append(
        f"A training by this recipe: {config.model.name}, {samples} pictures of "
        f"{w}x{h}, crops of {crop_w}x{crop_h}, batches of {settings.batch_size}: "
        f"{recipe.steps_per_epoch} steps an epoch, {recipe.last_step} in "
        f"{settings.num_epochs} epochs."
    )
    cores = len(os.sched_getaffinity(0))
    pixels = crop_h * crop_w * settings.batch_size * recipe.last_step
    us_per_pixel = _US_PER_PIXEL.get(config.model.name)
    if jax.default_backend() == "cpu" and us_per_pixel:
        hours = 1e-6 * us_per_pixel * pixels / cores / 3600
        time = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
        lines.append(
            f"On the {cores} cores here that is about {time}, a guess from what "
            "another processor took (results/training-speed.md); train.py shows the "
            "time left."
        )
    else:
        lines.append("train.py shows the time left, from its first steps on.")
    return lines
