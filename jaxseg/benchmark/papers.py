"""What the papers publish: accuracy on Cityscapes, speed and the GPU it was on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A paper's figures for a network.

    Attributes:
        miou: mean IoU on the Cityscapes test set, percent of 19 classes.
        frames_per_s: by height x width.
        gpu: which the speed was measured on.
        source: paper and table.
    """

    miou: float
    frames_per_s: dict[str, float]
    gpu: str
    source: str

    def speed(self, size: str) -> str:
        """The speed at `size` with its GPU; at the nearest other size if none is."""
        pixels = {s: _pixels(s) for s in self.frames_per_s}
        near = min(pixels, key=lambda s: abs(pixels[s] - _pixels(size)))
        at = "" if near == size else f" at {near}"
        return f"{self.frames_per_s[near]:g} frames/s{at}, {self.gpu}"


def _pixels(size: str) -> int:
    h, w = size.split("x")
    return int(h) * int(w)


def _liteseg(miou: float, small: float, large: float) -> Published:
    speeds = {"360x640": small, "1024x2048": large}
    source = "LiteSeg (arXiv:1912.06683), tables III and IV"
    return Published(miou, speeds, "GTX 1080 Ti", source)


PUBLISHED = {
    "dabnet": Published(
        70.1,
        {"256x512": 170.2, "512x1024": 104.2, "1024x2048": 27.7},
        "GTX 1080 Ti",
        "DABNet (arXiv:1907.11357), tables 3 and 5",
    ),
    "esnet": Published(
        70.7,
        {"512x1024": 63},
        "GTX 1080 Ti",
        "ESNet (arXiv:1906.09826), table 3, trained with the coarse labels too",
    ),
    "fddwnet": Published(
        71.5,
        {"512x1024": 60},
        "RTX 2080 Ti",
        "FDDWNet (arXiv:1911.00632), table 3",
    ),
    "fpenet": Published(
        68.0,
        {"384x768": 129, "512x1024": 102, "768x1536": 55},
        "TITAN V",
        "FPENet (arXiv:1909.08599), table 7",
    ),
    "liteseg_darknet": _liteseg(70.75, 98, 15),
    "liteseg_mobilenet": _liteseg(67.81, 161, 22),
    "liteseg_shufflenet": _liteseg(65.17, 133, 31),
}
