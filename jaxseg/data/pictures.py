"""Picture files: which files are pictures, and the one reader of their pixels.

A picture is what a viewer shows. For all files:

- EXIF's orientation is obeyed, a label image's own too;
- of an animation, or of several pages, the first picture is taken;
- hidden files, `__MACOSX/`, and whatever is no regular file, are no pictures.

`read_rgb` makes 8 bit RGB of any of them:

- of 16 bits a sample 0..65535 becomes 0..255, of floats 0..1; where values lie outside,
  their own least and greatest become 0 and 255;
- grey, palettes and CMYK are converted; alpha is dropped, not blended.

`read_indices` takes what holds one whole number per pixel: a channel of 1, 8, 16 or 32
bits, a palette's indices, or several channels that are equal, with opaque alpha or
none. `read_colours` is for label images whose colours are classes. Both refuse JPEG.
"""

from contextlib import nullcontext
from pathlib import Path, PurePath
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from jaxseg.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
MAKER = "jaxseg"  # what PNG files of ours name as their program
# Pillow knows more; some of those start other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class NoIndices(UserError):
    """A label image that holds more than one whole number per pixel."""


def is_foreign(name: PurePath) -> bool:
    """Whether a name inside a data set was put there by a computer, not by a person."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def list_pictures(folder: Path, pattern: str = "*") -> list[Path]:
    """The pictures in `folder` whose names fit a pattern of `Path.glob`, sorted."""
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.suffix.lower() in SUFFIXES
        and not is_foreign(path.relative_to(folder))
        and path.is_file()  # not a folder, nor a pipe that would be waited for
    )


def written_by(path: Path) -> str | None:
    """The program that a PNG file names as its maker, if any."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return image.info.get("Software")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def read_rgb(file: Path | IO[bytes], name: object) -> np.ndarray:
    """uint8 `(h, w, 3)`, see above; `name` stands for the file in an error.

    Raises:
        UserError: it cannot be read.
    """
    return _as_rgb(_load(file, name))


def rgb_of(image: Image.Image) -> np.ndarray:
    """uint8 `(h, w, 3)` of a picture that Pillow has opened, see above."""
    return _as_rgb(_turned(image))


def read_indices(file: Path | IO[bytes], name: object) -> np.ndarray:
    """`(h, w)` of the least unsigned type that holds the values; see above.

    Raises:
        NoIndices: more than one whole number per pixel; the text says what was found.
        UserError: it cannot be read, or is a JPEG.
    """
    image = _load_label(file, name)
    values = np.asarray(image)
    bands, opaque, equal = image.getbands(), True, image.mode != "CMYK"
    if values.ndim == 3:
        if bands[-1] == "A":
            opaque = bool((values[..., -1] == 255).all())
            values = values[..., :-1]
        equal = equal and bool((values == values[..., :1]).all())
        values = values[..., 0] if equal else values
    if image.mode == "1":
        values = values.astype(np.uint8).clip(max=1)
    if opaque and equal and values.dtype.kind in "iu" and values.min() >= 0:
        return values.astype(np.min_scalar_type(values.max()))
    if values.ndim == 3:
        found = f"different colours: {len(np.unique(pack(_as_rgb(image))))}"
    else:
        found = f"different values: {len(np.unique(values))}"
        if values.dtype.kind == "f" or values.min() < 0:
            found += f" from {values.min():g} to {values.max():g}"
    if not opaque:
        found += ", partly transparent"
    raise NoIndices(
        f"{name} is a {image.mode} picture (channels: {len(bands)}, {found}); a label "
        "image has one channel of class indices, or the same index in all, not "
        "colours."
    )


def read_colours(file: Path | IO[bytes], name: object) -> np.ndarray:
    """uint8 `(h, w, 3)` of a label image.

    Raises:
        UserError: it cannot be read, or is a JPEG.
    """
    return _as_rgb(_load_label(file, name))


def resized(
    image: np.ndarray,
    hw: tuple[int, int],
    how: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """A picture or a label map at another size."""
    if image.shape[:2] == hw:
        return image
    return np.asarray(Image.fromarray(image).resize(hw[::-1], how))


def pack(colours: np.ndarray) -> np.ndarray:
    """int32 `(...)`, 0xRRGGBB, of uint8 `(..., 3)`."""
    return colours.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def _load(file: Path | IO[bytes], name: object) -> Image.Image:
    """Decoded and turned."""
    try:
        # What it opens itself Pillow 13 maps into memory, and turns grey TIFFs wrongly.
        opened = file.open("rb") if isinstance(file, Path) else nullcontext(file)
        with opened as stream, Image.open(stream, formats=_FORMATS) as image:
            image.load()
            if 0 in image.size:
                raise ValueError("it has no pixels")
            return _turned(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(
            f"{name} has more than {limit} million pixels, or says so ({error}); cut "
            "it into smaller pictures or remove it, together with its partner."
        ) from error
    except UnidentifiedImageError as error:
        raise UserError(
            f"{name} cannot be read as a picture (it is damaged, or of none of the "
            f"formats {', '.join(_FORMATS)}); copy it again or remove it together with "
            "its partner."
        ) from error
    except Exception as error:  # of damaged files Pillow's readers raise many kinds
        raise UserError(
            f"{name} cannot be read as a picture ({error}); copy it again or remove it "
            "together with its partner."
        ) from error


def _turned(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF turns nothing in a viewer either
        return 1


def _load_label(file: Path | IO[bytes], name: object) -> Image.Image:
    image = _load(file, name)
    if image.format in ("JPEG", "MPO"):
        raise UserError(
            f"{name} is a JPEG, whose compression changes values, so that it holds no "
            "exact classes; export the label images again, as PNG (turning this file "
            "into a PNG would keep the damage)."
        )
    return image


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        grey = _to_8_bit(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("P", "PA"):  # transparent entries have colours of their own
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = 0, 1 if values.dtype.kind == "f" else 65535
    if known.size and not low <= known.min() <= known.max() <= high:
        low, high = known.min(), known.max()
    # float32 holds 16 bits exactly, and takes half the room.
    share = (values.astype(np.float32) - low) / max(high - low, 1e-30)
    share = np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0)
    return np.rint(255 * share.clip(0, 1)).astype(np.uint8)
