"""A folder belongs to one process, until that process is gone, however it went."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from jaxseg.errors import UserError
from jaxseg.lock import owned

HOLD = """
import sys, time
from pathlib import Path
from jaxseg.lock import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_is_told_who_holds_it_until_that_one_is_killed(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        for _ in range(2):  # asking does not take it away
            with pytest.raises(UserError, match=f"in by process {holder.pid} on"):
                with owned(folder):
                    pass
        holder.kill()
    with owned(folder):
        assert f"process {os.getpid()} on" in (folder / ".lock").read_text()
    with owned(folder):  # and it is given back
        pass


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --workdir"):
        with owned(tmp_path / "file" / "run"):
            pass


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with owned(tmp_path):
        assert "cannot be locked (No locks available)" in capsys.readouterr().err
