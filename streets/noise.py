"""Random textures: tiles of noise that surfaces look themselves up in."""

import numpy as np


class Noise:
    """A 256 x 256 tile, float32, repeated without end."""

    def __init__(self, tile: np.ndarray) -> None:
        self.tile = tile.astype(np.float32)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The tile at coordinates cut down to integers, broadcast together."""
        return self.tile[b.astype(np.int32) & 255, a.astype(np.int32) & 255]


def grain(rng: np.random.Generator) -> Noise:
    """White noise in -1..1."""
    return Noise(rng.uniform(-1, 1, (256, 256)))


def cloud(rng: np.random.Generator) -> Noise:
    """Smooth noise that tiles, roughly in -1..1."""
    fy, fx = np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((256, 256)))
    tile = np.fft.irfft2(spectrum / (np.hypot(fx, fy) + 0.012) ** 1.3)
    return Noise((tile - tile.mean()) / (2 * tile.std()))
