"""Both loaders, their order, and what is kept between starts."""

import numpy as np
import pytest

from jaxseg.data import loaders
from jaxseg.data.loaders import ResidentLoader, TfDataLoader, epoch_order, load_split
from jaxseg.data.sources import CamVid
from jaxseg.errors import UserError


def test_epoch_order_is_a_permutation_that_depends_on_seed_and_epoch():
    order = epoch_order(0, 0, 11, 3)
    assert order.shape == (3, 3)
    assert len(set(order.ravel().tolist())) == 9
    np.testing.assert_array_equal(order, epoch_order(0, 0, 11, 3))
    assert (order != epoch_order(0, 1, 11, 3)).any()
    assert (order != epoch_order(1, 0, 11, 3)).any()
    with pytest.raises(UserError, match="a batch of 12 needs more than the 11"):
        epoch_order(0, 0, 11, 12)


def test_both_loaders_give_the_same_batches_which_are_the_files(camvid_tree):
    source = CamVid(camvid_tree)
    resident = ResidentLoader(source, "train")
    streamed = TfDataLoader(source, "train")
    assert resident.ids == streamed.ids == tuple(source.ids("train"))
    order = epoch_order(5, 2, 8, 3)
    compared = 0
    for row, a, b in zip(order, resident.batches(order), streamed.batches(order)):
        for name in ("image", "label"):
            assert a[name].dtype == np.uint8
            np.testing.assert_array_equal(a[name], b[name])
        image, label = source.read("train", source.ids("train")[row[1]])
        np.testing.assert_array_equal(a["image"][1], image)
        np.testing.assert_array_equal(a["label"][1], label)
        compared += 1
    assert compared == 2
    # A start in the middle of an epoch goes on with the same batches.
    (rest,) = streamed.batches(order[1:])
    np.testing.assert_array_equal(rest["image"], b["image"])


def test_a_second_start_reads_no_picture(camvid_tree, monkeypatch):
    source = CamVid(camvid_tree)
    first = loaders.resident_arrays(source, "val")
    monkeypatch.setattr(source, "read", lambda *_: pytest.fail("read again"))
    second = loaders.resident_arrays(source, "val")
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_damaged_prepared_files_are_made_again(camvid_tree, cache):
    source = CamVid(camvid_tree)
    first = loaders.resident_arrays(source, "test")
    (path,) = (cache / "data").glob(f"camvid-{source.fingerprint('test')}/test.npz")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", whole[:-1], whole[: len(whole) // 2], b"no zip file"]
    for at in (*rng.integers(0, len(whole), 12), 0, 35, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    damaged.append(zipped(path, ids=first["ids"]))
    for content in damaged:
        path.write_bytes(content)
        again = loaders.resident_arrays(source, "test")
        for name, array in first.items():
            np.testing.assert_array_equal(array, again[name])


def zipped(path, **arrays):
    np.savez(path, **arrays)
    return path.read_bytes()


def test_auto_streams_what_does_not_fit(camvid_tree, monkeypatch):
    source = CamVid(camvid_tree)
    assert isinstance(load_split(source, "val"), ResidentLoader)
    monkeypatch.setattr(loaders, "_fits_device", lambda *_: False)
    assert isinstance(load_split(source, "val"), TfDataLoader)
    with pytest.raises(UserError, match="'ram'; it can be auto, resident or tfdata"):
        load_split(source, "val", "ram")
