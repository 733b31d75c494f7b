"""Descent by tiles against descent on the whole: no seams, and losses as low."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from diffquant import color
from diffquant.export import judged, tiled_descent, tiles
from diffquant.export.dither import Polish
from diffquant.losses import BlurError, Ssimulacra2
from diffquant.metrics import ssimulacra2
from diffquant.pipelines.palette import Palette

EYE = BlurError(sigmas=(0.0, 0.75), weights=(0.1, 1.0), chroma=(0.02, 0.5))
LOSSES = (EYE, Ssimulacra2())
H, W, SIDE, K = 517, 14, 64, 6  # narrow: few scales are quickly compiled
KEY = jax.random.key(0)


@functools.cache
def pixels():
    """Waves and smooth noise."""
    y, x = np.mgrid[:H, :W] / 60
    waves = np.stack([110 + 70 * np.sin(x + 2 * y), 120 + 80 * np.cos(2 * x - y), 128 + 60 * np.sin(3 * x)], -1)
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 25, (H, W, 3)), (1, 1, 0))
    return (waves + noise).clip(0, 255).astype(np.uint8)


def linear(codes):
    return jnp.asarray(color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(codes, -1, 0))))


@functools.cache
def start():
    """Target, palette as a file rounds it, the nearest entries."""
    target = linear(pixels())
    pipeline = Palette(colors=K).build(pixels(), target)
    colors = color.linear_from_srgb8(color.srgb8_from_linear(np.asarray(pipeline.palette.linear())))
    return target, jnp.asarray(colors), np.asarray(pipeline.assignment.mode()).astype(np.int32)


@functools.cache
def windows():
    """Where `SIDE` puts tiles."""
    return tiled_descent.windows(H, W, LOSSES, SIDE)


@functools.cache
def descended(side):
    """Indices after a few rounds."""
    target, colors, first = start()
    index = first.copy()
    settings = {"relative": True, "tolerance": 0.0, "key": KEY}
    shares = list(tiled_descent.descend(index, colors, target, LOSSES, EYE, side, 12, **settings))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    return index


def test_what_losses_are_divided_by_is_their_mean_over_the_windows():
    target, colors, first = start()
    found = tiled_descent.mean_losses(first, colors, target, LOSSES, SIDE)
    size, places = windows()
    pixels_shown = color.srgb8_from_linear(np.asarray(colors))[first]
    scores = []
    for tile in places:
        here, _ = tiles.place(tile, size)
        scores.append(ssimulacra2(np.ascontiguousarray(pixels()[here]), np.ascontiguousarray(pixels_shown[here])))
    assert Ssimulacra2.score(float(found[1])) == pytest.approx(np.mean(scores), abs=1.0)  # a curve, nearly straight


def test_a_tile_changes_its_own_pixels_only():
    target, colors, first = start()
    index = first.copy()
    settings = {"relative": True, "tolerance": 0.0, "key": KEY}
    next(tiled_descent.descend(index, colors, target, LOSSES, EYE, SIDE, 12, **settings))
    size, found = windows()
    changed = index != first
    here, own = tiles.place(found[0], size)
    assert changed[here][own].mean() > 0.005
    changed[here] &= ~own
    assert not changed.any()


def shares_left(index):
    """Losses of the whole picture, each divided by that of the first."""
    target, colors, first = start()
    now, before = (judged.values_of(LOSSES, jnp.asarray(each), colors, target) for each in (index, first))
    return now / before


def test_tiles_lower_the_losses_as_the_whole_does():
    whole, tiled = shares_left(descended(1024)), shares_left(descended(SIDE))
    assert whole.sum() < 0.95 * len(LOSSES)
    assert tiled.sum() == pytest.approx(whole.sum(), rel=0.02)


def test_there_are_no_seams():
    """The error beside the borders of tiles is like that elsewhere, and like that of the whole there."""
    target, colors, _ = start()
    near = np.zeros((H, W), bool)
    for tile in windows()[1][1:]:
        border = tile.top + tile.rows[0]
        near[border - 2 : border + 2] = True
    ratios = []
    for side in (SIDE, 1024):
        error = np.asarray(colors)[descended(side)] - np.moveaxis(np.asarray(target), 0, -1)
        squares = (scipy.ndimage.gaussian_filter(error, (1, 1, 0)) ** 2).sum(axis=-1)
        ratios.append(squares[near].mean() / squares[~near].mean())
    assert ratios[0] == pytest.approx(ratios[1], rel=0.15)


def test_a_large_picture_gets_its_rounds_in_tiles():
    target = start()[0]
    results = []
    for rounds in (0, 8):
        dither = Polish(sweeps=4, rounds=rounds, shares=True, eye=EYE, tile=SIDE)
        pipeline = Palette(colors=K, dither=dither).build(pixels(), target)
        found = list(pipeline.harden(target, LOSSES, key=KEY))
        shares = [share for share, _ in found]
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1.0)
        results.append(found[-1][1])
    swept, rounded = (ssimulacra2(pixels(), artifact.decode()) for artifact in results)
    assert rounded > swept
    np.testing.assert_array_equal(results[0].palette, results[1].palette)
