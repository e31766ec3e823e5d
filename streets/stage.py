"""The stage: a picture and its label map, and the primitives that paint on both.

What stands in the scene is queued with `add` and painted far to near; every primitive
paints image and labels together, so that the two agree.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from streets import noise
from streets.camera import Camera, Vector
from streets.classes import SKY
from streets.light import Light
from streets.palette import Colour
from streets.shadows import Shadows

_SCALE = 2  # painted at this multiple of the size and box-filtered down

# Maps metres across and up a surface to colours and, optionally, to where it is solid.
Texture = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]


class Stage:
    """A random camera, light and bend of the street, with empty canvases.

    Attributes:
        rng: where all that is random in the scene comes from, in order.
        bend: the street strays bend * z**2 metres to the right.
        grain, cloud: fine and smooth noise for textures.
        image, label: the canvases, larger than what `develop` returns.
    """

    def __init__(self, rng: np.random.Generator, h: int, w: int) -> None:
        self.rng = rng
        self.camera = Camera(rng, w * _SCALE, h * _SCALE)
        self.bend = rng.choice([0.0, rng.uniform(-0.0025, 0.0025)])
        self.grain, self.cloud = noise.grain(rng), noise.cloud(rng)
        self.light = Light(rng)
        self.shadows = Shadows(self.camera, self.light)
        size = (self.camera.w, self.camera.h)
        self.image, self.label = Image.new("RGB", size), Image.new("L", size, SKY)
        self._pen, self._mark = ImageDraw.Draw(self.image), ImageDraw.Draw(self.label)
        self._items: list[tuple[float, Callable[[], None]]] = []

    def pick(self, pool: Sequence[Colour], spread: float = 8) -> np.ndarray:
        """A random colour near one of the pool."""
        colour = np.array(pool[int(self.rng.integers(len(pool)))], float)
        jitter = self.rng.normal(0, spread, 4)
        return np.clip(colour + 0.5 * jitter[:3] + jitter[3], 8, 245)

    def bent(self, lateral: float, z: float) -> float:
        """The x of a point `lateral` metres right of the camera's lane, at z."""
        return lateral + self.bend * z * z

    def add(self, x: float, z: float, paint: Callable[[], None]) -> None:
        """Queue something to paint that comes nearest to the camera at (x, z).

        Along a ray from the camera both |x| and z grow, so their weighted sum puts
        what is nearer the lane in front of what stands beside it.
        """
        self._items.append((z + 0.5 * abs(x), paint))

    def paint_items(self) -> None:
        """Paint what is queued, far to near."""
        for _, paint in sorted(self._items, key=lambda item: -item[0]):
            paint()

    def poly(
        self,
        points: Sequence[Vector] | np.ndarray,
        colour: Colour,
        normal: Vector,
        label: int,
    ) -> None:
        """Paint a flat world polygon."""
        points = np.asarray(points, float)
        outline = self.camera.outline(points)
        if outline:
            seen = self.light.lit(colour, normal, points[:, 2].mean())
            self.pixels(outline, seen, label)

    def pixels(self, outline: list[float], colour: tuple, label: int) -> None:
        """Paint a polygon given in pixels, in a colour used as it is."""
        self._pen.polygon(outline, colour)
        self._mark.polygon(outline, label)

    def stroke(
        self, line: list, width: float, colour: tuple, label: int | None
    ) -> None:
        """Paint a pixel polyline with round ends; without a label, image only."""
        size = max(1, round(width))
        pens = [(self._pen, colour)] + [(self._mark, label)] * (label is not None)
        for pen, fill in pens:
            pen.line(line, fill, size, "curve" if size > 3 else None)
            for u, v in (line[0], line[-1]) if size > 3 else ():
                r = size / 2
                pen.ellipse([u - r, v - r, u + r, v + r], fill)

    def ellipse(
        self, box: list[float], colour: tuple, label: int, rim: float = 0.0
    ) -> None:
        """Paint an ellipse; with a rim only its edge shows, but all is labelled."""
        if rim:
            self._pen.ellipse(box, outline=colour, width=max(1, round(rim)))
        else:
            self._pen.ellipse(box, colour)
        self._mark.ellipse(box, label)

    def paste(
        self,
        rgb: np.ndarray,
        show: Image.Image,
        mark: Image.Image,
        box: tuple[int, int, int, int],
        label: int,
    ) -> None:
        """Paint a patch of pixels: `rgb` where `show`, `label` where `mark`."""
        self.image.paste(picture(rgb, show.size), box[:2], show)
        self.label.paste(label, box, mark)

    def plane(
        self,
        origin: Vector,
        across: Vector,
        up: Vector,
        texture: Texture,
        label: int,
        see_through: bool = False,
    ) -> None:
        """Paint a textured parallelogram with exact perspective.

        A see-through plane is labelled in its gaps too.
        """
        camera = self.camera
        p, a, b = (np.asarray(x, float) for x in (origin, across, up))
        outline = camera.outline([p, p + a, p + a + b, p + b])
        box = camera.window(outline)
        if box is None:
            return
        ray = p - (0, camera.eye, 0)
        columns = np.stack([a, b, ray], 1) * [[1], [-1], [1]]
        lens = np.array([[camera.f, 0, camera.cu], [0, camera.f, camera.cv], [0, 0, 1]])
        inverse = np.linalg.inv(lens @ columns).astype(np.float32)
        u, v = pixel_grid(box)
        s, t, nearness = (row[0] * u + row[1] * v + row[2] for row in inverse)
        depth = 1 / np.maximum(nearness, 1e-4)
        s, t = np.clip(s * depth, 0, 1), np.clip(t * depth, 0, 1)
        rgb, solid = texture(s * np.linalg.norm(a), t * np.linalg.norm(b))
        normal = np.cross(a, b)
        normal /= np.linalg.norm(normal) * (1 if normal @ ray < 0 else -1)
        rgb *= np.array(self.light.lamp(normal), np.float32)
        size = (box[2] - box[0], box[3] - box[1])
        show = mark = Image.new("L", size)
        shifted = np.array(outline).reshape(-1, 2) - box[:2]
        ImageDraw.Draw(mark).polygon(shifted.ravel().tolist(), 255)
        if solid is not None:
            show = Image.new("L", size)
            show.paste(mark, None, mask(solid, size))
        rgb = self.light.hazy(rgb, depth)
        self.paste(rgb, show, mark if see_through else show, box, label)

    def develop(self) -> tuple[np.ndarray, np.ndarray]:
        """Scale down, apply the camera's faults, and return image and label."""
        rng = self.rng
        small = self.image.reduce(_SCALE)
        if rng.random() < 0.4:
            small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.7)))
        curve = 255 * np.linspace(0, 1, 256) ** rng.uniform(0.85, 1.15)
        rgb = np.array(small.point(curve.astype(int).tolist() * 3), np.float32)
        h, w = rgb.shape[:2]
        v, u = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        vignette = 1 - rng.uniform(0, 0.3) * (u * u + v * v) / 2
        exposure = np.clip(rng.uniform(100, 135) / rgb.mean(), 0.8, 1.7)
        balance = exposure * (1 + rng.normal(0, 0.035, 3))
        rgb *= vignette.astype(np.float32)[..., None] * balance.astype(np.float32)
        sensor = rng.standard_normal((h, w, 1), dtype=np.float32)
        rgb += sensor * np.float32(255 * rng.uniform(0.004, 0.018))
        label = np.asarray(self.label)[_SCALE - 1 :: _SCALE, _SCALE - 1 :: _SCALE]
        return np.clip(rgb, 0, 255).astype(np.uint8), label.copy()


def pixel_grid(box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates over a box: a row of u and a column of v.

    Large boxes are sampled at every other pixel, to be scaled up when pasted: what
    fills much of the picture is near, and its texture coarse.
    """
    step = 2 if (box[2] - box[0]) * (box[3] - box[1]) > 8000 else 1
    shift = (step - 1) / 2
    u = np.arange(box[0], box[2], step, dtype=np.float32)[None] + shift
    return u, np.arange(box[1], box[3], step, dtype=np.float32)[:, None] + shift


def picture(rgb: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """Colours (h, w, 3) as an image, scaled to a size (w, h) if need be."""
    image = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
    return image.resize(size, Image.Resampling.BILINEAR)


def mask(chosen: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """A paste mask of a size (w, h) from a boolean array, scaled up if need be."""
    image = Image.fromarray(chosen.astype(np.uint8) * 255)
    return image.resize(size, Image.Resampling.NEAREST)
