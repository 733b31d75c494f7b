"""The oracle is a loss that is exactly quadratic: what bends it is known."""

import numpy as np
import pytest
from jpeg_pictures import problem_of

from diffquant.jpeg.curvature import MOVED, Curvature, plausible
from diffquant.losses import ExpectedImageError

BLOCKS = (17, 23), (9, 12)
FALLING = 1 / (1 + np.arange(64) / 8)  # of zigzag positions


def some_levels(seed=0):
    """Ideals and levels [n 64] of each component, those of high frequencies mostly 0."""
    rng = np.random.default_rng(seed)
    sizes = [(rows * columns, 64) for rows, columns in BLOCKS]
    ideal = [(rng.laplace(0, 6, size) / (1 + np.arange(64) / 3)).astype(np.float32) for size in sizes]
    return ideal, [np.round(plane).astype(np.int32) for plane in ideal]


def probe(curvature, bends, times, *, seed=1):
    """So many probes of a sum of bends times squared changes."""
    rng, (ideal, levels) = np.random.default_rng(seed), some_levels()
    for _ in range(times):
        moves = [plausible(level, u, rng) for level, u in zip(levels, ideal, strict=True)]
        curvature.add(levels, moves, [2 * bend * move for bend, move in zip(bends, moves, strict=True)])
    return curvature.of(levels)


def probed(bends, times):
    return probe(Curvature(BLOCKS), bends, times)


def everywhere(*of_components):
    """Planes [n 64] of each component's own row or number."""
    sizes = [(rows * columns, 64) for rows, columns in BLOCKS]
    return [np.broadcast_to(bend, size) for bend, size in zip(of_components, sizes, strict=True)]


def ratio(found, bends, component):
    """Geometric mean over blocks, for each frequency."""
    return np.exp(np.mean(np.log(found[component] / bends[component]), axis=0))


def test_one_curvature_for_all_of_a_component_is_found_by_one_probe():
    curvature = Curvature(BLOCKS)
    for found, bend in zip(probe(curvature, everywhere(3.0, 0.2), 1), (3.0, 0.2), strict=True):
        np.testing.assert_allclose(found, bend, rtol=1e-5)
        assert found.dtype == np.float32
    assert curvature.mean() == pytest.approx(3.0)
    assert curvature.mean(1) == pytest.approx(0.2)


def test_a_curvature_of_each_frequency_is_found_better_with_each_probe():
    bends = everywhere(3 * FALLING, 0.2 * FALLING)
    errors = []
    for times in (1, 3, 12):
        found = probed(bends, times)
        errors.append([np.abs(np.log(found[c] / bends[c])).mean() for c in (0, 1)])
    assert np.max(np.diff(errors, axis=0)) < 0
    assert errors[-1][0] < 0.1  # of 391 blocks
    assert errors[-1][1] < 0.2  # of 108 blocks: the component's mean still weighs
    np.testing.assert_allclose(ratio(found, bends, 0)[:20], 1, rtol=0.15)


def test_zeros_may_bend_otherwise():
    bends = [np.where(level != 0, 2.0, 0.5) for level in some_levels()[1]]
    for bend in bends:
        bend[:, 0] = 2.0
    for found, bend, most in zip(probed(bends, 12), bends, (1.25, 1.5), strict=True):  # fewer blocks lean on the mean
        assert 2 / most < np.median(found[bend == 2.0]) < 2 * most
        assert 0.5 / most < np.median(found[bend == 0.5]) < 0.5 * most


def test_parts_of_a_picture_may_bend_otherwise():
    halves = [np.where(np.arange(columns) < columns // 2, 1.0, 4.0) * np.ones((rows, 1)) for rows, columns in BLOCKS]
    bends = [half.reshape(-1, 1) * FALLING for half in halves]
    found = probed(bends, 6)
    for c, (rows, columns) in enumerate(BLOCKS):
        of_columns = np.log(found[c] / bends[c]).mean(axis=1).reshape(rows, columns).mean(axis=0)
        away = np.abs(np.arange(columns) + 0.5 - columns // 2) > 2
        np.testing.assert_allclose(np.exp(of_columns)[away], 1, rtol=0.2)


def test_what_was_measured_long_ago_is_forgotten():
    curvature = Curvature(BLOCKS)
    probe(curvature, everywhere(3.0, 0.2), 8)
    before, *_ = probe(curvature, everywhere(12.0, 0.2), 1, seed=2)
    after, *_ = probe(curvature, everywhere(12.0, 0.2), 20, seed=3)
    assert 3 < np.median(before) < 8
    assert np.median(after) == pytest.approx(12, rel=0.1)


@pytest.mark.parametrize("change", ["none", "random", "down"])
def test_curvature_is_always_positive(change):
    rng, (ideal, levels) = np.random.default_rng(4), some_levels()
    curvature = Curvature(BLOCKS)
    for _ in range(3):
        moves = [plausible(level, u, rng) for level, u in zip(levels, ideal, strict=True)]
        answers = {
            "none": [np.zeros(move.shape) for move in moves],
            "random": [rng.normal(0, 1, move.shape) for move in moves],
            "down": [-1.0 * move for move in moves],
        }
        curvature.add(levels, moves, answers[change])
    for found in curvature.of(levels):
        assert np.isfinite(found).all()
        assert found.min() > 0


def test_squared_errors_of_a_grey_picture_bend_as_parseval_says():
    h, w = 125, 203
    problem, levels, steps = problem_of([ExpectedImageError(space="srgb")], h, w, components=1, distance=2.0)
    (blocks,), rng, now = problem.geometry.blocks, np.random.default_rng(5), problem.at(levels, steps)
    curvature = Curvature([blocks])
    for _ in range(6):
        moves = [plausible(levels[0], problem.ideal[0] / steps[0], rng)]
        there = problem.at([levels[0] + moves[0]], steps)
        curvature.add(levels, moves, [there.slopes[0] - now.slopes[0]])
    expected = 3 * (steps[0] / 255) ** 2 / (h * w)  # three equal channels, mean over pixels
    inside = np.zeros(blocks, bool)
    inside[:-1, :-1] = True  # not those that reach over the border
    found = curvature.of(levels)[0][inside.ravel()]
    np.testing.assert_allclose(np.median(found, axis=0)[:15], expected[:15], rtol=0.25)
    assert np.median(found / expected) == pytest.approx(1, rel=0.15)


def test_plausible_changes_are_by_one_and_to_where_levels_may_go():
    rng = np.random.default_rng(6)
    ideal = rng.normal(0, 1.5, (4000, 64)).astype(np.float32)
    levels = (np.sign(ideal) * np.floor(np.abs(ideal) + rng.uniform(0.3, 0.7, ideal.shape))).astype(np.int32)
    moves = plausible(levels, ideal, rng)
    assert moves.dtype == np.int32
    assert set(np.unique(moves)) == {-1, 0, 1}
    assert set(np.unique(moves[:, 0])) == {-1, 0, 1}
    level, u, move = levels[:, 1:], ideal[:, 1:], moves[:, 1:]
    grows = np.abs(level + move) > np.abs(level)
    assert (move == np.sign(u))[grows].all()  # away from 0 only to the ideal's side,
    assert np.min((np.abs(u) - np.abs(level))[grows]) >= 0.25  # and where it is nearer than rounding up from 1/4
    assert grows[level == 0].any()
    shrinks = (level != 0) & (move != 0) & ~grows
    np.testing.assert_array_equal(move[shrinks], -np.sign(level[shrinks]))
    assert 0.2 < np.mean(grows[(level != 0) & (move != 0) & (np.abs(u) - np.abs(level) > 0.25)]) < 0.4


def test_the_share_of_plausible_changes_is_kept():
    rng = np.random.default_rng(7)
    levels = np.full((4000, 64), 2, np.int32)
    moves = plausible(levels, levels.astype(np.float32), rng)
    assert np.mean(moves != 0) == pytest.approx(MOVED, rel=0.02)
    assert moves[:, 1:].max() == 0  # all shrink
    assert np.mean(moves[:, 0]) == pytest.approx(0, abs=0.02)  # DC goes both ways
    nothing = plausible(np.zeros((500, 64), np.int32), np.full((500, 64), 0.2, np.float32), rng)
    assert not nothing[:, 1:].any()
