"""The bundled set: street scenes that are drawn, not read."""

from pathlib import Path

import numpy as np

from jaxseg.data import streets
from jaxseg.data.classes import CITYSCAPES
from jaxseg.data.sources.base import digest


class Streets:
    """Scenes of `jaxseg.data.streets`, 19 classes; an id is the seed of its scene."""

    name = "streets"
    table = CITYSCAPES
    hw = (256, 512)
    splits = ("train", "val", "test")
    unlabelled = ()
    _SEEDS = {
        "train": range(300),
        "val": range(10_000, 10_050),
        "test": range(20_000, 20_050),
    }

    def ids(self, split: str) -> list[str]:
        return [f"{seed:06d}" for seed in self._SEEDS[split]]

    def read(self, split: str, sample_id: str) -> tuple[np.ndarray, np.ndarray]:
        return streets.draw_scene(int(sample_id), self.hw)

    def fingerprint(self, split: str) -> str:
        program = sorted(Path(streets.__file__).parent.glob("*.py"))
        return digest(path.read_text() for path in program)

    def remarks(self, split: str) -> list[str]:
        return []
