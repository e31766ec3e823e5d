"""Weight files of others, read without PyTorch and without running what they hold.

files/zip.pth and files/legacy.pth were written by PyTorch 2.15: the values below, the
second in the format from before 1.6, as a checkpoint of a DataParallel model.
"""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxseg.convert.files import read_darknet, read_state_dict
from jaxseg.errors import UserError

FILES = Path(__file__).parent / "files"


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth"])
def test_both_formats_of_pytorch(name):
    found = read_state_dict(FILES / name)
    assert list(found) == ["a", "b", "half", "brain", "count", "p"]
    numbers = np.arange(24, dtype=np.float32)
    np.testing.assert_array_equal(found["a"], numbers.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["b"], numbers.reshape(2, 12).T[1:3])
    assert found["half"].dtype == np.float16 and found["half"].tolist() == [1.5, -2]
    assert found["brain"].astype(np.float32).tolist() == [0.5, 3.0]
    assert found["count"].item() == 7 and found["p"].tolist() == [[1.0, 2.0]]


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_program_in_a_file_is_not_run(tmp_path):
    victim = tmp_path / "victim"
    content = pickle.dumps({"a": Harmful(victim)})
    with zipfile.ZipFile(tmp_path / "bad.pth", "w") as archive:
        archive.writestr("bad/data.pkl", content)
    (tmp_path / "bad_legacy.pth").write_bytes(content)
    for name in ("bad.pth", "bad_legacy.pth"):
        with pytest.raises(UserError, match="which is no part of a state dict"):
            read_state_dict(tmp_path / name)
    assert not victim.exists()
    pickle.loads(content)  # the file would have been
    assert victim.exists()


def test_damaged_files(tmp_path):
    for name in ("zip.pth", "legacy.pth"):
        whole = (FILES / name).read_bytes()
        for size in (0, 3, len(whole) // 2, len(whole) - 5):
            (tmp_path / name).write_bytes(whole[:size])
            with pytest.raises(UserError, match="cannot be read as PyTorch weights"):
                read_state_dict(tmp_path / name)
    (tmp_path / "list.pth").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="list.pth"):
        read_state_dict(tmp_path / "list.pth")


@pytest.mark.parametrize("version, seen", [((0, 1), "<i4"), ((0, 2), "<i8")])
def test_darknet_weights(tmp_path, version, seen):
    rng = np.random.default_rng(0)
    shapes = [(4, 3, 3, 3), (2, 4, 1, 1)]
    numbers = [rng.normal(size=4 * o + o * i * h * w) for o, i, h, w in shapes]
    head = np.array([*version, 0], "<i4").tobytes() + np.array(32013, seen).tobytes()
    body = np.concatenate([*numbers, rng.normal(size=9)]).astype("<f4")
    path = tmp_path / "net.weights"
    path.write_bytes(head + body.tobytes())
    first, second = read_darknet(path, shapes)
    # Darknet's order: the norm's shift, factor, mean, variance, then the kernel.
    np.testing.assert_array_equal(first["bias"], body[:4])
    np.testing.assert_array_equal(first["weight"], body[4:8])
    np.testing.assert_array_equal(first["running_mean"], body[8:12])
    np.testing.assert_array_equal(first["running_var"], body[12:16])
    assert first["kernel"][3, 2, 1, 0] == body[16 + 3 * 27 + 2 * 9 + 3]
    assert second["kernel"].shape == (2, 4, 1, 1)
    assert second["kernel"][1, 3, 0, 0] == body[len(numbers[0]) + 8 + 7]
    path.write_bytes((head + body.tobytes())[:200])
    with pytest.raises(UserError, match="cut off or of another network"):
        read_darknet(path, shapes)
