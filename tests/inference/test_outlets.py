"""What predict.py reads and writes, beside single pictures: trees, lists, shards."""

import io
import json
import os
import sys

import numpy as np
import pytest
from PIL import Image
from test_predict import Bright

from jaxseg.data.classes import CITYSCAPES, ClassTable
from jaxseg.errors import Incomplete, UserError
from jaxseg.inference import predict
from jaxseg.inference.inputs import find_items
from jaxseg.inference.overlapped import Busy, overlapped
from jaxseg.inference.results import Wanted
from jaxseg.inference.tiles import OVERLAP, Tiled


@pytest.fixture
def predicted(monkeypatch):
    monkeypatch.setattr(predict, "Segmenter", Bright)
    return lambda *sources, output, **more: predict.predict(
        "run", sources, output, **more
    )


def picture(path, value=200, hw=(4, 6)):
    """White on the right half, `value` of red on the left."""
    image = np.full((*hw, 3), 255, np.uint8)
    image[:, : hw[1] // 2] = (value, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_tree_is_kept(predicted, tmp_path):
    for name in ("a.png", "north/a.png", "north/deep/b.png", "__MACOSX/c.png"):
        picture(tmp_path / "in" / name)
    out = tmp_path / "out"
    predicted(tmp_path / "in", output=out, wanted=Wanted(overlay=0))
    trees = ["a_labels.png", "north/a_labels.png", "north/deep/b_labels.png"]
    assert names(out) == ["a_labels.png", "legend.png", *trees[1:]]


def test_globs_lists_and_standard_input(tmp_path, monkeypatch):
    for name in ("x/a.png", "y/a.png", "y/b.jpg", "y/notes.txt"):
        picture(tmp_path / name) if name[-1] == "g" else (tmp_path / name).write_text(
            ""
        )
    found = find_items([tmp_path / "*" / "*"])
    assert [str(i.name) for i in found] == ["x/a", "y/a", "y/b"]
    wanted = [tmp_path / "y" / "b.jpg", tmp_path / "x" / "a.png"]
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{path}\n\n" for path in wanted))
    assert [item.path for item in find_items([listed])] == wanted
    monkeypatch.setattr(sys, "stdin", io.StringIO(listed.read_text()))
    assert [str(item.name) for item in find_items(["-"])] == ["y/b", "x/a"]
    listed.write_text(f"{wanted[0]}\nnowhere.png\n")
    with pytest.raises(UserError, match="1 of 2 pictures that .* such as nowhere.png"):
        find_items([listed])
    listed.write_text("\n")
    with pytest.raises(UserError, match="names no picture"):
        find_items([listed])


def test_everything_that_can_be_written(predicted, tmp_path):
    image = picture(tmp_path / "a.png", value=120)
    everything = Wanted(0.5, True, True, True, True, unsure=0.6)
    predicted(
        tmp_path / "a.png",
        output=tmp_path / "out",
        wanted=everything,
        shares=tmp_path / "shares.json",
    )
    read = {
        kind: np.asarray(Image.open(tmp_path / "out" / f"a_{kind}.png"))
        for kind in ("labels", "overlay", "side_by_side", "palette", "ids")
        + ("confidence",)
    }
    np.testing.assert_array_equal(read["labels"], np.ones((4, 6)))
    np.testing.assert_array_equal(read["palette"], np.tile((0, 200, 0), (4, 6, 1)))
    np.testing.assert_array_equal(read["ids"], np.ones((4, 6)))
    np.testing.assert_array_equal(read["confidence"], image[..., 0])
    # Half the colour (0, 200, 0) on white; on the left 120 / 255 is below 0.6: stripes.
    assert read["overlay"][:, 3:].tolist() == [[[128, 228, 128]] * 3] * 4
    left = read["overlay"][:, :3].reshape(-1, 3).tolist()
    assert {tuple(c) for c in left} == {(255, 255, 255), (60, 100, 0)}
    np.testing.assert_array_equal(
        read["side_by_side"], np.concatenate([image, read["overlay"]], 1)
    )
    shares = json.loads((tmp_path / "shares.json").read_text())
    assert shares == {str(tmp_path / "a.png"): {"b": 1.0}}


def test_ids_are_those_of_the_label_files():
    label = np.array([[0, 13, 18, 255]], np.uint8)
    assert CITYSCAPES.of_files(label).tolist() == [[7, 26, 33, 0]]
    table = ClassTable(("a", "b"), ((0, 0, 0), (1, 1, 1)), values=(5, 60000))
    assert table.of_files(label[:, :1]).dtype == np.uint16
    with pytest.raises(ValueError, match="one value per class"):
        ClassTable(("a", "b"), ((0, 0, 0), (1, 1, 1)), values=(5,))


def test_shards_do_everything_once_and_go_on(predicted, tmp_path):
    for number in range(7):
        picture(tmp_path / "in" / f"{number}.png")
    out, only_labels = tmp_path / "out", Wanted(overlay=0)

    def shard(i):
        done = predicted(tmp_path / "in", output=out, wanted=only_labels, shard=(i, 3))
        return done.pictures, done.there

    assert [shard(0), shard(1)] == [(3, 0), (2, 0)]
    assert names(out) == sorted(f"{n}_labels.png" for n in (0, 1, 3, 4, 6)) + [
        "legend.png"
    ]
    (out / "3_labels.png").unlink()
    before = (out / "0_labels.png").stat().st_mtime_ns
    assert [shard(0), shard(2), shard(2)] == [(1, 2), (2, 0), (0, 2)]
    assert (out / "0_labels.png").stat().st_mtime_ns == before
    assert len(names(out)) == 8


def test_reading_computing_and_writing_overlap():
    """Reading of the next goes on during `compute`, or this would wait for ever."""
    import threading

    started = [threading.Event() for _ in range(4)]
    written = []

    def read(item):
        started[item].set()
        return item * 10

    def compute(content):
        following = content // 10 + 1
        if following < 4:
            assert started[following].wait(30)
        return content + 1

    busy = Busy()
    done = list(
        overlapped(range(4), read, compute, lambda i, x: written.append((i, x)), busy)
    )
    assert done == [0, 1, 2, 3]
    assert sorted(written) == [(0, 1), (1, 11), (2, 21), (3, 31)]
    assert set(busy.seconds) == {"reading", "computing", "writing"}


@pytest.mark.parametrize("stage", ["draw", "read", "compute", "write"])
def test_an_error_of_any_stage_is_raised_and_ends_all(stage):
    written = []

    def fail(at, number):
        if stage == at and number == 5:
            raise OSError(f"{at} {number}")
        return number

    def write(item, found):
        fail("write", item)
        written.append(item)

    drawn = (fail("draw", number) for number in range(50))
    with pytest.raises(OSError, match=f"{stage} 5"):
        for _ in overlapped(
            drawn,
            lambda i: fail("read", i),
            lambda i: fail("compute", i),
            write,
            Busy(),
        ):
            pass
    assert set(written) >= set(range(5)) and len(written) < 50


def neighbours(image):
    """A "network" that looks 60 pixels to the right and down, at every 8th."""
    h, w = image.shape[:2]
    wide = np.pad(image[..., 0], ((0, 64), (0, 64)), "edge").astype(np.uint32)
    code = wide[:h, :w] * 3 + wide[60 : 60 + h, 60 : 60 + w] * 5
    code += np.add.outer(np.arange(h) % 8, np.arange(w) % 8).astype(np.uint32)
    return code.astype(np.uint8)


@pytest.mark.parametrize("hw", [(200, 500), (301, 264), (1000, 130), (40, 50)])
def test_tiles_have_no_seams(hw):
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    calls = []

    def predict_one(tile):
        calls.append(tile.shape)
        return neighbours(tile), tile[..., 1]

    labels, second = Tiled(predict_one, (200, 264))(image)
    padded = np.pad(image, [(0, -n % 8) for n in hw] + [(0, 0)], "edge")
    np.testing.assert_array_equal(labels, neighbours(padded)[: hw[0], : hw[1]])
    np.testing.assert_array_equal(second, image[..., 1])
    assert len(set(calls)) == 1
    with pytest.raises(ValueError, match="larger than their overlap"):
        Tiled(predict_one, (OVERLAP, 264))


av = pytest.importorskip("av")


def write_video(path, frames=12, hw=(48, 64)):
    """Frame i is grey of 10 i + 20 (modulo 256), losslessly coded."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *hw, "rgb24"
        for number in range(frames):
            grey = np.full((*hw, 3), (20 + 10 * number) % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_every_frame_of_a_video_as_pictures(predicted, tmp_path):
    source = write_video(tmp_path / "drive 1.mkv")
    done = predicted(source, output=tmp_path / "out", wanted=Wanted(overlay=0))
    assert done.pictures == 12
    assert names(tmp_path / "out") == [
        *(f"drive_1/{n:06d}_labels.png" for n in range(12)),
        "legend.png",
    ]
    for number in range(12):
        path = tmp_path / "out" / "drive_1" / f"{number:06d}_labels.png"
        assert (np.asarray(Image.open(path)) == (20 + 10 * number > 100)).all()


def test_frames_replace_no_file_of_others(predicted, tmp_path):
    source = write_video(tmp_path / "a.mkv", 2)
    for _ in range(2):  # its own it may replace
        predicted(source, output=tmp_path / "out", wanted=Wanted(overlay=0))
    mine = tmp_path / "out" / "a" / "000001_labels.png"
    mine.write_text("mine")
    with pytest.raises(UserError, match="000001_labels.png would be replaced"):
        predicted(source, output=tmp_path / "out")
    assert mine.read_text() == "mine"


def test_a_video_of_overlays(predicted, tmp_path):
    source = write_video(tmp_path / "a.mp4")
    out = tmp_path / "out" / "b.mp4"
    assert predicted(source, output=out, wanted=Wanted(overlay=0.5)).pictures == 12
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 25
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) == 12 and frames[0].shape == (48, 64, 3)
    for number, frame in enumerate(frames):
        grey = 20 + 10 * number
        colour = (0, 200, 0) if grey > 100 else (255, 0, 0)
        expected = (np.array(colour) + grey) / 2
        assert np.abs(frame.mean((0, 1)) - expected).max() < 8, number
    assert names(tmp_path / "out") == ["b.mp4"]
    with pytest.raises(UserError, match="b.mp4 exists"):
        predicted(source, output=out)


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_a_video_that_breaks_off(predicted, tmp_path, suffix):
    source = write_video(tmp_path / f"a.{suffix}", frames=200)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    out = tmp_path / "b.mp4"
    with pytest.raises(Incomplete, match="breaks off after"):
        predicted(source, output=out)
    with av.open(str(out)) as container:
        count = len(list(container.decode(video=0)))
    assert 50 < count < 150
    assert Incomplete.exit_code == 1


def test_videos_and_cameras_that_are_not_there(predicted, tmp_path):
    with pytest.raises(UserError, match="cannot be opened as a video"):
        predicted(tmp_path / "a.mp4", output=tmp_path / "out")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match="text.mp4 cannot be opened as a video"):
        predicted(tmp_path / "text.mp4", output=tmp_path / "out")
    with pytest.raises(UserError, match="camera:77 cannot be opened as a camera"):
        predicted("camera:77", output=tmp_path / "out")
    source = write_video(tmp_path / "b.mp4", 2)
    picture(tmp_path / "c.png")
    with pytest.raises(UserError, match="one video at a time"):
        predicted(source, tmp_path / "c.png", output=tmp_path / "out")
    with pytest.raises(UserError, match="is a video, and --input is not"):
        predicted(tmp_path / "c.png", output=tmp_path / "out.mp4")
    assert not os.path.lexists(tmp_path / "out.mp4")


@pytest.mark.parametrize("endless", [False, True])
def test_ctrl_c_leaves_no_half_video(predicted, tmp_path, monkeypatch, endless):
    """Of a file nothing is kept; a camera's video ends there, and is whole."""
    source = write_video(tmp_path / "a.mp4", 30)
    opened = predict.Video

    def video(path):
        found = opened(path)
        found.endless = endless
        return found

    def stop(items, total):
        for number, item in enumerate(items):
            if number == 9:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(predict, "Video", video)
    out = tmp_path / "out" / "b.mp4"
    with pytest.raises(KeyboardInterrupt):
        predicted(source, output=out, progress=stop)
    assert names(tmp_path / "out") == (["b.mp4"] if endless else [])
    if endless:
        with av.open(str(out)) as container:
            assert 5 <= len(list(container.decode(video=0))) <= 15
