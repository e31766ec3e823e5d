"""Every recipe of configs/: it builds, and its network trains from the command line."""

import importlib
import json

import numpy as np
import pytest
from conftest import run
from flax.traverse_util import flatten_dict

from jaxseg import models
from jaxseg.runs import Run
from jaxseg.training.loop import build


@pytest.mark.parametrize("name", models.names())
def test_every_recipe_builds_for_camvid(name):
    config = importlib.import_module(f"configs.{name}").get_config("camvid")
    recipe = build(config, samples=367, num_classes=11)
    steps = config.train.num_epochs * (367 // config.train.batch_size)
    assert recipe.total_steps == steps
    # Where the warm-up ends the rate is the recipe's, at the end it is 0.
    schedule = config.schedule
    peak = float(recipe.schedule(schedule.warmup_steps))
    assert peak == pytest.approx(schedule.peak_lr)
    assert float(recipe.schedule(steps)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_network_trains_on_streets(name, tmp_path):
    """Two steps, a validation and a checkpoint that is read back."""
    code, out, err = run(
        "train.py",
        f"--config=configs/{name}.py",
        f"--workdir={tmp_path}",
        "--config.data.train_split=test",  # 50 scenes, quickly drawn
        "--config.augment.crop_hw=(32, 64)",
        "--config.train.batch_size=25",
        "--config.train.num_epochs=1",
        "--config.train.log_every_steps=1",
    )
    assert code == 0, err
    assert f"eval.py --ckpt {tmp_path} --split val" in out
    first, second, val = map(json.loads, (tmp_path / "metrics.jsonl").open())
    assert [first["step"], second["step"], val["step"]] == [1, 2, 2]
    assert 0 <= val["miou"] < 1 and np.isfinite([first["loss"], second["loss"]]).all()
    variables, step = Run(tmp_path).variables("last")
    assert step == 2
    for path, value in flatten_dict(variables["batch_stats"]).items():
        assert np.isfinite(value).all() and np.ptp(value) > 0, path
