"""`jaxseg COMMAND`, which a wheel has in place of the scripts."""

import os
import signal
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def jaxseg(folder, *arguments) -> subprocess.CompletedProcess:
    """Run in `folder`, where there is neither a script nor a recipe."""
    command = [sys.executable, "-m", "jaxseg", *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True
    )


def test_help_lists_the_commands_and_a_command_its_flags(tmp_path):
    listed = jaxseg(tmp_path, "--help").stdout
    for script in ROOT.glob("*.py"):
        assert f"\n  {script.stem} " in listed
    told = jaxseg(tmp_path, "predict", "--help").stdout
    assert "jaxseg predict --ckpt" in told and "--output:" in told
    assert "python predict.py" not in told


def test_recipes_are_found_by_name(tmp_path, camvid_tree):
    given = "--config", "dabnet:camvid", f"--config.data.dir={camvid_tree}"
    done = jaxseg(tmp_path, "check", *given)
    assert done.returncode == 0, done.stderr
    assert "Training may start." in done.stdout


def test_what_is_not_there(tmp_path):
    done = jaxseg(tmp_path, "segment")
    assert done.returncode == 2 and "there is no command 'segment'" in done.stderr
    done = jaxseg(tmp_path, "check", "--config=dapnet:camvid")
    assert done.returncode == 2 and "there is no file dapnet" in done.stderr


STOPPED = """
import sys, time, types
from pathlib import Path
from jaxseg import cli
from jaxseg.files import whole_folder

def main():
    with whole_folder(Path(folder)) as unfinished:
        (unfinished / "half").touch()
        print("ready", flush=True)
        time.sleep(60)

folder = sys.argv.pop()
module = types.ModuleType("stopped")
module.main = main
cli.run(module)
"""


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_is_stopped_leaves_nothing_half(number, code, tmp_path):
    command = [sys.executable, "-c", STOPPED, str(tmp_path / "export")]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"ready\n", process.stderr.read()
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(timeout=30) == code
    assert not list(tmp_path.iterdir())


def test_a_wheel_has_every_package_and_the_recipes():
    listed = PROJECT["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for package in ("jaxseg", "streets")
        for path in (ROOT / package).rglob("*.py")
    }
    assert set(listed) == found | {"jaxseg.configs"}
    assert PROJECT["tool"]["setuptools"]["package-dir"] == {"jaxseg.configs": "configs"}
    assert PROJECT["project"]["scripts"] == {"jaxseg": "jaxseg.cli:main"}
