import dataclasses
import functools
import io
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from jpeg_pictures import problem_of
from pictures import planes
from PIL import Image

from diffquant.color import srgb_from_linear
from diffquant.jpeg import tables
from diffquant.jpeg.descent import WINDOW, Descent, price_lists, rounded
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import SUBSAMPLINGS, Geometry
from diffquant.jpeg.judge import natural, zigzag
from diffquant.jpeg.search import Search
from diffquant.losses import ExpectedImageError, Rate
from diffquant.losses.base import Loss

CODES = ExpectedImageError(space="srgb")
SHAPE = 21, 34
KINDS = [*((subsampling, 3) for subsampling in SUBSAMPLINGS), ("420", 1)]
each_kind = pytest.mark.parametrize(("subsampling", "components"), KINDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightedSum(Loss):
    """Linear in sRGB codes: the target holds the weights."""

    def __call__(self, rendered, target):
        return jnp.vdot(target, 255 * srgb_from_linear(rendered.image))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EdgeError(Loss):
    """Not of this package, and not quadratic: differences of neighbours, to the power of 1.5."""

    def __call__(self, rendered, target):
        error = rendered.image - target
        across, down = jnp.diff(error, axis=2), jnp.diff(error, axis=1)
        return jnp.mean((across**2 + 1e-6) ** 0.75) + jnp.mean((down**2 + 1e-6) ** 0.75)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RippledError(Loss):
    """Periodic in each error, every 6 codes: slopes mislead, and curvatures are of both signs."""

    def __call__(self, rendered, target):
        return jnp.mean(1 - jnp.cos(255 * (srgb_from_linear(rendered.image) - srgb_from_linear(target))))


def bits_of(levels):
    return sum(float(one.bits(level).sum()) for one, level in zip(price_lists(levels), levels, strict=True))


def file_of(found, geometry):
    levels = [
        natural(level, shape).astype(np.int16) for level, shape in zip(found.levels, geometry.blocks, strict=True)
    ]
    whole = [natural(step[None], (1, 1))[0, 0].astype(np.uint16) for step in found.steps]
    return JpegImage(tuple(levels), tuple(whole), geometry)


# What levels are worth


def test_rows_of_zigzag_are_blocks_again():
    blocks = np.arange(3 * 5 * 64).reshape(3, 5, 8, 8)
    rows = zigzag(blocks)
    assert rows[:, 0].tolist() == blocks[:, :, 0, 0].ravel().tolist()
    assert rows[1, :6].tolist() == [blocks[0, 1][at] for at in ((0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2))]
    np.testing.assert_array_equal(natural(rows, (3, 5)), blocks)


def basis(geometry, component, block, position):
    """Codes [3 h w] that one coefficient adds, away from the picture's border: SciPy's cosines, JFIF's matrix."""
    coefficients = np.zeros((64,))
    coefficients[np.ravel_multi_index(position, (8, 8))] = 1.0
    rows, columns = geometry.blocks[component]
    plane = np.zeros((8 * rows, 8 * columns))
    top, left = 8 * block[0], 8 * block[1]
    plane[top : top + 8, left : left + 8] = scipy.fft.idctn(coefficients.reshape(8, 8), norm="ortho")
    for axis, factor in enumerate(geometry.factors if component else (1, 1)):
        if factor == 2:  # of each pair the pixels have 3/4 of their own sample and 1/4 of the nearest other
            before, after = np.roll(plane, 1, axis), np.roll(plane, -1, axis)
            pair = np.stack([0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after], axis + 1)
            plane = pair.reshape([size * (2 if a == axis else 1) for a, size in enumerate(plane.shape)])
    jfif = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
    return jfif[:, component, None, None] * plane[: geometry.height, : geometry.width]


@each_kind
def test_slopes_of_a_loss_linear_in_codes_are_its_inner_products_with_cosines(subsampling, components):
    shape = 45, 67
    weights = np.random.default_rng(0).normal(0, 1, (3, *shape)).astype(np.float32)
    problem, levels, steps = problem_of((WeightedSum(),), *shape, subsampling, components, target=jnp.asarray(weights))
    levels = tuple(np.zeros_like(level) for level in levels)  # mid-grey: nothing is clipped
    found, order = problem.at(levels, steps), zigzag(np.arange(64).reshape(1, 1, 8, 8))[0]
    for component, k in itertools.product(range(components), (0, 1, 2, 17, 40)):
        position = np.unravel_index(order[k], (8, 8))
        block = (1, 1)
        added = basis(problem.geometry, component, block, position)
        at = block[0] * problem.geometry.blocks[component][1] + block[1]
        expected = steps[component][k] * np.vdot(weights, added)
        assert found.slopes[component][at, k] == pytest.approx(expected, rel=2e-3, abs=0.05)


@each_kind
def test_slopes_say_what_moves_of_many_levels_bring(subsampling, components):
    """By central differences. Uphill, as samples and codes are rounded, which no slope knows."""
    shape, rng = (45, 67), np.random.default_rng(1)
    weights = jnp.asarray(rng.normal(0, 1, (3, *shape)), jnp.float32)
    problem, levels, steps = problem_of((WeightedSum(),), *shape, subsampling, components, target=weights)
    grey = tuple(np.zeros_like(level) for level in levels)
    slopes = problem.at(grey, steps).slopes
    moves = [np.sign(slope) * (rng.random(slope.shape) < 0.2) * (steps[c] < 40) for c, slope in enumerate(slopes)]
    moves = [move.astype(np.int32) for move in moves]
    up, down = problem.at(moves, steps).loss, problem.at([-move for move in moves], steps).loss
    expected = sum(float(np.vdot(slope, move)) for slope, move in zip(slopes, moves, strict=True))
    assert (up - down) / 2 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("relative", [False, True])
def test_normalized_weights_are_shares_of_what_the_start_costs(relative):
    losses, weights = (CODES, EdgeError()), (3.0, 0.5)
    problem, levels, steps = problem_of(losses, *SHAPE, weights=weights)
    normal = problem.normalized(levels, steps, 1e4, relative=relative)
    parts = [
        dataclasses.replace(normal, losses=(loss,), weights=normal.weights[n : n + 1]) for n, loss in enumerate(losses)
    ]
    found = [part.at(levels, steps).loss for part in parts]
    assert normal.at(levels, steps).loss == pytest.approx(sum(found), rel=1e-5)
    assert normal.price == 0
    if relative:
        np.testing.assert_allclose(found, weights, rtol=1e-5)
    else:
        np.testing.assert_array_equal(normal.weights, problem.weights)


@pytest.mark.parametrize("relative", [False, True])
def test_a_loss_of_the_rate_says_what_a_bit_costs(relative):
    problem, levels, steps = problem_of((CODES, Rate()), *SHAPE, weights=(1.0, 0.4))
    normal = problem.normalized(levels, steps, 9000.0, relative=relative)
    pixels = SHAPE[0] * SHAPE[1]
    assert normal.price == pytest.approx(0.4 / 9000 if relative else 0.4 / pixels, rel=1e-5)
    one = Descent(normal, levels, steps, Search(probes=1), seed=0)
    assert one.price == normal.price


# The descent


@functools.cache
def descended(losses=(CODES,), subsampling="420", components=3, *, rounds=9, seed=0, coarser=1.0, **search):
    """Problem, descent, what was there before it, and everything that it yields."""
    problem, levels, steps = problem_of(losses, *SHAPE, subsampling, components)
    steps = tuple(np.round(coarser * step) for step in steps)
    problem = problem.normalized(levels, steps, bits_of(levels), relative=True)
    descent = Descent(problem, levels, steps, Search(**search), seed=seed)
    before = descent.best
    return problem, descent, before, list(descent.run(rounds))


def ideal_levels(problem, found):
    return [plane / step for plane, step in zip(problem.ideal, found.steps, strict=True)]


def cost(problem, found, price, drift=0.0):
    far = zip(found.levels, ideal_levels(problem, found), strict=True)
    return found.loss + price * bits_of(found.levels) + drift * sum(np.sum(np.abs(a - b) ** 3) for a, b in far)


def changed(a, b):
    return sum(np.count_nonzero(x != y) for x, y in zip(a.levels, b.levels, strict=True))


def test_a_loss_that_bends_up_and_down_is_not_raised_and_bits_are_not_sought():
    problem, descent, before, found = descended((RippledError(),), rounds=41, drift=0.0)
    assert descent.price >= 0
    costs = [cost(problem, best, descent.price) for best in (before, *(best for _, best in found))]
    assert max(np.diff(costs)) <= 1e-6 * costs[0]
    assert costs[-1] < costs[0]


@pytest.mark.parametrize("search", [{"drift": 0.0}, {"refit": False}], ids=str)
@each_kind
def test_the_cost_falls_and_never_rises(subsampling, components, search):
    problem, descent, before, found = descended((CODES,), subsampling, components, **search)
    drift = Search(**search).drift * descent.price / Search().price  # both in units of the same curvature
    assert [done for done, _ in found] == list(range(1, 10))
    costs = [cost(problem, best, descent.price, drift) for best in (before, *(best for _, best in found))]
    assert max(np.diff(costs)) <= 1e-6 * costs[0]
    assert costs[-1] < 0.99 * costs[0]
    assert descent.best is found[-1][1]
    again = problem.at(descent.best.levels, descent.best.steps)  # what it says of itself is true
    assert again.loss == pytest.approx(descent.best.loss, rel=1e-6)


@each_kind
def test_levels_stay_within_their_limits_of_the_ideal(subsampling, components):
    below, zero, dc = Search().limits
    problem, _, before, found = descended((CODES,), subsampling, components, refit=False)
    assert changed(found[-1][1], before) > 20
    for _, best in found:
        assert best.steps is before.steps
        for level, ideal in zip(best.levels, ideal_levels(problem, best), strict=True):
            assert np.abs(level - ideal)[:, 0].max() <= dc
            level, magnitude = level[:, 1:], np.abs(ideal[:, 1:])
            assert (np.sign(level) * np.sign(ideal[:, 1:])).min() >= 0
            assert magnitude[level == 0].max() <= zero
            short = (magnitude - np.abs(level))[level != 0]
            assert short.max() < below
            assert short.min() >= -0.75


def test_the_same_seed_gives_the_same_levels():
    descended.cache_clear()
    first = descended()[1].best
    descended.cache_clear()
    again, other = descended()[1].best, descended(seed=1)[1].best
    for a, b, c in zip(first.levels + first.steps, again.levels + again.steps, other.levels + other.steps, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == c.shape
    assert any((a != b).any() for a, b in zip(first.levels, other.levels, strict=True))


def test_a_loss_of_ones_own_is_lowered():
    loss = EdgeError()
    _, descent, before, _ = descended((loss,), price=0.0, drift=0.0, refit=False)
    assert descent.price == 0
    assert descent.best.loss < 0.97 * before.loss


def test_dearer_bits_are_fewer():
    bits = []
    for price in (0.0, 0.3, 1.5):
        _, descent, _, _ = descended(price=price)
        bits.append(bits_of(descent.best.levels))
    assert bits[0] > 1.02 * bits[1] > 1.02**2 * bits[2]


@pytest.mark.parametrize(
    ("losses", "coarser", "most"),
    [((CODES,), 1.0, 1.0), ((CODES,), 1.2, 0.9), ((EdgeError(),), 1.0, 1.0), ((EdgeError(),), 1.2, 0.99)],
    ids=["quadratic", "quadratic and too coarse", "other", "other and too coarse"],
)
def test_tables_that_move_with_the_levels_raise_no_loss(losses, coarser, most):
    """Until the first look at the losses both descents do the same. Levels were rounded under tables not coarser."""
    _, fixed, before, _ = descended(losses, rounds=WINDOW, coarser=coarser, refit=False)
    _, moved, _, _ = descended(losses, rounds=WINDOW, coarser=coarser)
    assert changed(fixed.best, before) > 0
    assert changed(fixed.best, moved.best) == 0
    assert moved.best.loss <= most * fixed.best.loss
    for step in moved.best.steps:
        np.testing.assert_array_equal(step, np.clip(np.round(step), 1, 255))


def test_a_descent_may_go_on_with_another_price():
    problem, levels, steps = problem_of((CODES,), *SHAPE)
    problem = problem.normalized(levels, steps, bits_of(levels), relative=True)
    descent = Descent(problem, levels, steps, Search(drift=0.0), seed=0)
    list(descent.run(WINDOW))
    cheap = bits_of(descent.best.levels)
    descent.price *= 4
    before = cost(problem, descent.best, descent.price)
    costs = [cost(problem, best, descent.price) for _, best in descent.run(2 * WINDOW)]
    assert max(np.diff([before, *costs])) <= 1e-6 * before
    assert bits_of(descent.best.levels) < 0.98 * cheap


@each_kind
def test_the_file_shows_what_was_judged(subsampling, components):
    problem, descent, _, _ = descended((CODES,), subsampling, components, refit=False)
    image = file_of(descent.best, problem.geometry)
    shown = np.asarray(Image.open(io.BytesIO(image.to_bytes())).convert("RGB"))
    against = dataclasses.replace(problem, target=planes(shown), weights=np.ones(1, np.float32))
    squared = against.at(descent.best.levels, descent.best.steps).loss / 3  # of a channel, of codes over 255
    assert -10 * np.log10(max(squared, 1e-9)) >= 50


def test_a_picture_of_one_colour_stays_as_it_is():
    shape = 13, 30
    problem, levels, steps = problem_of((CODES,), *shape)
    grey = tuple(np.zeros_like(plane) for plane in problem.ideal)
    target = planes(np.full((*shape, 3), 128, np.uint8))
    levels = rounded(grey, steps, 0.62)
    problem = dataclasses.replace(problem, ideal=grey, target=target)
    problem = problem.normalized(levels, steps, 1000.0, relative=True)
    descent = Descent(problem, levels, steps, Search(), seed=0)
    list(descent.run(5))
    assert descent.best.loss == 0
    assert not any(level.any() for level in descent.best.levels)


def test_levels_start_rounded_up_from_the_threshold():
    ideal = np.zeros((1, 64), np.float32)
    ideal[0, :7] = [5.5, 0.6, -0.6, 0.64, -0.64, 1.61, -2.63]
    ideal[0, :7] *= 3
    (found,) = rounded([ideal], (np.full(64, 3, np.float32),), 0.62)
    assert found.dtype == np.int32
    assert found[0, 1:7].tolist() == [0, 0, 1, -1, 1, -3]
    assert found[0, 0] in (5, 6)
    assert not found[0, 7:].any()


def test_both_planes_of_chroma_share_their_prices():
    _, levels, _ = problem_of((CODES,), *SHAPE)
    luma, blue, red = price_lists(levels)
    assert blue is red
    assert luma is not blue
    assert len(price_lists(levels[:1])) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": -1}, "rounds, probes: found -1 and 3"),
        ({"probes": 0}, "rounds, probes: found 12 and 0"),
        ({"share": 0.0}, "share: found 0.0, expected above 0"),
        ({"share": 1.1}, "share: found 1.1, expected above 0, at most 1"),
        ({"price": -0.1}, "price, drift: found -0.1"),
        ({"drift": -1.0}, "price, drift: found 0.3 and -1.0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Search(**settings)


# Tables to start from


def geometry_of(subsampling, components=3):
    return Geometry(*SHAPE, subsampling, components)


@pytest.mark.parametrize("flat", [False, True])
@each_kind
def test_tables_in_a_file_are_whole_numbers_from_1_to_255(subsampling, components, flat):
    for distance in (0.001, 1.0, 25.0, 1e4):
        found = tables.whole(tables.steps(geometry_of(subsampling, components), distance, flat=flat))
        assert len(found) == components
        for table in found:
            assert table.dtype == np.uint16
            assert table.shape == (8, 8)
            assert table.min() >= 1
            assert table.max() <= 255
    assert found[0].max() == 255
    ideal = np.linspace(0.2, 255.4, 64).reshape(8, 8)
    np.testing.assert_array_equal(tables.whole((ideal,))[0], np.maximum(np.round(ideal), 1))


@pytest.mark.parametrize("flat", [False, True])
@each_kind
def test_steps_grow_with_distance_without_a_leap(subsampling, components, flat):
    geometry = geometry_of(subsampling, components)
    distances = np.concatenate([np.geomspace(0.01, 25, 60), tables.BEND + np.array([-1e-4, 0, 1e-4])])
    found = [np.stack(tables.steps(geometry, distance, flat=flat)) for distance in np.sort(distances)]
    assert min((b - a).min() for a, b in itertools.pairwise(found)) > 0
    before, after = (np.stack(tables.steps(geometry, tables.BEND + d, flat=flat)) for d in (0, 1e-4))
    np.testing.assert_allclose(before, after, rtol=1e-3)


@each_kind
def test_both_directions_have_the_same_steps_and_the_mean_the_least(subsampling, components):
    for table in tables.steps(geometry_of(subsampling, components), 1.0):
        np.testing.assert_array_equal(table, table.T)
        assert table[0, 0] == table.min()
    for table in tables.steps(geometry_of(subsampling, components), 1.0, flat=True):
        assert np.ptp(table) == 0


def test_distance_falls_with_quality():
    qualities = np.linspace(1, 100, 397)
    distances = [tables.distance_from_quality(quality) for quality in qualities]
    assert max(np.diff(distances)) < 0
    assert tables.distance_from_quality(90) == pytest.approx(1.0)  # as jpegli has it
    assert tables.distance_from_quality(30) == pytest.approx(tables.distance_from_quality(29.999), rel=1e-3)
    best = tables.whole(tables.steps(geometry_of("444"), tables.distance_from_quality(100)))
    assert max(table.max() for table in best) <= 2
