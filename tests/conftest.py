"""What tests share: the reference folder, a small CamVid tree, scripts as processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.sources.cityscapes import LABEL_IDS
from streets import draw_scene

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """An empty cache folder, for this process and for those that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["JAXSEG_CACHE"] = str(folder)
    # Small programs too: the processes that tests start have most of them in common.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    return folder


@pytest.fixture(scope="session", autouse=True)
def signals():
    """Ctrl-C and SIGHUP are heard, also in a shell's background and under nohup."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="module")
def quickly_compiled():
    """Leaves out most of XLA's optimisations: for programs that run once or twice."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()  # JAX would run these programs in the next modules too


def shared_or_skip(*parts: str) -> Path:
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs the project's reference files ({'/'.join(parts)})")
    return path


def write_camvid(root: Path, counts: dict[str, int]) -> Path:
    """A tree with SegNet's names and ids, drawn: `counts` pictures a split."""
    # Cityscapes train id -> SegNet's CamVid index, 11 void.
    ids = np.full(256, 11, np.uint8)
    pairs = "0:3 1:4 2:1 3:1 4:7 5:2 6:6 7:6 8:5 9:5 10:0 11:9 12:10 13:8 14:8 15:8"
    for pair in pairs.split():
        cityscapes, camvid = map(int, pair.split(":"))
        ids[cityscapes] = camvid
    seed = 0
    for split, count in counts.items():
        images, labels = root / split, root / f"{split}annot"
        images.mkdir(parents=True)
        labels.mkdir()
        for index in range(count):
            image, label = draw_scene(seed, (360, 480))
            Image.fromarray(image).save(images / f"{split}_{index:03d}.png")
            Image.fromarray(ids[label]).save(labels / f"{split}_{index:03d}.png")
            seed += 1
    return root


def write_cityscapes(root: Path) -> Path:
    """A tree with the official names, sizes and label ids: 2 train, 2 val, 1 test, and
    2 coarse pictures, one of them the black one."""
    # Void has many label ids; these are some of them.
    ids = np.full(256, 4, np.uint8)
    ids[:19] = LABEL_IDS
    names = {
        "train": ["aachen_000000_000019", "zurich_000001_000019"],
        "val": ["frankfurt_000000_000294", "munster_000002_000019"],
        "test": ["berlin_000000_000019"],
        "train_extra": ["troisdorf_000000_000073", "augsburg_000000_000000"],
    }
    seed = 100
    for split, samples in names.items():
        labels = "gtCoarse" if split == "train_extra" else "gtFine"
        for name in samples:
            image, label = (a.repeat(4, 0).repeat(4, 1) for a in draw_scene(seed))
            label = ids[label]
            label[:9, :7] = 1
            if split == "test":
                label[:] = 0  # as published: dummies
            for array, folder, kind in (
                (image, "leftImg8bit", "leftImg8bit"),
                (label, labels, f"{labels}_labelIds"),
            ):
                city = root / folder / split / name.split("_")[0]
                city.mkdir(parents=True, exist_ok=True)
                path = city / f"{name}_{kind}.png"
                Image.fromarray(array).save(path, compress_level=1)
            seed += 1
    return root


@pytest.fixture(scope="session")
def cityscapes_tree(tmp_path_factory) -> Path:
    """See `write_cityscapes`; tests must not change it."""
    return write_cityscapes(tmp_path_factory.mktemp("cityscapes"))


@pytest.fixture(scope="session")
def camvid_tree(tmp_path_factory) -> Path:
    """A readable CamVid tree of 16 / 3 / 2 pictures; tests must not change it."""
    counts = {"train": 16, "val": 3, "test": 2}
    return write_camvid(tmp_path_factory.mktemp("camvid"), counts)


# A run small enough for a test, with epochs long enough to be killed in the middle.
PER_EPOCH = 16
SMALL = (
    "--config=tools/reliability/short_dabnet.py:camvid",
    "--config.train.batch_size=1",
    "--config.train.eval_batch_size=2",
    "--config.train.log_every_steps=1",
    "--config.train.eval_every_epochs=1",
    "--config.augment.crop_hw=(96, 128)",
    "--config.train.ema_decay=0.9",
    "--config.schedule.warmup_steps=2",
)


def start(
    script: str, *arguments: object, file_limit_kib: int | None = None
) -> subprocess.Popen:
    """Starts a script of the project as a process of its own.

    With `file_limit_kib` no file that it writes can grow larger: the write fails with
    an error, as on a full disk.
    """
    command = [sys.executable, script, *map(str, arguments)]
    if file_limit_kib is not None:
        limit = f'ulimit -f {file_limit_kib}; exec "$@"'
        command = ["bash", "-c", limit, "limited", *command]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def run(script: str, *arguments: object, **more) -> tuple[int, str, str]:
    """Runs a script to its end: exit code, standard output, standard error."""
    process = start(script, *arguments, **more)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err
