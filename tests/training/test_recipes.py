"""Every recipe of configs/: it builds, and its network trains from the command line."""

import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from conftest import ROOT, run, write_camvid
from flax.traverse_util import flatten_dict
from PIL import Image

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.runs import Run
from jaxseg.training.recipe import build
from streets import draw_scene

# What every recipe is for, and what each is trained on below: two pictures of HW, a
# size of crop each step, and one picture or two to validate.
RECIPES = ("streets", "cityscapes", "camvid", "camvid_merged", "camvid_pure", "folder")
RECIPES += ("cityscapes,modern", "camvid,modern")
HW = (64, 128)
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # each program runs once or twice
PROGRAM = """
import importlib, json, sys
from functools import partial
import jax
import numpy as np
from weights import drawn_variables
from flax import linen as nn
from jaxseg import models
from jaxseg.data.sources import CamVid, CamVidRaw, Cityscapes, Streets, camvid_raw
from jaxseg.models.layers import Network
from jaxseg.models.units import ConvNormAct
from jaxseg.runtime import setup
from jaxseg.training import recipe, step, train, validation
from rich.console import Console

setup()
pairs, trees, folder, hw, tiny = json.loads(sys.argv[1])


class Tiny(Network):
    @nn.compact
    def __call__(self, image, *, train):
        unit = ConvNormAct(self.num_classes, (3, 3), norm_eps=1e-3, **self.common)
        return unit(image, train=train)


if tiny:
    models.create = lambda name, num_classes=19, **_: Tiny(num_classes=num_classes)
else:
    # To compile all of a step anew for every recipe would take most of the test: the
    # network in it is one program for all recipes, and the rest runs op by op.
    whole_apply, whole_step = nn.Module.apply, recipe.make_train_step

    @partial(jax.jit, static_argnums=0)
    def in_training(network, variables, image, rngs):
        more = dict(train=True, rngs=rngs, mutable=["batch_stats"])
        return whole_apply(network, variables, image, **more)

    def apply(network, variables, image, *, train, rngs=None, **more):
        if train:
            return in_training(network, variables, image, rngs)
        return whole_apply(network, variables, image, train=train, **more)

    def init_state(network, tx, seed, hw, ema_decay):
        # Its own draw takes as long to compile as the step.
        variables = jax.device_put(drawn_variables(network, hw))
        return step.state_of(variables, tx, ema_decay)

    nn.Module.apply = apply
    recipe.make_train_step = lambda *args, **more: whole_step(*args, **more).__wrapped__
    train.init_state = init_state
    # Nor are pictures predicted for the journal.
    validation.Validation.pictures = lambda *_: np.zeros((8, 8, 3), np.uint8)
for source in (CamVid, CamVidRaw, Cityscapes, Streets):
    source.hw = tuple(hw)
Streets._SEEDS = {"train": range(2), "val": range(10_000, 10_001)}
camvid_raw._published_splits = lambda: {"train": ["a", "b"], "val": ["c"]}
for name, arguments in pairs:
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    config.data.dir = trees[arguments.split(",")[0]]
    config.augment.crop_hw = (32, 64)
    if config.augment.more_crops_hw:
        config.augment.more_crops_hw = ((64, 96),)
    config.train.update(
        batch_size=2, eval_batch_size=2, num_epochs=2, eval_every_epochs=2,
        log_every_steps=1,
    )
    train.train(config, f"{folder}/{name}/{arguments}", Console(quiet=True))
"""


def train_two_steps(pairs, trees, folder, *, tiny):
    """Trains pairs of network and recipe, and looks at what each left."""
    arguments = json.dumps([pairs, trees, str(folder), HW, tiny])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments],
        cwd=ROOT,
        env={**os.environ, **QUICKLY, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, recipe in pairs:
        run = Run(folder / name / recipe)
        lines = map(json.loads, (run.folder / "metrics.jsonl").open())
        losses = [line["loss"] for line in lines if line["kind"] == "train"]
        assert len(losses) == 2 and np.isfinite(losses).all(), (name, recipe)
        scores = run.record["scores"]["last"]
        assert scores["step"] == 2 and 0 <= scores["miou"] < 1
        assert ("from an input of" in scores["protocol"]) == (
            run.record["config"]["preprocess"]["input_scale"] < 1
        )
        assert run.find("last") == [2]


@pytest.fixture(scope="module")
def trees(cityscapes_tree, tmp_path_factory):
    """Data set -> a folder with two pictures to train on and some to validate."""
    root = tmp_path_factory.mktemp("trees")
    camvid = write_camvid(root / "camvid", {"train": 2, "val": 1})
    cityscapes = shutil.copytree(cityscapes_tree, root / "cityscapes")
    for path in (*camvid.rglob("*.png"), *cityscapes.rglob("*.png")):
        image = Image.open(path).resize(HW[::-1], Image.Resampling.NEAREST)
        image.save(path)
    raw, own = root / "raw", root / "own"
    for folder in ("images", "labels"):
        (raw / folder).mkdir(parents=True)
    for i, name in enumerate("abc"):
        image, label = draw_scene(i, HW)
        colours = np.array([(128, 64, 128), (128, 128, 128), (64, 0, 64)], np.uint8)
        Image.fromarray(image).save(raw / "images" / f"{name}.png")
        Image.fromarray(colours[label % 3]).save(raw / "labels" / f"{name}_L.png")
        for kind, array in (("images", image), ("labels", label % 13)):
            path = own / kind / ("val" if name == "c" else "train") / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array[:48, :64]).save(path)
    # As many classes as CamVid has: the networks for it are taken again.
    classes = {"a": 0, "b": [1, 2], **{f"c{i}": i for i in range(3, 12)}}
    description = {"classes": classes, "void": 12}
    (own / "dataset.yaml").write_text(json.dumps(description))
    raws = {"camvid_merged": raw, "camvid_pure": raw}
    found = {"camvid": camvid, "cityscapes": cityscapes, "folder": own, **raws}
    return {"streets": "", **{name: str(path) for name, path in found.items()}}


EVERY = list(itertools.product(models.names(), RECIPES))


def test_recipes_train_are_scored_and_kept(trees, tmp_path):
    """With one convolution for a network: all else in a recipe is as it is.

    A third of them, with each network and each data set in it at least twice.
    """
    some = EVERY[::3]
    for i in (0, 1):
        assert min(Counter(pair[i] for pair in some).values()) >= 2
    train_two_steps(some, trees, tmp_path, tiny=True)


@pytest.mark.slow
def test_every_recipe_trains_is_scored_and_kept(trees, tmp_path):
    train_two_steps(EVERY, trees, tmp_path, tiny=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", models.names())
def test_every_recipe_trains_its_network(name, trees, tmp_path):
    pairs = [(name, recipe) for recipe in RECIPES]
    train_two_steps(pairs, trees, tmp_path, tiny=False)


@pytest.mark.parametrize("name", models.names())
def test_the_papers_schedules(name):
    for dataset, samples, classes in (("camvid", 367, 11), ("cityscapes", 2975, 19)):
        config = importlib.import_module(f"configs.{name}").get_config(dataset)
        recipe = build(config, samples=samples, num_classes=classes)
        steps = config.train.num_epochs * (samples // config.train.batch_size)
        assert recipe.total_steps == steps
        # Where the warm-up ends the rate is the recipe's, at the end it is 0.
        schedule = config.schedule
        peak = float(recipe.schedule(schedule.warmup_steps))
        assert peak == pytest.approx(schedule.peak_lr)
        assert float(recipe.schedule(steps)) == 0


def test_auto_takes_cityscapes_where_it_lies(tmp_path, monkeypatch, capsys):
    get_config = importlib.import_module("configs.dabnet").get_config
    monkeypatch.setenv("JAXSEG_DATA", str(tmp_path))
    assert get_config().data.name == "streets"
    assert f"does not lie in {tmp_path}/cityscapes" in capsys.readouterr().out
    (tmp_path / "cityscapes" / "leftImg8bit").mkdir(parents=True)
    assert get_config().data.name == "cityscapes"
    assert "so the data set is cityscapes" in capsys.readouterr().out
    for arguments, sentence in (
        ("camvid,best", "no recipe is called 'best'"),
        ("streets,modern", "is for Cityscapes and CamVid, not for streets"),
    ):
        with pytest.raises(UserError, match=sentence):
            get_config(arguments)


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
