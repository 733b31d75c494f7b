import numpy as np
import pytest
import scipy.ndimage
import scipy.spatial

from diffquant.signal.blue_noise import SIGMA, threshold_mask

levels = pytest.mark.parametrize("level", [1 / 16, 1 / 4, 1 / 2, 3 / 4, 15 / 16])


def radial_power(pattern, bins):
    """Mean power by frequency in equal rings up to Nyquist, relative to white noise of the same variance."""
    power = np.abs(np.fft.fft2(pattern - pattern.mean())) ** 2 / pattern.size / pattern.var()
    fy, fx = np.fft.fftfreq(len(pattern))[:, None], np.fft.fftfreq(pattern.shape[1])
    ring = np.minimum(np.hypot(fx, fy) * 2 * bins, bins).astype(int).ravel()
    power, ring = power.ravel()[1:], ring[1:]  # without the mean
    return np.bincount(ring, power)[:bins] / np.bincount(ring)[:bins]


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 64])
def test_every_rank_occurs_once(size):
    mask = threshold_mask(size)
    assert mask.shape == (size, size)
    assert mask.dtype == np.float32
    ranks = mask.astype(np.float64).ravel() * size**2 - 0.5
    np.testing.assert_allclose(np.sort(ranks), np.arange(size**2), atol=1e-3)


@levels
def test_the_share_of_pixels_below_a_level_is_the_level(level):
    mask = threshold_mask()
    assert (mask < level).mean() == level
    # And so it is near every place: a blur of the pattern is nearly flat, for white noise it is not.
    blurred = scipy.ndimage.gaussian_filter((mask < level).astype(float), 3, mode="wrap")
    assert blurred.std() < 0.3 * np.sqrt(level * (1 - level) / (4 * np.pi * 3**2))


@levels
def test_low_frequencies_are_far_below_white_noise(level):
    rings = radial_power((threshold_mask() < level).astype(float), 16)
    principal = np.sqrt(min(level, 1 - level)) * 2 * 16  # Ulichney's principal frequency, in rings
    assert rings[: max(1, int(0.3 * principal))].max() < 0.1
    white = radial_power((np.random.default_rng(1).random((64, 64)) < level).astype(float), 16)
    assert white.min() > 0.4


def test_the_thresholds_themselves_have_no_low_frequencies():
    assert radial_power(threshold_mask().astype(float), 16)[:5].max() < 0.05


@pytest.mark.parametrize("level", [1 / 32, 1 / 16, 15 / 16])
def test_tiling_has_no_seam(level):
    # Few pixels keep away from each other, and from the next tile's as much as from their own's.
    pattern = threshold_mask() < level
    places = np.argwhere(pattern if level < 0.5 else ~pattern)
    around, _ = scipy.spatial.cKDTree(places, boxsize=64).query(places, k=2)
    within, _ = scipy.spatial.cKDTree(places).query(places, k=2)
    assert (around[:, 1] < within[:, 1]).any()  # there are such neighbours across the seam
    spacing = np.sqrt(1 / min(level, 1 - level))
    assert around[:, 1].min() > 0.45 * spacing
    assert around[:, 1].std() < 0.2 * spacing


@pytest.mark.parametrize("count", [64, 128, 230])
def test_each_rank_goes_to_the_largest_void(count):
    # The definition, by brute force, above the share that the seed pattern holds.
    order = threshold_mask(16).ravel().argsort()
    pattern = np.zeros(256)
    pattern[order[:count]] = 1
    blurred = scipy.ndimage.gaussian_filter(pattern.reshape(16, 16), SIGMA, mode="wrap", truncate=5).ravel()
    assert blurred[order[count]] == pytest.approx(blurred[order[count:]].min(), abs=1e-6)


def test_the_mask_is_made_once_and_cannot_be_changed():
    assert threshold_mask(16) is threshold_mask(16)
    np.testing.assert_array_equal(threshold_mask.__wrapped__(16), threshold_mask(16))
    with pytest.raises(ValueError, match="read-only"):
        threshold_mask(16)[0, 0] = 0
