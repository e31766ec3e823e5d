"""The scripts as a user meets them: one sentence and a non-zero exit for a mistake."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import PER_EPOCH, SMALL, run
from PIL import Image


@pytest.fixture(scope="module")
def trained(camvid_tree, tmp_path_factory):
    """A run of one epoch."""
    workdir = tmp_path_factory.mktemp("runs") / "small"
    code, _, err = train(camvid_tree, workdir)
    assert code == 0, err
    return workdir


def train(data, workdir, *more):
    return run(
        "train.py",
        *SMALL,
        f"--config.data.dir={data}",
        "--config.train.num_epochs=1",
        f"--workdir={workdir}",
        *more,
    )


def assert_one_sentence(result, *parts):
    code, out, err = result
    assert code != 0
    assert "Traceback" not in err + out, err
    assert len(err.strip().splitlines()) == 1, err
    for part in parts:
        assert part in err


def test_predict_writes_overlay_labels_and_legend(trained, tmp_path):
    pictures = tmp_path / "in"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for name, hw in (("a.png", (33, 47)), ("b.jpg", (20, 64))):
        noise = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / name)
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "out"
    result = run(
        "predict.py", f"--ckpt={trained}", f"--input={pictures}", f"--output={out}"
    )
    assert_one_sentence(result, "1 of 3 pictures could not be read", "broken.png")
    assert sorted(path.name for path in out.iterdir()) == [
        "a_labels.png",
        "a_overlay.png",
        "b_labels.png",
        "b_overlay.png",
        "legend.png",
    ]
    labels = Image.open(out / "a_labels.png")
    assert labels.mode == "P" and labels.size == (47, 33)
    assert np.asarray(labels).max() < 11
    assert Image.open(out / "b_overlay.png").size == (64, 20)


def test_what_a_run_folder_holds(trained):
    record = json.loads((trained / "run.json").read_text())
    assert record["model"]["name"] == "dabnet" and len(record["classes"]["names"]) == 11
    assert record["scores"]["best"]["protocol"].startswith("camvid val, 480x360")
    titles = 24
    assert Image.open(trained / "samples.png").size == (3 * 480, titles + 3 * 360)
    kinds = [json.loads(t)["kind"] for t in (trained / "metrics.jsonl").open()]
    assert kinds == ["train"] * PER_EPOCH + ["val"]


def test_the_model_card_says_what_the_record_does(trained):
    record = json.loads((trained / "run.json").read_text())
    card = (trained / "MODEL_CARD.md").read_text()
    best = record["scores"]["best"]
    assert card.startswith("# dabnet, camvid\n")
    assert f"{100 * best['miou']:.2f} % mean IoU ({best['protocol']})" in card
    assert f"starting from random weights, step {best['step']}" in card
    assert "CamVid is for research" in card and ", ".join(best["class_iou"]) in card


def test_tensorboard_reads_what_was_logged(trained):
    tf = pytest.importorskip("tensorflow")
    (path,) = (trained / "tensorboard").glob("events*")
    found, pictures = {}, []
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            if value.HasField("image"):
                pictures.append(value.image.encoded_image_string)
            else:
                found[event.step, value.tag] = value.simple_value
    expected = {
        (line["step"], f"{line['kind']}/{name}"): value
        for line in map(json.loads, (trained / "metrics.jsonl").open())
        for name, value in line.items()
        if name not in ("kind", "step")
    }
    assert found == pytest.approx(expected)
    (picture,) = pictures
    expected_picture = np.asarray(Image.open(trained / "samples.png"))
    np.testing.assert_array_equal(tf.io.decode_png(picture), expected_picture)


def test_a_finished_run_says_so_again(trained, camvid_tree):
    before = (trained / "run.json").read_text()
    # With another batch size too: the epoch is what counts.
    code, out, err = train(camvid_tree, trained, "--config.train.batch_size=2")
    assert code == 0, err
    assert "Nothing was done: the run is at epoch 1 of 1, step 16, and it is fin" in out
    assert "eval.py --ckpt" in out and "Trained." not in out
    assert (trained / "run.json").read_text() == before


def test_what_a_run_that_goes_on_refuses(trained, camvid_tree):
    before = (trained / "run.json").read_text()
    result = train(camvid_tree, trained, "--config.optim.name=sgd")
    assert_one_sentence(result, "config.optim.name is 'adam' in", "--init-from")
    assert (trained / "run.json").read_text() == before


def test_missing_data_folder(tmp_path):
    result = train(tmp_path / "nowhere", tmp_path / "run")
    assert_one_sentence(result, "there is no folder", "nowhere", "--config.data.dir")
    assert not (tmp_path / "run").exists()


def test_truncated_png(camvid_tree, tmp_path):
    tree = shutil.copytree(camvid_tree, tmp_path / "tree")
    path = tree / "train" / "train_005.png"
    path.write_bytes(path.read_bytes()[:1000])
    result = train(tree, tmp_path / "run")
    assert_one_sentence(result, "train_005.png cannot be read")


def test_unknown_data_set():
    result = run("train.py", "--config=configs/esnet.py:mars")
    assert_one_sentence(result, "'mars'; there are: auto, camvid,")


def test_unknown_network(camvid_tree, tmp_path):
    result = train(camvid_tree, tmp_path / "run", "--config.model.name=unet")
    assert_one_sentence(result, "'unet'; there are: dabnet")


def test_misspelt_key(camvid_tree, tmp_path):
    result = train(camvid_tree, tmp_path / "run", "--config.train.num_epoch=3")
    assert_one_sentence(
        result,
        "has no key 'num_epoch'; did you mean 'num_epochs'",
        "Keys of --config.train: batch_size, checkpoint_every_minutes",
        "Networks: dabnet, ",
        "Data sets: camvid, ",
    )


def test_config_file_that_is_not_there():
    result = run("train.py", "--config=configs/nothing.py")
    assert_one_sentence(result, "configs/nothing.py")


def test_no_config_at_all():
    assert_one_sentence(run("train.py"), "--config")


def test_a_run_of_another_network_or_class_count(trained, camvid_tree):
    result = run("train.py", "--config=configs/esnet.py", f"--workdir={trained}")
    assert_one_sentence(result, "was trained with another network")
    short = "--config=tools/reliability/short_dabnet.py:streets"
    result = run("train.py", short, f"--workdir={trained}")
    assert_one_sentence(result, "was trained with another network", "num_classes is 11")


def test_no_run(tmp_path):
    result = run("eval.py", f"--ckpt={tmp_path}", "--split=val")
    assert_one_sentence(result, "is not a run: there is no run.json")


def test_only_a_half_written_checkpoint(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    whole = copy / "checkpoints" / str(PER_EPOCH)
    whole.rename(whole.with_name(f"{PER_EPOCH}.orbax-checkpoint-tmp"))
    result = run("eval.py", f"--ckpt={copy}", "--split=val")
    assert_one_sentence(result, "holds no finished checkpoint")


def test_a_checkpoint_with_damaged_files(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    damaged = 0
    for path in (copy / "checkpoints" / str(PER_EPOCH) / "variables").rglob("*"):
        if path.is_file() and path.stat().st_size > 10_000:
            path.write_bytes(path.read_bytes()[:5000])
            damaged += 1
    assert damaged
    result = run("eval.py", f"--ckpt={copy}", "--split=val")
    assert_one_sentence(result, "cannot be read", f"checkpoints/{PER_EPOCH}")


def test_a_damaged_checkpoint_before_a_whole_one(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    newest = copy / "checkpoints" / str(PER_EPOCH + 1)
    shutil.copytree(copy / "checkpoints" / str(PER_EPOCH), newest)
    about = newest / "about" / "metadata"
    about.write_text(about.read_text().replace("offset", "0ffset"))
    about.write_text(re.sub(r"(kernel'\]\": )\d", r"\g<1>9", about.read_text()))
    code, out, err = run("eval.py", f"--ckpt={copy}", "--step=last")
    assert code == 0, err
    assert f"step {PER_EPOCH + 1} is damaged (variables has not the checksums" in err
    assert f"Step {PER_EPOCH}, the newest that is whole, is taken" in err
    assert f"step {PER_EPOCH}" in out and "Traceback" not in err


def test_data_that_are_gone(trained, camvid_tree, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    record = (copy / "run.json").read_text()
    (copy / "run.json").write_text(record.replace(str(camvid_tree), "/was/here"))
    result = run("eval.py", f"--ckpt={copy}")
    assert_one_sentence(result, "camvid in /was/here, which is not there", "--data-dir")


def test_a_step_and_a_split_that_are_not_there(trained):
    result = run("eval.py", f"--ckpt={trained}", "--step=7")
    assert_one_sentence(result, f"has no checkpoint of step 7; it has {PER_EPOCH}")
    result = run("eval.py", f"--ckpt={trained}", "--split=dev")
    assert_one_sentence(result, "no split 'dev'; there are: train, val, test")


@pytest.mark.parametrize(
    "script", ["train.py", "eval.py", "predict.py", "export.py", "benchmark.py"]
)
def test_help_shows_a_command_to_copy(script):
    _, out, _ = run(script, "--help")
    assert f"python {script} --c" in out
    assert ("Keys of --config.optim: momentum, " in out) == (script == "train.py")
    assert not re.search(r"^  --(\[no\])?\w+_", out, re.MULTILINE)  # dashes
