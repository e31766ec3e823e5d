"""The bundled set: street scenes that are drawn, not read."""

import numpy as np

import streets
from jaxseg.data.classes import CITYSCAPES
from jaxseg.data.sources.base import digest


class Streets:
    """Scenes of the package `streets`, 19 classes; an id is the seed of its scene."""

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
        return digest([f"version {streets.VERSION}"])

    def remarks(self, split: str) -> list[str]:
        return []
