"""Every command of README and docs, run in order, page after page, as a reader would.

Only what takes hours is made short: two steps of a training, small pictures, one small
network in a benchmark.
"""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, write_camvid, write_cityscapes
from PIL import Image
from test_docs import PAGES, commands

from jaxseg.inference.video import VideoWriter
from streets import draw_scene
from tools.reliability import toy

# Of these a test would need a cluster, a second machine, or a person; or they are what
# runs the tests, or installs what they run with.
LEFT_OUT = re.compile(
    r"^\s*(srun|sbatch|pip|git|pytest|pre-commit|ruff|mypy|\.)"
    r"|^\s*python3? -m (venv|tools\.)"
    r"|demo\.py|--distributed"
)
_TRAINING = (
    "--config.train.max_steps=2 --config.train.batch_size=1 "
    "'--config.augment.crop_hw=(64, 128)' --config.augment.more_crops_hw=()"
)
SHORT = {
    "check": _TRAINING,
    "train": _TRAINING,
    "benchmark": "--models dabnet --sizes 32x64 --peers none --rounds 1 --calls 2",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder that looks like a clone, with data and what else the pages name."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        if path.suffix == ".py" or path.name in ("configs", "docs", "results", "tools"):
            (folder / path.name).symlink_to(path)
    write_camvid(folder / "data/camvid", {"train": 4, "val": 2, "test": 2})
    write_cityscapes(folder / "data/cityscapes")
    toy.write_pictures(folder / "data/mine")
    scene = draw_scene(0, (128, 192))[0]
    for place in ("photos", "picture_or_folder", "corpus", "PICTURES"):
        (folder / place).mkdir()
        Image.fromarray(scene).save(folder / place / "a.png")
    Image.fromarray(scene).save(folder / "picture.png")
    writer = VideoWriter(folder / "drive.mp4", 5)
    for _ in range(3):
        writer.write(scene)
    writer.close()
    return folder


def made_short(command: str) -> str:
    """The command with the names of what lies in `clone`, and little to do."""
    data = re.search(r":(cityscapes|camvid|folder)|runs/(mine)", command)
    data = data[1] or data[2] if data else "camvid"
    path = f"data/{'mine' if data == 'folder' else data}"
    names = {"PATH": path, "CKPT": "runs/mine", "INPUT": "photos", "OUTPUT": "seen"}
    names |= {"runs/x": "runs/mine", "authors.pth": "authors.safetensors"}
    names |= {"--init-from imagenet --init-partial": ""}  # needs an extra
    names |= {"$JOB_COMPLETION_INDEX": "0"}
    for name, there in names.items():
        command = command.replace(name, there)
    # Of a tuple that is given twice, ml_collections makes one of four.
    command = re.sub(r'--config\.augment\.crop_hw="[^"]*"', "", command)
    called = re.search(r"(?:python3? (\w+)\.py|\bjaxseg (\w+))", command)
    return f"{command} {SHORT.get(called and (called[1] or called[2]), '')}"


def run(command: str, clone) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    if words[0] == "jaxseg":
        words[:1] = ["python", "-m", "jaxseg"]
    words[0] = sys.executable
    environment = {
        **os.environ,
        "JAXSEG_DATA": str(clone / "data"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    return subprocess.run(
        words, cwd=clone, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.slow
def test_the_commands_of_all_pages_run(clone):
    ran = []
    pages = [PAGES[0], *sorted(PAGES[1:])]  # README's first: others go on with its runs
    for page, command in ((p, c.strip()) for p in pages for c in commands(p)):
        if not re.match(r"(python3?|jaxseg) ", command) or LEFT_OUT.search(command):
            continue
        if "authors.pth" in command:
            convert = "python -m jaxseg.convert --ckpt runs/dabnet --to safetensors"
            done = run(f"{convert} --output authors.safetensors", clone)
            assert done.returncode == 0, done.stderr
        done = run(made_short(command), clone)
        told = page.name, command, done.stdout, done.stderr
        assert done.returncode == 0 and "Traceback" not in done.stderr, told
        ran.append(command)
    assert len(ran) > 40
    assert np.asarray(Image.open(clone / "labels.png")).shape == (360, 480)
