"""Augmentation and preprocessing against NumPy and PIL."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.augment import Augment, build_augments
from jaxseg.data.preprocess import Preprocess

FILL = (1.0, 2.0, 3.0)
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
LABEL = RNG.integers(0, 5, (24, 40), dtype=np.uint8)


def augmented(augment, key):
    image, label = augment(jax.random.key(key), IMAGE, LABEL, FILL)
    return np.asarray(image), np.asarray(label)


def test_nothing_asked_for_changes_nothing():
    image, label = augmented(Augment((24, 40), flip=False), 0)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label, LABEL)


def test_a_crop_is_a_window_that_moves():
    places = set()
    for key in range(12):
        image, label = augmented(Augment((8, 16), flip=False), key)
        windows = np.lib.stride_tricks.sliding_window_view(LABEL, (8, 16))
        ((top, left),) = np.argwhere((windows == label).all((2, 3)))
        np.testing.assert_array_equal(image, IMAGE[top : top + 8, left : left + 16])
        places.add((top, left))
    assert len(places) > 6


def test_flip_mirrors_both_about_half_the_time():
    mirrored = 0
    for key in range(40):
        image, label = augmented(Augment((24, 40)), key)
        if (label == LABEL[:, ::-1]).all():
            np.testing.assert_array_equal(image, IMAGE[:, ::-1])
            mirrored += 1
        else:
            np.testing.assert_array_equal(label, LABEL)
    assert 8 <= mirrored <= 32  # four standard deviations about 20


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_equals_bilinear_and_nearest_of_pillow(factor):
    size = (24 * factor, 40 * factor)
    augment = Augment(size, scale=(factor, factor), flip=False)
    image, label = augmented(augment, 0)
    resized = Image.fromarray(IMAGE).resize(size[::-1], Image.Resampling.BILINEAR)
    # Pillow rounds to whole numbers.
    np.testing.assert_allclose(image, np.asarray(resized), atol=1.01)
    nearest = Image.fromarray(LABEL).resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(label, np.asarray(nearest))


def test_halving_reads_the_middle_between_two_pixels():
    image, _ = augmented(Augment((12, 20), scale=(0.5, 0.5), flip=False), 0)
    blocks = IMAGE.astype(float).reshape(12, 2, 20, 2, 3).mean((1, 3))
    np.testing.assert_allclose(image, blocks, atol=1e-3)


def test_a_turned_crop_is_read_along_turned_axes():
    """A picture that holds its own coordinates tells where each pixel was read."""
    down, across = np.indices((120, 160))
    image = np.stack([down, across, down], -1).astype(np.uint8)
    label = ((7 * down + across) % 251).astype(np.uint8)
    augment = Augment((30, 40), scale=(2, 2), flip=False, rotation=30.0)
    angles = []
    for key in range(12):
        crop, turned = augment(jax.random.key(key), image, label, FILL)
        crop, turned = np.asarray(crop, float), np.asarray(turned)
        inside = turned != 255
        i, j = np.nonzero(inside)
        axes = np.stack([i, j, np.ones(len(i))], -1)
        found, misfit, *_ = np.linalg.lstsq(axes, crop[inside][:, :2])
        assert misfit.max() < 1e-3  # bilinear reading of a plane is exact
        cos, sin = found[0, 0] * 2, found[1, 0] * 2
        np.testing.assert_allclose(found[:2] * 2, [[cos, -sin], [sin, cos]], atol=1e-4)
        assert cos**2 + sin**2 == pytest.approx(1, abs=1e-4)
        angles.append(np.degrees(np.arctan2(sin, cos)))
        # Away from the middle between two pixels the label is the nearest one's.
        r, c = crop[inside][:, 0], crop[inside][:, 1]
        clear = (abs(r % 1 - 0.5) > 0.01) & (abs(c % 1 - 0.5) > 0.01)
        nearest = label[np.rint(r).astype(int), np.rint(c).astype(int)]
        assert (nearest == turned[inside])[clear].all()
    assert max(map(abs, angles)) < 30 and max(angles) > 10 and min(angles) < -10


@pytest.mark.parametrize("turned", [False, True])
def test_outside_is_void_with_the_fill_colour_and_no_label_is_invented(turned):
    augment = Augment((40, 48), (0.5, 1.3), rotation=10.0 * turned, colour_jitter=0.3)
    outside = 0
    for key in range(10):
        image, label = augmented(augment, key)
        assert set(np.unique(label)) <= {0, 1, 2, 3, 4, 255}
        np.testing.assert_array_equal(
            image[label == 255], np.broadcast_to(FILL, ((label == 255).sum(), 3))
        )
        inside = image[label != 255]
        assert inside.min() >= 0 and inside.max() <= 255
        outside += (label == 255).sum()
    assert outside > 0


def test_colour_jitter_of_a_grey_picture_keeps_it_grey_and_changes_brightness():
    grey = np.full((8, 8, 3), 100, np.uint8)
    augment = Augment((8, 8), colour_jitter=0.2)
    values = []
    for key in range(20):
        image, _ = augment(jax.random.key(key), grey, np.zeros((8, 8), np.uint8), FILL)
        assert float(jnp.ptp(image)) < 1e-3
        values.append(float(image[0, 0, 0]))
    assert 80 <= min(values) < 95 and 105 < max(values) <= 120


def test_the_same_key_gives_the_same_sample():
    augment = Augment((16, 16), scale=(0.5, 2.0), colour_jitter=0.2)
    for a, b in zip(augmented(augment, 3), augmented(augment, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_preprocess_is_a_mean_and_a_scale_per_channel():
    preprocess = Preprocess((10.0, 20.0, 30.0), (1.0, 2.0, 4.0))
    expected = (IMAGE - np.array([10.0, 20.0, 30.0])) / np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(preprocess(jnp.asarray(IMAGE)), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="three positive scales"):
        Preprocess(std=(1.0, 0.0, 1.0))


def test_more_than_two_scales_are_the_factors_themselves():
    # A ramp across the picture: its slope in the crop tells the factor.
    image = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None], (64, 64, 3))
    augment = Augment((8, 16), scale=(0.5, 1.0, 2.0), flip=False)
    slopes = set()
    for seed in range(24):
        crop, _ = augment(jax.random.key(seed), image, image[..., 0], FILL)
        slopes.add(round(float(np.median(np.diff(crop[1, :, 0]))), 3))
    assert slopes == {2.0, 1.0, 0.5}


def test_a_size_of_crop_each():
    first, second = build_augments(
        (8, 16), more_crops_hw=((12, 20),), scale=(0.5, 1.0), flip=False
    )
    assert first == Augment((8, 16), scale=(0.5, 1.0), flip=False)
    assert second == Augment((12, 20), scale=(0.5, 1.0), flip=False)
