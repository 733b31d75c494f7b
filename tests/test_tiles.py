"""Polishing by tiles against polishing the whole, and the geometry of tiles."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffquant import color
from diffquant.export import polish, tiles
from diffquant.export.dither import Polish
from diffquant.losses.blur import BlurError
from diffquant.pipelines.palette import Palette
from diffquant.signal.windows import windows

EYE = BlurError(sigmas=(0.0, 0.75, 1.9), weights=(0.1, 0.5, 1.0), chroma=(0.02, 0.4, 1.0), masking=(0.03, 0.0, 0.0))
H, W = 150, 97
QUADRATIC = jax.jit(polish.quadratic, static_argnums=(2, 3))  # each whole: else every operation is compiled by itself
LOSS = jax.jit(polish.loss, static_argnums=(3, 4))
REFIT = jax.jit(polish.refit, static_argnums=(4, 5, 6))


def photo(h=H, w=W):
    y, x = np.mgrid[:h, :w] / h
    smooth = np.stack([60 + 80 * x, 200 * y, 128 + 60 * np.sin(9 * x + 7 * y)], -1)
    return (smooth + np.random.default_rng(0).normal(0, 6, (h, w, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("h", "w", "side"), [(150, 97, 64), (64, 64, 64), (65, 1, 64), (1000, 313, 128), (7, 200, 64)])
def test_tiles_cover_every_pixel_once_and_lie_in_windows_of_one_size(h, w, side):
    halo = 12
    (height, width), found = windows(h, w, side, halo)
    count = np.zeros((h, w), int)
    for tile in found:
        (a, b), (c, d) = tile.rows, tile.columns
        assert 0 <= tile.top <= h - height
        assert 0 <= tile.left <= w - width
        assert b - a <= side
        assert d - c <= side
        count[tile.top + a : tile.top + b, tile.left + c : tile.left + d] += 1
        # Around a tile there is the halo, unless the picture ends.
        assert a >= halo or tile.top == 0
        assert height - b >= halo or tile.top + height == h
        assert c >= halo or tile.left == 0
        assert width - d >= halo or tile.left + width == w
    assert (count == 1).all()


@pytest.mark.parametrize(("h", "w", "side"), [(150, 97, 64), (1000, 313, 128), (7, 200, 100), (500, 641, 256)])
def test_windows_begin_at_multiples_of_a_step(h, w, side):
    halo, step = 32, 32
    (height, width), found = windows(h, w, side, halo, step)
    count = np.zeros((h, w), int)
    for tile in found:
        (a, b), (c, d) = tile.rows, tile.columns
        for start in (tile.top, tile.left, a, c):
            assert start % step == 0
        assert max(b - a, d - c) <= side
        assert a >= halo or tile.top == 0
        assert height - b >= halo or tile.top + height == h
        assert c >= halo or tile.left == 0
        assert width - d >= halo or tile.left + width == w
        count[tile.top + a : tile.top + b, tile.left + c : tile.left + d] += 1
    assert (count == 1).all()


@pytest.fixture(scope="module")
def start():
    """Picture, target, first palette in linear light and the nearest entries."""
    pixels = photo()
    target = jnp.asarray(color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(pixels, -1, 0))))
    pipeline = Palette(colors=6).build(pixels, target)
    return target, pipeline.palette.linear(), np.asarray(pipeline.assignment.mode()).astype(np.int32)


def error_of(index, target, colors, first, grid):
    shown = jnp.moveaxis(colors[first], -1, 0)
    problem = QUADRATIC(target, shown, EYE, grid)
    return float(LOSS(grid.split(jnp.asarray(index)[None])[:, :, 0], colors, problem, EYE, grid))


def swept(start, side, passes=2):
    target, colors, first = start
    index, orders = first.copy(), np.random.default_rng(0)
    for _ in range(passes):
        list(tiles.sweep(index, first, target, colors, (0.0,) * 3, EYE, side, orders))
    return index


def test_tiles_reach_the_error_of_the_whole(start):
    target, colors, first = start
    grid = polish.grid_of(target.shape, EYE)
    measured = functools.partial(error_of, target=target, colors=colors, first=first, grid=grid)
    whole, tiled = measured(swept(start, 1000)), measured(swept(start, 64))
    assert tiled < 0.7 * measured(first)
    assert tiled == pytest.approx(whole, rel=0.01)


def test_there_are_no_seams(start):
    """The blurred error beside the borders of tiles is like that elsewhere, and like that of the whole there."""
    target, colors, _ = start
    ratios = []
    for side in (64, 1000):
        picture = np.moveaxis(np.asarray(colors)[swept(start, side)], -1, 0)
        from diffquant.signal.filters import blur, gaussian_kernel

        error = np.asarray(blur(jnp.asarray(picture) - target, gaussian_kernel(1.9)))
        squares = (error**2).sum(axis=0)
        near = np.zeros((H, W), bool)
        for edge in (50, 100):
            near[edge - 3 : edge + 3] = True
        near[:, 48 - 3 : 48 + 4] = True
        ratios.append(squares[near].mean() / squares[~near].mean())
    assert ratios[0] == pytest.approx(ratios[1], rel=0.15)


def test_what_is_not_a_tiles_own_stays(start):
    target, colors, first = start
    index = first.copy()
    step = tiles.sweep(index, first, target, colors, (0.0,), EYE, 64, np.random.default_rng(0))
    next(step)
    _, found = windows(H, W, 64, tiles.halo_of(EYE))
    (a, b), (c, d) = found[0].rows, found[0].columns
    changed = index != first
    assert changed[a:b, c:d].any()
    changed[a:b, c:d] = False
    assert not changed.any()


def test_the_palette_is_refitted_as_the_whole_would_be(start):
    target, colors, first = start
    index = swept(start, 1000, passes=1)
    grid = polish.grid_of(target.shape, EYE)
    free = np.ones(len(colors), np.float32)
    problem = QUADRATIC(target, jnp.moveaxis(colors[first], -1, 0), EYE, grid)
    phases = grid.split(jnp.asarray(index)[None])[:, :, 0]
    whole = REFIT(phases, colors, jnp.asarray(free), problem, EYE, grid, 3)
    tiled = tiles.refit(index, first, target, colors, free, EYE, 64, 3)
    np.testing.assert_allclose(tiled, whole, atol=2e-4)
    assert np.abs(np.asarray(whole - colors)).max() > 0.005


def test_a_pinned_entry_is_not_refitted(start):
    target, colors, first = start
    free = np.array([0, 1, 1, 1, 1, 1], np.float32)
    found = tiles.refit(first, first, target, colors, free, EYE, 64, 2)
    np.testing.assert_array_equal(found[0], colors[0])


def test_a_large_picture_is_polished_in_tiles_and_ends_as_well():
    pixels = photo()
    target = jnp.asarray(color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(pixels, -1, 0))))
    errors, shares = [], []
    for tile in (64, 1000):
        pipeline = Palette(colors=6, dither=Polish(sweeps=6, eye=EYE, tile=tile)).build(pixels, target)
        results = list(pipeline.harden(target, (EYE,), key=jax.random.key(0)))
        shares.append([share for share, _ in results])
        artifact = results[-1][1]
        linear = color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(artifact.decode(), -1, 0)))
        grid = polish.grid_of(target.shape, EYE)
        problem = QUADRATIC(target, jnp.asarray(linear), EYE, grid)
        index = jnp.asarray(artifact.indices.astype(np.int32))
        colors = jnp.asarray(color.linear_from_srgb8(artifact.palette))
        errors.append(float(LOSS(grid.split(index[None])[:, :, 0], colors, problem, EYE, grid)))
    assert errors[0] < 1.1 * errors[1]
    for found in shares:
        assert found == sorted(found)
        assert found[-1] == pytest.approx(1.0)


def test_tiles_are_not_too_small():
    with pytest.raises(ValueError, match="tiles of 10 pixels, expected at least 64"):
        Polish(tile=10)
