"""What is written, and what a process ends with, where the machine has no room."""

import errno
import os
import re
import sys
from types import SimpleNamespace

import pytest

from jaxseg import cli
from jaxseg.benchmark import report
from jaxseg.errors import UserError
from jaxseg.files import write_whole


def no_room(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    write_whole(path, b"new")
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "newer")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.json"]


def test_a_benchmark_that_cannot_be_written_says_so_first(tmp_path, monkeypatch):
    stem = tmp_path / "results" / "cpu-latency"
    report.check_folder(stem)
    assert os.listdir(stem.parent) == []
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(UserError, match=r"cpu-latency\.try cannot .*No space left"):
        report.check_folder(stem)
    assert os.listdir(stem.parent) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --output"):
        report.check_folder(tmp_path / "file" / "x")


@pytest.mark.parametrize(
    "error, code, sentence",
    [
        (MemoryError(), 2, "the memory does not suffice; take a smaller batch"),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.\nMore"),
            2,
            "--config.train.batch_size.*RESOURCE_EXHAUSTED: Out of memory allocating 8",
        ),
        (UserError("what and where."), 2, "^error: what and where."),
        (KeyboardInterrupt(), 130, "^$"),
    ],
)
def test_what_a_script_ends_with(error, code, sentence, monkeypatch, capsys):
    def main():
        raise error

    def ended(code):
        raise SystemExit(code)

    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(os, "_exit", ended)
    with pytest.raises(SystemExit) as end:
        cli.run(SimpleNamespace(main=main))
    assert end.value.code == code
    err = capsys.readouterr().err
    assert err.count("\n") <= 1
    assert re.search(sentence, err)


def test_other_errors_are_not_hidden(monkeypatch):
    def main():
        raise RuntimeError("INTERNAL: of ours")

    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with pytest.raises(RuntimeError, match="of ours"):
        cli.run(SimpleNamespace(main=main))
