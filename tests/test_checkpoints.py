"""Checkpoints that are damaged on purpose: never other arrays than were written."""

import gc
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import checkpoints
from jaxseg.checkpoints import Checkpoints, Damaged
from jaxseg.errors import UserError

STEPS = (3, 5, 8)
SCORES = {3: 0.5, 5: 0.2, 8: None}
# Orbax leaves coroutines behind when it cannot read.
LEFT_BEHIND = (
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:coroutine",
)


def items(step):
    """Arrays that compress to nothing would not show a flipped bit: random ones."""
    kernel = np.random.default_rng(step).normal(size=(64, 65)).astype(np.float32)
    variables = {"params": {"kernel": jnp.asarray(kernel)}}
    return {"variables": variables, "optimizer": {"step": jnp.asarray(step)}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder, keep=2) as manager:
        for step in STEPS:
            manager.save(step, items(step), SCORES[step], {"offset": step + 1})
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "checkpoints")


def read(folder, step):
    like = jax.eval_shape(lambda: items(step))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda x: x.update(sharding=here), like)
    return checkpoints.read(folder, step, like)


def assert_as_written(found, step):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(items(step)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_newest_and_the_best_are_kept_as_they_were_written(folder):
    assert checkpoints.steps_in(folder) == [3, 5, 8]  # 3 is the best
    assert {s: checkpoints.score_of(folder, s) for s in STEPS} == SCORES
    for step in STEPS:
        assert_as_written(read(folder, step), step)
        assert checkpoints.about(folder, step)["offset"] == step + 1


def test_one_of_an_older_jaxseg_is_read_but_for_values_that_are_not_finite(folder):
    shutil.rmtree(folder / "5" / "about")
    assert_as_written(read(folder, 5), 5)
    assert checkpoints.about(folder, 5) == {}
    broken = items(9)
    broken["variables"]["params"]["kernel"] *= jnp.nan
    with Checkpoints(folder, keep=2) as manager:
        manager.save(9, broken, None, {})
    with pytest.raises(Damaged, match="kernel.* holds values that are not finite"):
        read(folder, 9)


def files(folder, step):
    """Every file of a checkpoint that holds anything, but for Orbax's marks."""
    paths = (folder / str(step)).rglob("*")
    found = [path for path in paths if path.is_file() and path.stat().st_size]
    return sorted(path for path in found if path.name != "commit_success.txt")


def truncated(data):
    return data[: len(data) // 2]


def emptied(data):
    return b""


def zeroed(data):
    return bytes(len(data))


def flipped(data):
    """One bit in the middle of the second half: past the headers."""
    at = len(data) * 3 // 4
    return data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :]


@pytest.mark.filterwarnings(*LEFT_BEHIND)
@pytest.mark.parametrize("damage", [truncated, emptied, zeroed, flipped])
def test_every_file_damaged_is_found_or_does_not_matter(folder, damage):
    found = 0
    for path in files(folder, 8):
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        try:
            assert_as_written(read(folder, 8), 8)
        except Damaged:
            found += 1
        path.write_bytes(whole)
    assert found
    assert_as_written(read(folder, 8), 8)
    gc.collect()  # now, not in the test that comes next


@pytest.mark.filterwarnings(*LEFT_BEHIND)
def test_a_file_that_is_gone_is_found_or_does_not_matter(folder):
    for path in files(folder, 8):
        whole = path.read_bytes()
        path.unlink()
        try:
            assert_as_written(read(folder, 8), 8)
        except Damaged:
            pass
        path.write_bytes(whole)
    gc.collect()


def test_arrays_of_another_checkpoint_have_other_checksums(folder):
    shutil.rmtree(folder / "8" / "variables")
    shutil.copytree(folder / "5" / "variables", folder / "8" / "variables")
    with pytest.raises(Damaged, match="variables has not the checksums"):
        read(folder, 8)


def test_the_newest_that_is_whole_is_taken_and_a_line_says_so(folder):
    for step in (8, 5):
        about = folder / str(step) / "about" / "metadata"
        about.write_text(about.read_text().replace("kernel", "colonel"))
    said = []
    step, found = checkpoints.newest_good(
        folder, (8, 5, 3), lambda step: read(folder, step), said.append
    )
    assert step == 3
    assert_as_written(found, 3)
    assert "step 8 is damaged" in said[0] and "step 5 is damaged" in said[1]
    assert said[2].startswith("Step 3, the newest that is whole")
    sentence = "checkpoints/8 cannot be read .*, nor any of 1 more"
    with pytest.raises(UserError, match=sentence):
        checkpoints.newest_good(
            folder, (8, 5), lambda step: read(folder, step), said.append
        )
    checkpoints.set_aside(folder, (8, 5))
    assert checkpoints.steps_in(folder) == [3]
    aside = folder.parent / "damaged"
    assert sorted(path.name for path in aside.iterdir()) == ["5", "8"]


@pytest.mark.parametrize(
    "text", ["", "{", '{"miou": 0.7}', '{"miou": "high"}', "[1]", "\0\0\0"]
)
def test_a_score_that_cannot_be_read(folder, text):
    (folder / "3" / "metrics" / "metrics").write_text(text)
    with pytest.raises(Damaged):
        checkpoints.score_of(folder, 3)


def test_about_that_is_no_mapping(folder):
    (folder / "3" / "about" / "metadata").write_text(json.dumps([1]))
    with pytest.raises(Damaged, match="no mapping"):
        read(folder, 3)
