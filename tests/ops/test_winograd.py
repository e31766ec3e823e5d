"""Convolutions with fewer multiplications against the sums that they stand for."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import ops
from jaxseg.ops import Lowering, lowering
from jaxseg.ops.winograd import TILE, Tiles, convolve, matrices, transform_kernel


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def summed(x, kernel, dilation, margin):
    """The convolution, tap by tap in float64."""
    x = np.pad(x, [(0, 0), *((m, m) for m in margin), (0, 0)])
    kh, kw = kernel.shape[:2]
    h, w = (n - d * (k - 1) for n, d, k in zip(x.shape[1:3], dilation, (kh, kw)))
    total = 0.0
    for i, j in np.ndindex(kh, kw):
        top, left = i * dilation[0], j * dilation[1]
        total = total + x[:, top : top + h, left : left + w] @ kernel[i, j]
    return total


@pytest.mark.parametrize("taps", [3, 5])
def test_matrices_give_the_sums_of_products(taps):
    inputs, weights, back = matrices(taps)
    x, w = draw(TILE + taps - 1), draw(taps, seed=1)
    expected = np.correlate(x, w, "valid")
    np.testing.assert_allclose(back @ ((weights @ w) * (inputs @ x)), expected)


@pytest.mark.parametrize(
    "hw, taps, dilation, margin",
    [
        ((8, 12), (3, 3), (1, 1), (1, 1)),
        ((7, 10), (3, 3), (2, 2), (1, 1)),  # Darknet19's, which shrinks the map
        ((9, 6), (5, 1), (1, 1), (2, 0)),
        ((6, 9), (1, 5), (1, 1), (0, 2)),
        ((21, 5), (3, 1), (9, 1), (9, 0)),
        ((5, 11), (1, 3), (1, 5), (0, 5)),
        ((4, 6), (3, 1), (1, 1), (1, 2)),  # wider than the taps reach
    ],
)
def test_convolution(hw, taps, dilation, margin):
    x, kernel = draw(2, *hw, 16), draw(*taps, 16, 8, seed=1)
    expected = summed(x, kernel, dilation, margin)
    tiles = transform_kernel(kernel)
    tiles = Tiles(tiles.weights.astype(np.float32), tiles.taps)
    ours = convolve(x.astype(np.float32), tiles, dilation, margin)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() < 4e-6 * np.abs(expected).max()


def prepared(kernel, dtype="float32", **geometry):
    return ops.prepared_kernel(kernel, jnp.dtype(dtype), **geometry)


def test_kernels_are_transformed_where_that_pays():
    wide, narrow = draw(3, 3, 128, 128), draw(3, 3, 32, 128)

    def transformed(*kernel, **geometry):
        return isinstance(prepared(*kernel, **geometry), Tiles)

    with lowering(Lowering("cpu")):
        assert transformed(wide) and transformed(draw(5, 1, 64, 64))
        assert not transformed(narrow) and not transformed(wide, stride=2)
        assert not transformed(wide, "bfloat16")
    for how in (Lowering("textbook"), Lowering("gpu", dots=True)):
        with lowering(how):
            assert not transformed(wide)
