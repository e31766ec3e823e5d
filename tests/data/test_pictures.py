"""The one reader of picture files: what a viewer shows, and what is no picture."""

import os

import numpy as np
import pytest
from PIL import Image

from jaxseg.data.pictures import (
    NoIndices,
    list_pictures,
    read_colours,
    read_indices,
    read_rgb,
)
from jaxseg.errors import UserError
from tools.reliability.samples import unfinished_png as png

PIXELS = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3) * 10
# What the orientations of EXIF mean, by the edges that row 0 and column 0 stand for.
TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],  # top, right
    3: lambda a: a[::-1, ::-1],  # bottom, right
    4: lambda a: a[::-1],  # bottom, left
    5: lambda a: a.swapaxes(0, 1),  # left, top
    6: lambda a: np.rot90(a, -1),  # right, top
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda a: np.rot90(a),  # left, bottom
}


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def read(function, path):
    return function(path, path)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_pictures_and_labels_are_turned_by_their_own_tag(tmp_path, suffix, orientation):
    more = {"lossless": True} if suffix == "webp" else {}
    for name, array in (("rgb", PIXELS), ("index", PIXELS[..., 0])):
        path = tmp_path / f"{name}.{suffix}"
        Image.fromarray(array).save(path, exif=oriented(orientation), **more)
        found = read(read_rgb if name == "rgb" else read_indices, path)
        np.testing.assert_array_equal(found, TURNED[orientation](array))


def test_a_telephones_jpeg_is_turned(tmp_path):
    halves = np.zeros((16, 32, 3), np.uint8)
    halves[:, 16:] = 255
    path = tmp_path / "x.jpg"
    Image.fromarray(halves).save(path, exif=oriented(6), quality=95)
    found = read(read_rgb, path)
    assert found.shape == (32, 16, 3)  # the right half is below
    assert (found[:16] < 9).all() and (found[16:] > 246).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing(tmp_path):
    path = tmp_path / "x.jpg"
    Image.new("RGB", (4, 2)).save(path, exif=b"Exif\0\0II*\0garbage")
    assert read(read_rgb, path).shape == (2, 4, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_grey_of_16_bits_by_its_full_range(tmp_path, suffix):
    values = np.array([[0, 256, 12345, 32768, 65535]], np.uint16)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(values).save(path)
    expected = [round(int(v) / 257) for v in values[0]]
    assert expected == [0, 1, 48, 128, 255]
    assert read(read_rgb, path).tolist() == [[[v] * 3 for v in expected]]


def test_big_endian_16_bits(tmp_path):
    path = tmp_path / "x.tif"
    values = np.array([[0, 257, 65535]], ">u2")
    picture = Image.frombytes("I;16B", (3, 1), values.tobytes())
    picture.save(path)
    assert read(read_rgb, path)[0, :, 0].tolist() == [0, 1, 255]
    assert read(read_indices, path).tolist() == values.tolist()


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 0.1, 0.2], [0, 26, 51]),  # 0..1, not stretched
        ([-10.0, 0.0, 30.0], [0, 64, 255]),  # by its own range
        ([0.0, np.nan, np.inf], [0, 0, 255]),
        ([7.0, 7.0, 7.0], [0, 0, 0]),
    ],
)
def test_floats(tmp_path, values, expected):
    path = tmp_path / "x.tif"
    Image.fromarray(np.array([values], np.float32)).save(path)
    assert read(read_rgb, path)[0, :, 1].tolist() == expected


def test_32_bit_integers_beyond_16_bits_by_their_own_range(tmp_path):
    path = tmp_path / "x.tif"
    Image.fromarray(np.array([[0, 500_000, 1_000_000]], np.int32)).save(path)
    assert read(read_rgb, path)[0, :, 2].tolist() == [0, 128, 255]


def test_alpha_is_dropped_not_blended(tmp_path):
    path = tmp_path / "x.png"
    alpha = np.array([[0, 1, 128, 255]] * 2, np.uint8)[..., None]
    Image.fromarray(np.concatenate([PIXELS, alpha], -1)).save(path)
    np.testing.assert_array_equal(read(read_rgb, path), PIXELS)
    grey = np.concatenate([PIXELS[..., :1], alpha], -1)
    Image.fromarray(grey, "LA").save(path)
    np.testing.assert_array_equal(read(read_rgb, path), PIXELS[..., :1].repeat(3, -1))


def test_palettes_with_and_without_transparency(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    expected = [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    for more in ({}, {"transparency": 1}, {"transparency": b"\x00\x80\xff"}):
        picture.save(tmp_path / "x.png", **more)
        assert read(read_rgb, tmp_path / "x.png").tolist() == expected
        assert read(read_indices, tmp_path / "x.png").tolist() == [[0, 1, 2]]
        assert read(read_colours, tmp_path / "x.png").tolist() == expected


def test_cmyk_and_grey(tmp_path):
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "x.tif")
    white_cyan_black = [[[255, 255, 255], [0, 255, 255], [0, 0, 0]]]
    assert read(read_rgb, tmp_path / "x.tif").tolist() == white_cyan_black
    Image.fromarray(np.array([[0, 99]], np.uint8)).save(tmp_path / "x.bmp")
    assert read(read_rgb, tmp_path / "x.bmp").tolist() == [[[0] * 3, [99] * 3]]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "x.png")
    assert read(read_rgb, tmp_path / "x.png").tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue", "lime")]
    path = tmp_path / f"x.{suffix}"
    more = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **more)
    assert read(read_rgb, path).tolist() == [[[255, 0, 0]] * 3] * 2


def indices(picture, path):
    picture.save(path)
    found = read(read_indices, path)
    return found.dtype, found.tolist()


def test_one_number_a_pixel(tmp_path):
    path, values = tmp_path / "x.png", [[0, 7, 255]]
    grey = Image.fromarray(np.array(values, np.uint8))
    assert indices(grey, path) == (np.uint8, values)
    for mode in ("RGB", "RGBA", "LA"):  # what drawing programs save
        assert indices(grey.convert(mode), path) == (np.uint8, values)
    one_bit = Image.fromarray(np.array([[True, False, True]]))
    assert one_bit.mode == "1"
    assert indices(one_bit, path) == (np.uint8, [[1, 0, 1]])
    wide = [[0, 7, 300]]
    assert indices(Image.fromarray(np.array(wide, np.uint16)), path)[1] == wide
    path = tmp_path / "x.tif"
    assert indices(Image.fromarray(np.array(wide, np.int32)), path)[1] == wide
    assert indices(Image.fromarray(np.array(values, np.int32)), path) == (
        np.uint8,
        values,
    )


@pytest.mark.parametrize(
    "picture, sentence",
    [
        (PIXELS, r"RGB picture \(channels: 3, different colours: 8\)"),
        (
            np.array([[[5, 5, 5, 255], [7, 7, 7, 90]]], np.uint8),
            r"RGBA picture \(channels: 4, different values: 2, partly transparent\)",
        ),
        (
            np.array([[0.5, 1.5]], np.float32),
            r"F picture \(channels: 1, different values: 2 from 0.5 to 1.5\)",
        ),
        (np.array([[-3, 4]], np.int32), "I picture .*different values: 2 from -3 to 4"),
    ],
)
def test_what_holds_no_indices_is_described(tmp_path, picture, sentence):
    path = tmp_path / "x.tif"
    Image.fromarray(picture).save(path)
    with pytest.raises(NoIndices, match=sentence + ".*or the same index in all"):
        read(read_indices, path)


@pytest.mark.parametrize("function", [read_indices, read_colours])
def test_jpeg_labels_are_refused_with_the_reason(tmp_path, function):
    path = tmp_path / "x.png"  # whatever it is called
    Image.new("L", (4, 4)).save(path, "JPEG")
    with pytest.raises(UserError, match="x.png is a JPEG, whose compression changes"):
        read(function, path)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "cannot be read"),
        (b"not a picture", "cannot be read"),
        (png(30_000, 20_000), "more than 178 million pixels"),
        (png(12_000, 9_000), "pixels"),  # over the limit at which Pillow warns
        (png(40, 40), "cannot be read"),
        (png(0, 5), "cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read"),
    ],
)
def test_damage_and_headers_that_promise_too_much(tmp_path, content, sentence):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"x.png .*{sentence}.*partner"):
        read(read_rgb, path)


def test_what_lies_beside_pictures_is_passed_over(tmp_path):
    for name in ("b.png", "a.JPG", "c.gif", "sub/d.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("._b.png", ".hidden.png", "Thumbs.db", ".DS_Store", "notes.txt"):
        (tmp_path / name).touch()
    for folder in ("__MACOSX", ".ipynb_checkpoints", "folder.png"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "e.png").touch()
    (tmp_path / "__MACOSX" / "sub").mkdir()
    (tmp_path / "__MACOSX" / "sub" / "._d.png").touch()
    os.mkfifo(tmp_path / "pipe.png")

    def names(*pattern):
        found = list_pictures(tmp_path, *pattern)
        return [path.relative_to(tmp_path).as_posix() for path in found]

    assert names() == ["a.JPG", "b.png", "c.gif"]
    below = ["a.JPG", "b.png", "c.gif", "folder.png/e.png", "sub/d.webp"]
    assert names("**/*") == below
    assert list_pictures(tmp_path / "nowhere") == []
