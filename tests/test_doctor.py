"""The doctor: what it says of a machine that is well, and of one that is not."""

import shutil
from importlib import metadata
from types import SimpleNamespace

import pytest

from jaxseg import doctor


def test_a_machine_that_is_well(quickly_compiled, capsys):
    with pytest.raises(SystemExit) as end:
        doctor.main()
    out = capsys.readouterr().out
    assert end.value.code == 0, out
    assert f"  jax {metadata.version('jax')}" in out and "Device: " in out
    assert "(pip install '.[" in out and "Nothing is wrong." in out


def test_what_is_wrong_is_said(monkeypatch, capsys):
    def requires(_):
        return ["jax>=0.10", "nowhere>=1", "nothing>=2; extra == 'peers'"]

    monkeypatch.setattr(metadata, "requires", requires)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert doctor._versions() == ["nowhere is not installed."]
    assert "not here: nothing (pip install '.[peers]')" in capsys.readouterr().out
    (sentence,) = doctor._room()
    assert "has 1.0 GiB left" in sentence and "JAXSEG_CACHE" in sentence
    assert doctor._judged(0.9991) == []
    (sentence,) = doctor._judged(0.5)
    assert "only 50.00% of the labels are what they should be" in sentence
