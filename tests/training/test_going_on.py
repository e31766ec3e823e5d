"""What a run that goes on is told and asked, without training one."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import ROOT
from rich.console import Console

from configs import esnet, liteseg_mobilenet
from jaxseg.data.classes import CITYSCAPES
from jaxseg.data.preprocess import Preprocess
from jaxseg.errors import UserError
from jaxseg.runs import Run, describe
from jaxseg.training import resume
from jaxseg.training.bar import Bar
from jaxseg.training.journal import Journal
from jaxseg.training.recipe import Recipe, TrainSettings, fit_to_data


def recipe(samples=16, batch_size=2, num_epochs=4, offset=0, **settings):
    settings = TrainSettings(num_epochs, batch_size, **settings)
    total = samples // batch_size * num_epochs
    return Recipe(None, None, settings, None, None, (), None, 0, total, offset)


def gone_on(step, was, now):
    """The recipe `now` as it goes on from `step` of `was`."""
    config = {"train": {"batch_size": was.settings.batch_size}}
    return replace(now, offset=resume.offset_of(step, resume.note(was), config, now))


@pytest.mark.parametrize(
    "step, batches, place, last",
    [
        # 32 steps of 2 were all 4 epochs: nothing is left, whatever the batch.
        (32, (2, 1), (4, 0), 32),
        (32, (2, 4), (4, 0), 32),
        # Two epochs and 3 batches of 2: six pictures are six batches of 1, and one
        # whole batch of 4; the other two are seen again.
        (19, (2, 1), (2, 6), 19 + 10 + 16),
        (19, (2, 4), (2, 1), 19 + 3 + 4),
        (19, (2, 2), (2, 3), 32),
    ],
)
def test_another_batch_size_goes_on_in_the_epoch_that_was_reached(
    step, batches, place, last
):
    was, now = (recipe(batch_size=size) for size in batches)
    now = gone_on(step, was, now)
    assert now.place(step) == place and now.last_step == last
    # And back again, an epoch later, and from the checkpoint of an older jaxseg.
    back = gone_on(step, now, was)
    assert back.place(step)[0] == place[0]
    config = {"train": {"batch_size": batches[0]}}
    assert resume.offset_of(step, {}, config, now) == now.offset


def test_validations_follow_epochs_and_the_last_step():
    found = recipe(eval_every_epochs=3, offset=2)  # 8 steps an epoch
    assert [s for s in range(40) if found.is_due(s)] == [22, 30]
    assert recipe(eval_every_epochs=3, max_steps=5).last_step == 5
    assert not recipe(eval_every_epochs=0).is_due(32)
    assert recipe(max_steps=5).is_due(5) and recipe(max_steps=99).last_step == 32


@pytest.mark.parametrize(
    "key, value, least",
    [
        ("num_epochs", -1, 1),
        ("batch_size", 0, 1),
        ("eval_batch_size", 0, 1),
        ("eval_every_epochs", -1, 0),
        ("steps_per_call", 0, 1),
        ("log_every_steps", 0, 1),
        ("keep_checkpoints", 0, 1),
        ("max_steps", -1, 0),
        ("checkpoint_every_minutes", -0.5, 0),
        ("ema_decay", -0.1, 0),
    ],
)
def test_zeros_and_negatives_are_refused(key, value, least):
    sentence = rf"config\.train\.{key} is {value}; it must be {least} or more"
    with pytest.raises(UserError, match=sentence):
        TrainSettings(**{"num_epochs": 1, "batch_size": 1, key: value})
    with pytest.raises(UserError, match=r"ema_decay is 1\.0; it must be below 1"):
        TrainSettings(1, 1, ema_decay=1.0)


def started(folder, config, init_from=None, checkpoint=True):
    model = {"name": "esnet", "num_classes": 19}
    record = describe(model, CITYSCAPES, Preprocess(), config, init_from)
    run = Run.start(folder, record)
    if checkpoint:
        (folder / "checkpoints" / "16").mkdir(parents=True)
    return run


def plain(config):
    """As `run.json` has it."""
    return json.loads(json.dumps(config.to_dict()))


def test_changes_are_listed_and_those_that_checkpoints_cannot_take_refused(tmp_path):
    config = esnet.get_config("camvid")
    run = started(tmp_path, config.to_dict())
    before = (tmp_path / "run.json").read_text()
    config.train.batch_size = 3
    assert resume.changes(run, plain(config)) == [
        "config.train.batch_size was 8, is now 3."
    ]
    for section, key, value in (("optim", "name", "sgd"), ("train", "ema_decay", 0.5)):
        other = esnet.get_config("camvid")
        other[section][key] = value
        sentence = rf"config\.{section}\.{key} is .* and {value!r} now"
        with pytest.raises(UserError, match=sentence):
            resume.changes(run, plain(other))
        assert (tmp_path / "run.json").read_text() == before
    run = started(tmp_path / "new", config.to_dict(), checkpoint=False)
    assert len(resume.changes(run, plain(other))) == 2  # nothing is lost


def test_init_from_where_there_are_checkpoints(tmp_path):
    out = io.StringIO()
    console = Console(file=out, width=1000)
    config = esnet.get_config("camvid").to_dict()
    first = started(tmp_path / "a", config, "runs/coarse")
    resume.check_init_from(first, None, console)
    assert not out.getvalue()
    resume.check_init_from(first, "runs/coarse", console)
    assert "--init-from runs/coarse was for the start" in out.getvalue()
    with pytest.raises(UserError, match="b.pth is for a new run.* from runs/coarse"):
        resume.check_init_from(first, "b.pth", console)
    drawn = started(tmp_path / "b", config)
    with pytest.raises(UserError, match="started from drawn weights"):
        resume.check_init_from(drawn, "nowhere", console)
    # Stopped before its first checkpoint, it may start from something else.
    new = started(tmp_path / "c", config, "a.pth", checkpoint=False)
    resume.check_init_from(new, "b.pth", console)
    record = {**new.record, "init_from": "b.pth"}
    resume.keep_changes(new, record, [], console)
    assert Run(tmp_path / "c").record["init_from"] == "b.pth"


def test_lines_where_there_is_no_terminal():
    out = io.StringIO()
    console = Console(file=out, width=60)
    values = dict(loss=1.25, learning_rate=5e-4, images_per_s=12.0, data_wait=0.03)
    with Bar(console, recipe(), 9, every_s=0.05) as bar:
        time.sleep(0.3)  # as while XLA compiles
        bar.show(values)
        bar.advance(11)
        time.sleep(0.3)
        for _ in bar.validating(iter("ab"), 2):
            time.sleep(0.3)
    lines = out.getvalue().splitlines()
    assert lines[0] == "epoch 2/4  step 9/32  compiling"
    done = "epoch 2/4  step 11/32  loss 1.250  lr 5.00e-04  12.0 images/s  waiting 3 %"
    assert f"{done}  0:00 h left" in lines
    assert any("validating, batch 2/2" in line for line in lines)
    said = len(lines)
    time.sleep(0.2)
    assert len(out.getvalue().splitlines()) == said


# A process of its own: what other tests load may have handlers for signals too.
ASKED = """
import os, signal, sys, time
from jaxseg.training.stopping import StopSignal

number, name = int(sys.argv[1]), sys.argv[2]
signal.signal(number, signal.SIG_DFL)  # what nohup ignores is heard here
signal.signal(signal.SIGINT, signal.default_int_handler)
handlers = [signal.getsignal(n) for n in (number, signal.SIGINT)]
with StopSignal() as stop:
    assert not stop.is_due(1)
    os.kill(os.getpid(), number)
    until = time.monotonic() + 10
    while not stop.is_due(2) and time.monotonic() < until:
        time.sleep(0.01)
    assert stop.requested and stop.name == name, stop.name
    assert stop.interrupted == (name == "Ctrl-C")
assert [signal.getsignal(n) for n in (number, signal.SIGINT)] == handlers
"""


@pytest.mark.parametrize(
    "number, name",
    [
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGHUP, "SIGHUP"),
        (signal.SIGINT, "Ctrl-C"),
    ],
)
def test_a_signal_asks_to_stop(number, name):
    command = [sys.executable, "-c", ASKED, str(int(number)), name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Asleep in C, as while XLA compiles: no handler of Python's own would run.
STUBBORN = """
import ctypes
from jaxseg.training.stopping import StopSignal
with StopSignal():
    print("ready", flush=True)
    libc = ctypes.CDLL(None)
    for _ in range(1000):
        libc.sleep(60)
"""


def test_a_second_ctrl_c_stops_at_once():
    command = [sys.executable, "-c", STUBBORN]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith(b"Stopping after this step")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130


def test_what_a_power_cut_leaves_of_the_journal(tmp_path):
    lines = [json.dumps({"kind": "train", "step": step}) + "\n" for step in (1, 2, 3)]
    for left in ("\0\0\0\0", "\0\0\0\0\n", '{"kind": "tr', '{"kind"}\n', "[1]\n"):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(lines) + left)
        with Journal(tmp_path, 2):
            assert path.read_text() == "".join(lines[:2])


class Pictures:
    name, hw, table = "folder", (120, 161), ("a", "b")


@pytest.mark.parametrize(
    "crop, scale, fitted",
    [
        ((384, 512), 1.0, (120, 168)),  # what every network takes
        ((96, 512), 1.0, (96, 168)),
        ((384, 512), 0.5, (64, 80)),
        ((96, 128), 1.0, None),
    ],
)
def test_the_recipe_for_a_folder_fits_its_pictures(crop, scale, fitted):
    config = esnet.get_config("folder")
    config.augment.crop_hw, config.preprocess.input_scale = crop, scale
    config.data.dir = "mine"
    said = fit_to_data(config, Pictures)
    assert config.data.dir == os.path.abspath("mine")
    assert config.model.num_classes == 2
    assert tuple(config.augment.crop_hw) == (fitted or crop)
    assert bool(said) == bool(fitted)


def test_a_crop_for_a_folder_fits_the_stride_of_the_network():
    config = liteseg_mobilenet.get_config("folder")
    fit_to_data(config, Pictures)
    assert tuple(config.augment.crop_hw) == (128, 192)
