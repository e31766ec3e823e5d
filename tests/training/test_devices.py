"""Several devices and several processes train as one device does."""

import json
import os
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import ROOT, SMALL, start

from jaxseg.runs import Run

# Two steps of one batch of 8: on one device of the eight, split over all by jit, and
# mapped over all by pmap. Nothing is drawn at random, for pmap's devices draw numbers
# of their own: DABNet, because it has no dropout. OHEM and void make the loss depend on
# the whole batch; pmap averages its devices' losses, so it is compared without them.
PROGRAM = """
import sys
import jax, numpy as np, optax
from jaxseg import devices, models
from jaxseg.data.augment import Augment
from jaxseg.data.preprocess import Preprocess
from jaxseg.training.losses import CrossEntropy
from jaxseg.training.step import init_state, make_train_step

assert jax.device_count() == 8
rng = np.random.default_rng(0)
image = rng.integers(0, 256, (8, 16, 32, 3), dtype=np.uint8)
label = rng.integers(0, 3, (8, 16, 32), dtype=np.uint8)
augment, tx = Augment((16, 32), flip=False), optax.sgd(0.1, momentum=0.9)


def trained(loss, placed, axis_name=None):
    short = dict(num_classes=3, dilations1=(2,), dilations2=(4,))
    model = models.create("dabnet", **short, axis_name=axis_name)
    step = make_train_step(model, tx, loss, augment, Preprocess(), seed=3)
    plain = models.create("dabnet", **short)
    state, batch = init_state(plain, tx, 0, (16, 32)), {"image": image, "label": label}
    if placed == "split":
        state = devices.replicate(state)
        batch = {k: devices.place(v, devices.by_sample()) for k, v in batch.items()}
    if placed == "mapped":
        step = jax.pmap(step.__wrapped__, axis_name=axis_name)
        state = jax.tree.map(lambda x: np.stack([x] * 8), state)
        batch = {k: v.reshape(8, 1, *v.shape[1:]) for k, v in batch.items()}
    losses = []
    for _ in range(2):
        state, metrics = step(state, batch)
        losses.append(np.asarray(metrics["loss"]).ravel()[0])
    if placed == "split":
        assert len(batch["image"].sharding.device_set) == 8
        assert all(x.is_fully_replicated for x in jax.tree.leaves(state))
    variables = jax.tree.map(np.asarray, state.variables)
    if placed == "mapped":
        variables = jax.tree.map(lambda x: x[0], variables)
    leaves = jax.tree.leaves(variables)
    return np.array(losses), np.concatenate([x.ravel() for x in leaves])


found = {}
plain = CrossEntropy(class_weights=(1.0, 2.0, 3.0))
# Every device's pixels weigh the same, so that the mean of means is the mean.
label[:] = label[:1]
for placed, axis in (("one", None), ("mapped", "data")):
    found["plain", placed] = trained(plain, placed, axis)
label[1:4] = 255
hard = CrossEntropy(ohem_threshold=0.3, ohem_least_kept=0.1)
for placed in ("one", "split"):
    found["hard", placed] = trained(hard, placed)
np.savez(sys.argv[1], **{"_".join(k) + n: v for k, vs in found.items()
                         for n, v in zip(("_losses", "_weights"), vs)})
"""


def test_eight_devices_train_as_one(tmp_path):
    out = tmp_path / "found.npz"
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", PROGRAM, str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(out)
    for what in ("plain_mapped", "hard_split"):
        one = what.split("_")[0] + "_one"
        losses, expected = found[f"{what}_losses"], found[f"{one}_losses"]
        assert expected[0] != expected[1]
        np.testing.assert_allclose(losses, expected, rtol=1e-5, err_msg=what)
        weights, expected = found[f"{what}_weights"], found[f"{one}_weights"]
        np.testing.assert_allclose(weights, expected, rtol=1e-3, atol=1e-4)


def pair(workdir, *arguments):
    """Two processes that train together, over loopback."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    return [
        start(
            "train.py",
            *arguments,
            f"--workdir={workdir}",
            f"--distributed=127.0.0.1:{port},{number},2",
        )
        for number in range(2)
    ]


def ends(processes):
    outputs = [process.communicate(timeout=400) for process in processes]
    return [(p.returncode, *output) for p, output in zip(processes, outputs)]


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed(camvid_tree, tmp_path):
    workdir, alone = tmp_path / "pair", tmp_path / "alone"
    arguments = (
        *SMALL,
        f"--config.data.dir={camvid_tree}",
        "--config.train.batch_size=2",
        "--config.train.num_epochs=2",
    )
    both = pair(workdir, *arguments)
    record = workdir / "metrics.jsonl"
    while not (workdir / "checkpoints" / "8").is_dir() or not _is_after(record, 8):
        assert both[0].poll() is None, both[0].communicate()
        time.sleep(0.1)
    both[1].kill()
    both[0].kill()  # it would wait for the other, as a scheduler would see
    ends(both)
    assert Run(workdir).variables("last")[1] == 8

    (code, out, err), (other_code, other_out, other_err) = ends(
        pair(workdir, *arguments)
    )
    assert code == other_code == 0, (err, other_err)
    assert "Going on from step 8: epoch 2, batch 1 of 8." in out and "Trained." in out
    assert "Trained." not in other_out and "epoch" not in other_out
    process = start("train.py", *arguments, f"--workdir={alone}")
    assert ends([process])[0][0] == 0
    two, one = (Run(folder).variables("last") for folder in (workdir, alone))
    assert two[1] == one[1] == 16
    for a, b in zip(jax.tree.leaves(two[0]), jax.tree.leaves(one[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-2)
    scores = [Run(folder).record["scores"]["last"] for folder in (workdir, alone)]
    assert scores[0]["pixels"] == scores[1]["pixels"]
    assert scores[0]["miou"] == pytest.approx(scores[1]["miou"], abs=0.02)


def _is_after(record, step):
    lines = record.read_text().splitlines() if record.is_file() else []
    return any(json.loads(line)["step"] > step for line in lines[:-1])


def test_a_batch_that_devices_cannot_share(camvid_tree, tmp_path):
    process = subprocess.run(
        [
            *(sys.executable, "train.py", *SMALL),
            f"--config.data.dir={camvid_tree}",
            f"--workdir={tmp_path / 'run'}",
        ],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert "batch_size is 1; it must be a multiple of 2" in process.stderr


@pytest.mark.parametrize("how", ["here", "host:1234,2,2", "host,0,2"])
def test_a_place_among_processes_that_cannot_be(how, camvid_tree, tmp_path):
    process = start("train.py", *SMALL, f"--workdir={tmp_path}", f"--distributed={how}")
    ((code, _, err),) = ends([process])
    assert code == 2 and "give `auto` or HOST:PORT,NUMBER,COUNT" in err
