"""Hues at few colours: the chroma weight, and how it is chosen. Oracles: cases by hand."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from pictures import photo

from diffquant.palette.chroma import MOST, chroma_weight, eye_weight
from diffquant.palette.histogram import oklab_from_colors
from diffquant.palette.initial import initial_palette

RED = (200, 30, 40)


quick = hypothesis.settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def colourful(seed=0, h=20, w=31):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def ramp(h=32, w=48):
    """Greys from black to white."""
    return np.broadcast_to(np.linspace(0, 255, w).astype(np.uint8)[None, :, None], (h, w, 3)).copy()


def patched():
    """A grey ramp with a red patch of 4 % of the pixels, on greys that are about as light."""
    pixels = ramp()
    pixels[4:10, 18:28] = RED
    return pixels


def largest_chroma(palette):
    return np.hypot(palette[:, 1], palette[:, 2]).max()


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(seeds, st.integers(1, 20))
def test_a_weight_of_one_is_the_plain_palette(seed, k):
    pixels = colourful(seed)
    np.testing.assert_array_equal(initial_palette(pixels, k, chroma=1.0), initial_palette(pixels, k))


def test_a_small_patch_keeps_its_hue_at_four_colours_with_the_weight_only():
    red = oklab_from_colors(np.array([RED], np.uint8))[0]
    chroma = math.hypot(*red[1:])
    plain, weighed = (initial_palette(patched(), 4, chroma=weight) for weight in (1.0, MOST))
    assert largest_chroma(plain) < 0.5 * chroma
    assert np.linalg.norm(weighed - red, axis=1).min() < 0.1 * chroma


def test_the_automatic_weight_is_enough_for_a_small_patch():
    weight = chroma_weight(patched(), 4)
    assert largest_chroma(initial_palette(patched(), 4, chroma=weight)) > 0.9 * largest_chroma(
        oklab_from_colors(np.array([RED], np.uint8))
    )


def test_a_weight_trades_lightness_for_chroma():
    pixels = photo()
    points = oklab_from_colors(pixels.reshape(-1, 3))
    errors = []
    for weight in (1.0, 4.0, 16.0):
        palette = initial_palette(pixels, 4, chroma=weight, effort=3)
        difference = points[:, None] - palette[None]
        squares = np.square(difference) * [1, weight, weight]
        best = squares.sum(axis=2).argmin(axis=1)
        errors.append(np.square(difference[np.arange(len(points)), best]).mean(axis=0))
    errors = np.array(errors)
    assert (np.diff(errors[:, 1:].sum(axis=1)) <= 0).all()
    assert errors[0, 0] <= errors[2, 0]


@pytest.mark.parametrize("chroma", [0.0, -1.0, math.inf, math.nan])
def test_impossible_weights_are_refused(chroma):
    with pytest.raises(ValueError, match="chroma is"):
        initial_palette(photo(), 4, chroma=chroma)


def test_pinned_colours_stay_and_few_colours_are_exact_whatever_the_weight():
    pinned = np.array([[255, 0, 0], [1, 2, 3]], np.uint8)
    palette = initial_palette(photo(), 6, pinned=pinned, chroma=3.7)
    np.testing.assert_array_equal(palette[:2], oklab_from_colors(pinned))
    few = photo()[:2, :3]
    np.testing.assert_array_equal(initial_palette(few, 8, chroma=3.7), initial_palette(few, 8))


@quick
@hypothesis.given(seeds, st.integers(1, 256))
def test_the_automatic_weight_is_within_its_bounds(seed, k):
    for pixels in (colourful(seed, 7, 9), photo(seed, 7, 9)):
        assert 1 <= chroma_weight(pixels, k) <= MOST


@pytest.mark.parametrize("k", [1, 2, 4, 16, 64])
def test_the_automatic_weight_is_one_for_grey_pictures(k):
    assert chroma_weight(ramp(), k) == pytest.approx(1, abs=1e-9)


def test_noise_of_one_code_is_no_chroma():
    noisy = ramp()[:, 4:-4] + np.random.default_rng(0).integers(-1, 2, (32, 40, 3))
    assert chroma_weight(noisy.clip(0, 255).astype(np.uint8), 4) < 1.6


def test_the_automatic_weight_falls_to_one_with_more_colours():
    weights = [chroma_weight(photo(), k) for k in (3, 6, 16, 64, 256)]
    assert (np.diff(weights) < 0).all()
    assert weights[0] > 2
    assert weights[-1] < 1.05


def test_two_colours_are_for_lightness():
    assert [chroma_weight(photo(), k) for k in (1, 2)] == [1, 1]


def test_a_picture_of_one_colour_needs_no_weight():
    assert chroma_weight(np.full((3, 5, 3), (200, 30, 40), np.uint8), 4) == pytest.approx(1, abs=1e-9)


@quick
@hypothesis.given(seeds, st.integers(1, 20))
def test_the_automatic_weight_looks_at_frequencies_only(seed, k):
    pixels = photo(seed)
    weight = chroma_weight(pixels, k)
    turned = np.random.default_rng(seed).permutation(pixels.reshape(-1, 3)).reshape(37, 24, 3)
    assert chroma_weight(turned, k) == weight
    assert chroma_weight(np.tile(pixels, (2, 1, 1)), k) == weight


def test_the_automatic_weight_needs_a_colour():
    with pytest.raises(ValueError, match="k is 0"):
        chroma_weight(photo(), 0)


@pytest.mark.parametrize(("chroma", "weight"), [(1, 1), (1.3, 1), (1.5, math.sqrt(2)), (2, math.sqrt(2)), (4, 2)])
def test_the_eye_weighs_the_root_in_steps(chroma, weight):
    assert eye_weight(chroma) == pytest.approx(weight)


def test_the_eye_of_the_preset_is_weighed():
    from diffquant.presets import eye, palette_config

    config = palette_config("balanced", colors=4, chroma=4.0)
    loss = config.losses["eye"]
    assert loss.chroma == pytest.approx(tuple(2 * c for c in eye(4).chroma))
    assert (loss.weights, loss.sigmas, loss.masking) == (eye(4).weights, eye(4).sigmas, eye(4).masking)
    assert config.pipeline.chroma == 4
