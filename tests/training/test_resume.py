"""Real processes, killed for real: the weights end up the same, bit for bit."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import PER_EPOCH, SMALL, run, start

from jaxseg.checkpoints import steps_in
from jaxseg.runs import Run

EPOCHS, STEPS = 3, 3 * PER_EPOCH


def train_arguments(camvid_tree, workdir, epochs=EPOCHS):
    return (
        *SMALL,
        f"--config.data.dir={camvid_tree}",
        f"--config.train.num_epochs={epochs}",
        f"--workdir={workdir}",
    )


def lines(workdir) -> list[dict]:
    path = Path(workdir) / "metrics.jsonl"
    if not path.is_file():
        return []
    whole = [t for t in path.read_text().splitlines(True) if t.endswith("\n")]
    return [json.loads(text) for text in whole]


def wait_for(process, condition, seconds=240):
    """Polls until `condition()`; fails if the process ends or the time does."""
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.002)


def is_after(workdir, step) -> bool:
    return any(line["step"] > step for line in lines(workdir))


def final_state(workdir):
    """Every array of the last checkpoint, and the record without its speeds."""
    run_ = Run(workdir)
    variables, step = run_.variables("last")
    assert step == STEPS
    timings = ("images_per_s", "data_wait")
    record = [
        {k: v for k, v in line.items() if k not in timings} for line in lines(workdir)
    ]
    return jax.device_get(variables), record


@pytest.fixture(scope="module")
def uninterrupted(camvid_tree, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    code, out, err = run("train.py", *train_arguments(camvid_tree, workdir))
    assert code == 0, err
    assert f"eval.py --ckpt {workdir} --split val" in out
    return workdir


def assert_same_end(workdir, uninterrupted):
    variables, record = final_state(workdir)
    expected, expected_record = final_state(uninterrupted)
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(variables), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        np.testing.assert_array_equal(a, b)
    assert record == expected_record


def resume(camvid_tree, workdir):
    code, out, err = run("train.py", *train_arguments(camvid_tree, workdir))
    assert code == 0, err
    return out


def killed(moment, tmp_path, camvid_tree, *more):
    """The folder of a run that was killed with -9 while `moment(workdir)` held.

    The process is halted to look a second time, so that the moment cannot pass between
    the look and the kill. One that ends without the moment is started again: on a slow
    disk the second epoch can be over before the first one's checkpoint is whole.
    """
    for attempt in range(5):
        workdir = tmp_path / f"run{attempt}"
        process = start("train.py", *train_arguments(camvid_tree, workdir), *more)
        while process.poll() is None:
            if moment(workdir):
                process.send_signal(signal.SIGSTOP)
                if moment(workdir):
                    process.kill()
                    process.communicate()
                    return workdir
                process.send_signal(signal.SIGCONT)
            time.sleep(0.002)
        out, err = process.communicate()
        assert process.returncode == 0, (out, err)
    pytest.fail("the moment never came")


def test_kill_in_the_middle_of_an_epoch(camvid_tree, uninterrupted, tmp_path):
    def second_epoch_is_under_way(workdir):
        """With a checkpoint that was due by time, and steps after it."""
        inside = range(PER_EPOCH + 1, 2 * PER_EPOCH)
        whole = [step for step in inside if step in steps_in(workdir / "checkpoints")]
        return bool(whole) and max(x["step"] for x in lines(workdir)) > max(whole)

    often = "--config.train.checkpoint_every_minutes=0.001"
    workdir = killed(second_epoch_is_under_way, tmp_path, camvid_tree, often)
    newest = steps_in(workdir / "checkpoints")[-1]
    out = resume(camvid_tree, workdir)
    batch = newest - PER_EPOCH + 1
    assert f"Going on from step {newest}: epoch 2, batch {batch} of {PER_EPOCH}." in out
    assert "config.train.checkpoint_every_minutes was 0.001, is now 10.0." in out
    assert_same_end(workdir, uninterrupted)


def test_a_trial_of_some_steps_that_is_made_whole(camvid_tree, uninterrupted, tmp_path):
    workdir, trial = tmp_path / "run", f"--config.train.max_steps={PER_EPOCH}"
    arguments = train_arguments(camvid_tree, workdir)
    code, out, err = run("train.py", *arguments, trial)
    assert code == 0 and "Trained." in out, err
    # As if it had been stopped between the last step of its epoch and the validation.
    checkpoint = workdir / "checkpoints" / str(PER_EPOCH)
    shutil.rmtree(checkpoint / "metrics")
    about = checkpoint / "about" / "metadata"
    about.write_text(json.dumps({**json.loads(about.read_text()), "miou": None}))
    record = (workdir / "metrics.jsonl").read_text().splitlines(True)
    assert '"val"' in record[-1]
    (workdir / "metrics.jsonl").write_text("".join(record[:-1]))
    # And as if a bit of an older checkpoint's score had flipped.
    older = shutil.copytree(checkpoint, checkpoint.with_name("3"))
    (older / "metrics").mkdir()
    (older / "metrics" / "metrics").write_text('{"miou" 0.5}')
    assert f"Going on from step {PER_EPOCH}: epoch 2" in resume(camvid_tree, workdir)
    assert (workdir / "damaged" / "3").is_dir()
    assert_same_end(workdir, uninterrupted)


def test_kill_in_the_middle_of_a_checkpoint_write(camvid_tree, uninterrupted, tmp_path):
    def second_is_being_written(workdir):
        names = [p.name for p in (workdir / "checkpoints").glob(f"{2 * PER_EPOCH}*")]
        return bool(names) and all("tmp" in name for name in names)

    workdir = killed(second_is_being_written, tmp_path, camvid_tree)
    assert not (workdir / "checkpoints" / str(2 * PER_EPOCH)).exists()
    assert Run(workdir).variables("last")[1] == PER_EPOCH
    assert f"Going on from step {PER_EPOCH}: epoch 2" in resume(camvid_tree, workdir)
    assert_same_end(workdir, uninterrupted)


def test_signals_save_and_one_process_trains(camvid_tree, uninterrupted, tmp_path):
    """SIGTERM in the second epoch exits with 0, Ctrl-C in the third with 130."""
    workdir, saved = tmp_path / "run", 0
    arguments = train_arguments(camvid_tree, workdir)
    for number, name, code in (
        (signal.SIGTERM, "SIGTERM", 0),
        (signal.SIGINT, "Ctrl-C", 130),
    ):
        process, after = start("train.py", *arguments), saved or PER_EPOCH
        wait_for(process, lambda after=after: is_after(workdir, after))
        if not saved:
            process.send_signal(signal.SIGSTOP)  # so that it is there long enough
            second = run("train.py", *arguments)
            process.send_signal(signal.SIGCONT)
            assert second[0] == 2
            assert f"is being trained in by process {process.pid} on" in second[2]
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, err
        assert f"Stopped by {name}; step" in out and "Traceback" not in err
        assert saved == 0 or f"Going on from step {saved}:" in out
        saved = Run(workdir).variables("last")[1]
        assert after < saved < STEPS
    assert f"Going on from step {saved}:" in resume(camvid_tree, workdir)
    assert_same_end(workdir, uninterrupted)


def test_eval_says_what_training_said_to_the_last_digit(uninterrupted, tmp_path):
    out_file = tmp_path / "scores.json"
    options = ("--split=val", "--step=last", f"--json={out_file}")
    code, out, err = run("eval.py", f"--ckpt={uninterrupted}", *options)
    assert code == 0, err
    scores = json.loads(out_file.read_text())
    assert scores == Run(uninterrupted).record["scores"]["last"]
    assert f"{100 * scores['miou']:.2f}" in out and scores["protocol"] in out
    assert lines(uninterrupted)[-1]["miou"] == scores["miou"]
    pixels = 3 * 360 * 480
    assert 0 < scores["pixels"] <= pixels


def test_a_full_disk_keeps_the_checkpoint_before(camvid_tree, tmp_path):
    workdir = tmp_path / "run"
    first = train_arguments(camvid_tree, workdir, epochs=1)
    code, _, err = run("train.py", *first)
    assert code == 0, err
    before = jax.device_get(Run(workdir).variables("last")[0])

    # 512 KiB are too little for a checkpoint, 64 for the picture of a validation.
    for limit, validations, sentence in (
        (512, 0, f"could not be written.*step {PER_EPOCH} is whole"),
        (64, 1, "File too large.*run the same command again"),
    ):
        code, out, err = run(
            "train.py",
            *train_arguments(camvid_tree, workdir),
            f"--config.train.eval_every_epochs={validations}",
            file_limit_kib=limit,
        )
        assert code == 2, (code, out, err)
        # JAX warns before it of programs that it could not keep.
        assert re.search(sentence, err.splitlines()[-1]) and "Traceback" not in err, err
    after, step = Run(workdir).variables("last")
    assert step == PER_EPOCH
    for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_that_is_not_finite_names_step_and_files(camvid_tree, tmp_path):
    workdir = tmp_path / "run"
    code, _, err = run(
        "train.py",
        *train_arguments(camvid_tree, workdir),
        "--config.optim.name=sgd",
        "--config.schedule.peak_lr=1e30",
    )
    assert code == 2
    assert "the loss of step" in err and "train_00" in err and "peak_lr" in err
    assert "Traceback" not in err
