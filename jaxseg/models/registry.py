"""Every network by name: how it is built, and what its paper says of it.

To add a network, write its file, give it an entry here and a recipe in `configs/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import flax.linen as nn

from jaxseg.models.dabnet import DABNet
from jaxseg.models.esnet import ESNet
from jaxseg.models.fddwnet import FDDWNet
from jaxseg.models.fpenet import FPENet
from jaxseg.models.liteseg import LiteSeg


@dataclass(frozen=True)
class Published:
    """The numbers that a paper prints, for 19 classes.

    Attributes:
        paper: its arXiv number.
        size: parameters, and work at 512x1024 where it is said (by counters of their
            own, which count more than products).
        miou: mean IoU on the Cityscapes test set, percent.
        frames_per_s: by height x width.
        gpu: which the speed was measured on.
        tables: where accuracy and speed are from.
        gmac: multiply-accumulates of convolutions at 512x1024 in billions, counted on
            the authors' code.
    """

    paper: str
    size: str
    miou: float
    frames_per_s: dict[str, float]
    gpu: str
    tables: str
    gmac: float

    @property
    def source(self) -> str:
        """The paper and its tables that accuracy and speed are from."""
        return f"arXiv:{self.paper}, {self.tables}"

    def speed(self, size: str) -> str:
        """The speed at `size` with its GPU; at the nearest other size if none is."""
        pixels = {s: _pixels(s) for s in self.frames_per_s}
        near = min(pixels, key=lambda s: abs(pixels[s] - _pixels(size)))
        at = "" if near == size else f" at {near}"
        return f"{self.frames_per_s[near]:g} frames/s{at}, {self.gpu}"


def _pixels(size: str) -> int:
    h, w = size.split("x")
    return int(h) * int(w)


@dataclass(frozen=True)
class Entry:
    """A network: `build` takes its arguments; `published` is None for one without."""

    build: Callable[..., nn.Module]
    published: Published | None = None


def _liteseg(
    backbone: str, size: str, miou: float, small: float, large: float, gmac: float
) -> Entry:
    published = Published(
        paper="1912.06683",
        size=size,
        miou=miou,
        frames_per_s={"360x640": small, "1024x2048": large},
        gpu="GTX 1080 Ti",
        tables="tables III and IV",
        gmac=gmac,
    )
    return Entry(partial(LiteSeg, backbone=backbone), published)


NETWORKS: dict[str, Entry] = {
    "dabnet": Entry(
        DABNet,
        Published(
            paper="1907.11357",
            size="0.76 M",
            miou=70.1,
            frames_per_s={"256x512": 170.2, "512x1024": 104.2, "1024x2048": 27.7},
            gpu="GTX 1080 Ti",
            tables="tables 3 and 5",
            gmac=10.220,
        ),
    ),
    "esnet": Entry(
        ESNet,
        Published(
            paper="1906.09826",
            size="1.66 M",
            miou=70.7,
            frames_per_s={"512x1024": 63},
            gpu="GTX 1080 Ti",
            tables="table 3, trained with the coarse labels too",
            gmac=24.054,
        ),
    ),
    "fddwnet": Entry(
        FDDWNet,
        Published(
            paper="1911.00632",
            size="0.80 M",
            miou=71.5,
            frames_per_s={"512x1024": 60},
            gpu="RTX 2080 Ti",
            tables="table 3",
            gmac=9.064,
        ),
    ),
    "fpenet": Entry(
        FPENet,
        Published(
            paper="1909.08599",
            size="0.4 M, 5.7 GFLOPs",
            miou=68.0,
            frames_per_s={"384x768": 129, "512x1024": 102, "768x1536": 55},
            gpu="TITAN V",
            tables="table 7",
            gmac=4.935,
        ),
    ),
    "liteseg_darknet": _liteseg(
        "darknet19", "20.55 M, 103.09 GFLOPs", 70.75, 98, 15, 57.130
    ),
    "liteseg_mobilenet": _liteseg(
        "mobilenet_v2",
        "4.38 M with the ImageNet classifier, 4.9 GFLOPs",
        *(67.81, 161, 22, 4.305),
    ),
    "liteseg_shufflenet": _liteseg(
        "shufflenet",
        "3.51 M with the ImageNet classifier, 2.75 GFLOPs",
        *(65.17, 133, 31, 2.245),
    ),
}
