"""Error diffusion, Riemersma's curve and ordered mixtures on a fixed palette, in linear light.

Oracles: 4x4 pixels by hand; a slow diffusion in plain Python with the kernels as published and a search through all
colours; SciPy's search; means of flat fields.
"""

import typing

import numpy as np
import pytest
import scipy.spatial

from diffquant.color import linear_from_srgb8, oklab_from_linear
from diffquant.export.classical import Mask
from diffquant.export.diffusion import KERNELS, diffuse
from diffquant.export.matching import REACH, SETTLED, matcher_of
from diffquant.export.names import Kernel
from diffquant.export.ordered import bayer_mask, dither_ordered, mask_of
from diffquant.export.riemersma import hilbert_order, riemersma

BLACK_AND_WHITE = np.array([[0.0] * 3, [1.0] * 3])
CUBE = np.array([[n >> 2 & 1, n >> 1 & 1, n & 1] for n in range(8)], np.float64)
WHOLE = [kernel for kernel in typing.get_args(Kernel) if kernel != "atkinson"]  # those that pass on all of the error
# Weights of (rows down, columns on), as published.
PUBLISHED = {
    "floyd-steinberg": {(0, 1): 7 / 16, (1, -1): 3 / 16, (1, 0): 5 / 16, (1, 1): 1 / 16},
    "sierra-2-4a": {(0, 1): 1 / 2, (1, -1): 1 / 4, (1, 0): 1 / 4},
    "heckbert": {(0, 1): 3 / 8, (1, 0): 3 / 8, (1, 1): 1 / 4},
    "atkinson": dict.fromkeys([(0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0)], 1 / 8),
    "burkes": {
        **{(0, 1): 1 / 4, (0, 2): 1 / 8},
        **{(1, -2): 1 / 16, (1, -1): 1 / 8, (1, 0): 1 / 4, (1, 1): 1 / 8, (1, 2): 1 / 16},
    },
    "sierra-2": {
        **{(0, 1): 4 / 16, (0, 2): 3 / 16},
        **{(1, -2): 1 / 16, (1, -1): 2 / 16, (1, 0): 3 / 16, (1, 1): 2 / 16, (1, 2): 1 / 16},
    },
    "sierra-3": {
        **{(0, 1): 5 / 32, (0, 2): 3 / 32},
        **{(1, -2): 2 / 32, (1, -1): 4 / 32, (1, 0): 5 / 32, (1, 1): 4 / 32, (1, 2): 2 / 32},
        **{(2, -1): 2 / 32, (2, 0): 3 / 32, (2, 1): 2 / 32},
    },
}


def methods():
    """Every dither as a function of picture, palette and strength."""

    def diffusion(kernel, serpentine):
        return lambda light, palette, strength=1.0: diffuse(
            light, palette, kernel=kernel, serpentine=serpentine, strength=strength
        )

    def ordered(mask):
        return lambda light, palette, strength=1.0: dither_ordered(light, palette, mask_of(mask), strength=strength)

    rows = [(f"{kernel} {way}", diffusion(kernel, way)) for kernel in typing.get_args(Kernel) for way in (False, True)]
    rows += [(mask, ordered(mask)) for mask in typing.get_args(Mask)]
    rows += [("riemersma", lambda light, palette, strength=1.0: riemersma(light, palette, strength=strength))]
    return [pytest.param(method, id=name) for name, method in rows]


every_method = pytest.mark.parametrize("method", methods())


def flat(level, h=64, w=96):
    return np.broadcast_to(np.asarray(level, np.float32), (h, w, 3))


def colors(seed, *shape):
    return linear_from_srgb8(np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8))


def nearest(light, palette):
    """Of each colour, by trying all entries in OkLab."""
    points, entries = (oklab_from_linear(c.reshape(-1, 3).T.astype(np.float64)).T for c in (light, palette))
    distances = scipy.spatial.distance.cdist(points, entries, "sqeuclidean")
    return distances.argmin(axis=1).reshape(light.shape[:-1])


def settle(color, owed, palette):
    """The entry for a colour to which something is owed, and the error that it leaves.

    No longer than `REACH` times the mean distance to its three nearest. Rather than a longer one that of the entry
    nearest in linear light, if it is at most `SETTLED` of its own limit.
    """
    distances = np.sort(np.linalg.norm(palette[:, None] - palette, axis=2), axis=1)
    limits = REACH * distances[:, 1:4].mean(axis=1)  # all are different; the first is the entry itself
    value = color + owed
    entry, lengths = int(nearest(np.clip(value, 0, 1), palette)), np.linalg.norm(value - palette, axis=1)
    if lengths[entry] <= limits[entry]:
        return entry, value - palette[entry]
    other = lengths.argmin()
    if owed.any() and lengths[other] <= SETTLED * limits[other]:
        return other, value - palette[other]
    return entry, (value - palette[entry]) * limits[entry] / lengths[entry]


def slow_diffusion(light, palette, kernel, serpentine, strength):
    h, w, _ = light.shape
    owed = np.zeros(light.shape)
    indices = np.zeros((h, w), int)
    for y in range(h):
        way = -1 if serpentine and y % 2 else 1
        for x in range(w)[::way]:
            indices[y, x], error = settle(light[y, x].astype(np.float64), owed[y, x], palette)
            for (down, on), weight in PUBLISHED[kernel].items():
                if y + down < h and 0 <= x + way * on < w:
                    owed[y + down, x + way * on] += strength * weight * error
    return indices


def test_floyd_steinberg_of_4x4_pixels_is_as_by_hand():
    # All pixels are 64/256; OkLab's middle between black and white is L = 1/2, in light 32/256. In these units
    # row 0: 64 is white, error -192; 64 - 84 = -20 black; 64 - 8.75 = 55.25 white, -200.75; 64 - 87.8 = -23.8 black;
    # row 1: 64 - 60 - 3.75 = 0.25 black; 64 + 0.1 - 12 - 6.25 - 37.6 = 8.2 black;
    # 64 + 3.6 - 1.25 - 62.75 - 4.5 = -0.9 black; 64 - 0.4 - 12.5 - 7.4 = 43.6 white, -212.4;
    # row 2: 64 + 0.1 + 1.5 = 65.6 white, -190.4; 64 - 83.3 + 0.02 + 2.6 - 0.2 = -16.9 black;
    # 64 - 7.4 + 0.5 - 0.3 - 39.8 = 17.0 black; 64 + 7.5 - 0.05 - 66.4 = 5.0 black;
    # row 3: 64 - 59.5 - 3.2 = 1.3 black; 64 + 0.6 - 11.9 - 5.3 + 3.2 = 50.6 white, -205.4;
    # 64 - 89.9 - 1.1 + 5.3 + 0.9 = -20.6 black; 64 - 9 + 1.1 + 1.6 = 57.6 white.
    expected = [[1, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(diffuse(flat(0.25, 4, 4), BLACK_AND_WHITE, serpentine=False), expected)


def test_a_mixture_of_4x4_pixels_is_as_by_hand():
    # 1/2 is white and owes -1/2, then 0 is black and owes nothing, and so on: of eight parts four are white.
    # 3/4, 1/2 and 1/4 are white, 0 is black: of eight parts six, wherever one begins.
    ranks = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
    np.testing.assert_allclose(bayer_mask(4), (ranks + 0.5) / 16)
    np.testing.assert_array_equal(dither_ordered(flat(0.5, 4, 4), BLACK_AND_WHITE, bayer_mask(4)), ranks >= 8)
    np.testing.assert_array_equal(dither_ordered(flat(0.75, 4, 4), BLACK_AND_WHITE, bayer_mask(4)), ranks >= 4)


def test_riemersma_of_4x4_pixels_is_as_by_hand():
    # With a memory of one pixel 1/4 is white and owes -3/4; then -1/2, -1/4 and 0 are black: each fourth on the curve.
    curve = np.array([[0, 1, 14, 15], [3, 2, 13, 12], [4, 7, 8, 11], [5, 6, 9, 10]])
    order = hilbert_order(4, 4)
    visited = np.zeros((4, 4), int)
    visited[tuple(order.T)] = np.arange(16)
    assert any((visited == curve).all() for curve in (curve, curve.T))
    np.testing.assert_array_equal(riemersma(flat(0.25, 4, 4), BLACK_AND_WHITE, memory=1), visited % 4 == 0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 5), (8, 24), (16, 8), (13, 30)])
def test_the_curve_visits_every_pixel_once(shape):
    order = hilbert_order(*shape)
    np.testing.assert_array_equal(np.unique(order @ [shape[1], 1]), np.arange(shape[0] * shape[1]))
    assert order.min() == 0
    steps = np.abs(np.diff(order, axis=0)).sum(axis=1)
    if min(shape) & (min(shape) - 1) == 0:  # squares of a power of two: nothing is left out
        assert (steps == 1).all()


def test_the_kernels_are_those_that_configs_can_name():
    assert set(KERNELS) == set(typing.get_args(Kernel)) == set(PUBLISHED)


@pytest.mark.parametrize("kernel", PUBLISHED)
@pytest.mark.parametrize(("serpentine", "strength"), [(False, 1.0), (True, 1.0), (True, 0.7)])
def test_diffusion_agrees_with_a_slow_one(kernel, serpentine, strength):
    light, palette = colors(1, 9, 14), colors(2, 6).astype(np.float64)
    expected = slow_diffusion(light, palette, kernel, serpentine, strength)
    found = diffuse(light, palette, kernel=kernel, serpentine=serpentine, strength=strength)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("k", [1, 2, 17, 256])
def test_the_search_is_exact(k):
    rng = np.random.default_rng(k)
    corners = CUBE[rng.integers(0, 8, (40, 9))]
    edges = np.where(rng.random((40, 9, 3)) < 0.5, corners, rng.random((40, 9, 3)))  # the gamut's surface
    light = np.concatenate([corners, edges, rng.random((40, 9, 3)) ** 3, colors(k, 40, 9)]).astype(np.float32)
    palette = colors(k + 1, k)
    points, entries = (oklab_from_linear(c.reshape(-1, 3).T.astype(np.float64)).T for c in (light, palette))
    least, _ = scipy.spatial.cKDTree(entries).query(points)
    found = diffuse(light, palette, strength=0.0)
    np.testing.assert_allclose(np.linalg.norm(points - entries[found.ravel()], axis=1), least, atol=1e-12)


@every_method
def test_without_strength_every_pixel_takes_its_nearest_colour(method):
    light, palette = colors(3, 9, 14), colors(4, 20)
    np.testing.assert_array_equal(method(light, palette, strength=0.0), nearest(light, palette))


@every_method
def test_a_picture_of_palette_colours_stays_as_it_is(method):
    palette = np.unique(colors(5, 12), axis=0)
    indices = np.random.default_rng(6).integers(0, len(palette), (9, 14))
    np.testing.assert_array_equal(method(palette[indices], palette), indices)


@every_method
@pytest.mark.parametrize("shape", [(1, 1), (1, 11), (11, 1), (2, 3), (5, 3)])
def test_any_size_will_do_and_the_result_is_always_the_same(method, shape):
    light, palette = colors(7, *shape), colors(8, 4)
    before = light.copy()
    found = method(light, palette)
    assert found.dtype == np.uint8
    assert found.shape == shape
    assert found.max() < 4
    np.testing.assert_array_equal(method(light, palette), found)
    np.testing.assert_array_equal(light, before)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("kernel", WHOLE)
def test_diffusion_keeps_the_mean_light_of_greys(kernel, level):
    pattern = diffuse(flat(level), BLACK_AND_WHITE, kernel=kernel)
    assert pattern.mean() == pytest.approx(level, abs=0.02)  # what leaves at the borders: error x perimeter / area


@pytest.mark.parametrize("kernel", WHOLE)
@pytest.mark.parametrize("serpentine", [False, True])
def test_diffusion_keeps_the_mean_light_of_mixed_colours(kernel, serpentine):
    # The first is among those that choices in OkLab alone would miss by 0.4.
    for level in ([0.28, 0.03, 0.21], *np.random.default_rng(9).uniform(0.1, 0.9, (3, 3))):
        mean = CUBE[diffuse(flat(level), CUBE, kernel=kernel, serpentine=serpentine)].mean(axis=(0, 1))
        np.testing.assert_allclose(mean, level, atol=0.035)


def test_riemersma_keeps_the_mean_light():
    for level in np.random.default_rng(10).uniform(0.05, 0.95, (6, 3)):
        mean = CUBE[riemersma(flat(level), CUBE)].mean(axis=(0, 1))
        np.testing.assert_allclose(mean, level, atol=0.002)  # only what the last pixels owe is lost


@pytest.mark.parametrize("mask", ["bayer-8", "blue-noise"])
def test_mixtures_keep_the_mean_light_nearly(mask):
    for level in np.random.default_rng(11).uniform(0.1, 0.9, (6, 3)):
        mean = CUBE[dither_ordered(flat(level, 64, 128), CUBE, mask_of(mask))].mean(axis=(0, 1))
        np.testing.assert_allclose(mean, level, atol=0.06)
    greys = np.linspace(0, 1, 5)[:, None].repeat(3, axis=1)
    for level in (0.1, 0.3, 0.6, 0.85):
        mean = greys[dither_ordered(flat(level, 64, 128), greys, mask_of(mask)), 0].mean()
        assert mean == pytest.approx(level, abs=0.02)


def test_atkinson_passes_on_three_quarters_so_shadows_and_highlights_are_lost():
    # A grey g that is always black owes at most g + 3/4 of what was owed, 4 g in the end: black up to 1/8, so below
    # g = 1/32. Always white it owes 4 (g - 1) at worst, and the value is g + 3 (g - 1): above 1/8 from g = 25/32 on.
    assert KERNELS["atkinson"][0] * 3 == 4 * sum(map(sum, KERNELS["atkinson"][1]))
    assert diffuse(flat(0.03), BLACK_AND_WHITE, kernel="atkinson").max() == 0
    assert diffuse(flat(0.79), BLACK_AND_WHITE, kernel="atkinson").min() == 1
    middle = diffuse(flat(0.3), BLACK_AND_WHITE, kernel="atkinson").mean()
    assert 0.3 < middle < 0.5  # most errors are of white, and lost in part


def test_serpentine_mirrors_every_other_row():
    palette = colors(12, 5)
    light = np.concatenate([palette[[[0, 3, 1, 2, 4, 0, 2, 1, 3]]], colors(13, 1, 9)])  # the first row owes nothing
    for kernel in KERNELS:
        forth = diffuse(light[1:, ::-1], palette, kernel=kernel, serpentine=False)
        np.testing.assert_array_equal(diffuse(light, palette, kernel=kernel)[1:], forth[:, ::-1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_colours_out_of_reach_leave_no_streaks(kernel):
    # Pure blue cannot be mixed of greys: whatever it owes, the grey beside must not pay for it.
    greys = np.linspace(0, 1, 9)[:, None].repeat(3, axis=1)
    light = np.full((40, 70, 3), 0.2, np.float32)
    alone = greys[diffuse(light, greys, kernel=kernel), 0]
    light[:, :35] = [0, 0, 1]
    beside = greys[diffuse(light, greys, kernel=kernel), 0]
    np.testing.assert_allclose(beside[:, 41:].mean(axis=1), alone[:, 41:].mean(axis=1), atol=0.06)
    assert beside[:, 41:].mean() == pytest.approx(0.2, abs=0.01)


def test_twins_in_a_palette_limit_nothing():
    palette = np.concatenate([BLACK_AND_WHITE, BLACK_AND_WHITE])
    np.testing.assert_allclose(matcher_of(palette).limits, REACH * np.sqrt(3))
    assert (diffuse(flat(0.3), palette) % 2).mean() == pytest.approx(0.3, abs=0.01)


def test_one_colour_is_enough():
    np.testing.assert_array_equal(diffuse(colors(14, 5, 8), colors(15, 1)), 0)


@pytest.mark.parametrize("k", [0, 257])
def test_impossible_palettes_are_refused(k):
    with pytest.raises(ValueError, match=f"palette: found {k} colours, expected 1 to 256"):
        matcher_of(np.zeros((k, 3)))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="kernel: found 'fan', expected one of floyd-steinberg"):
        diffuse(flat(0.5), BLACK_AND_WHITE, kernel="fan")
    with pytest.raises(ValueError, match="mask: found 'white', expected blue-noise or bayer-8"):
        mask_of("white")
    with pytest.raises(ValueError, match="side: found 6, expected a power of two"):
        mask_of("bayer-6")
