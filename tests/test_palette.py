import hypothesis
import numpy as np
import pytest
import scipy.cluster.vq
import scipy.spatial.distance
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.palette.histogram import collapse, histogram, oklab_from_colors
from diffquant.palette.initial import initial_palette
from diffquant.palette.kmeans import kmeans, relocate
from diffquant.palette.median_cut import median_cut

quick = hypothesis.settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def cloud(seed, n=60):
    """Distinct points on a grid as coarse as 8-bit colours, in three clumps, with uneven weights."""
    rng = np.random.default_rng(seed)
    points = np.unique(rng.integers(0, 3, (n, 1)) * 80 + rng.integers(0, 60, (n, 3)), axis=0) / 256
    return points, rng.integers(1, 9, len(points)).astype(float)


def photo(seed=0, h=24, w=37):
    """Smooth colours with a little noise: a few hundred unique ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / 40
    waves = np.stack([np.sin(3 * x + y), np.cos(4 * y), np.sin(2 * x - 3 * y)], axis=-1)
    return np.clip(128 + 80 * waves + rng.normal(0, 6, (h, w, 3)), 0, 255).astype(np.uint8)


def distances(points, centers):
    return scipy.spatial.distance.cdist(points, centers, "sqeuclidean")


def weighted_error(points, weights, centers):
    return weights @ distances(points, centers).min(axis=1)


def lloyd(points, weights, centers, iterations):
    """The textbook, one centre at a time."""
    centers = centers.copy()
    for _ in range(iterations):
        labels = distances(points, centers).argmin(axis=1)
        for j in range(len(centers)):
            if (labels == j).any():
                centers[j] = np.average(points[labels == j], axis=0, weights=weights[labels == j])
    return centers


def ordered(rows):
    """Sorted by the last column, then the one before, and so on."""
    return rows[np.lexsort(rows.T)]


def colors_of(oklab):
    return srgb8_from_linear(linear_from_oklab(oklab.T)).T


pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 12), st.just(3)))


@quick
@hypothesis.given(pictures)
def test_histogram_holds_every_colour_once_with_its_share(pixels):
    colors, weights = histogram(pixels)
    expected, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    np.testing.assert_array_equal(colors, expected)
    np.testing.assert_allclose(weights, counts / counts.sum())
    assert weights.sum() == pytest.approx(1, abs=1e-12)


@quick
@hypothesis.given(seeds, st.integers(1, 20))
def test_collapsing_keeps_mass_and_mean(seed, bins):
    points, weights = cloud(seed)
    coarse, mass = collapse(points, weights, bins)
    assert min(bins, len(points)) <= len(coarse) <= len(points)
    assert mass.sum() == weights.sum()
    np.testing.assert_allclose(mass @ coarse, weights @ points)


def test_collapsing_returns_few_points_as_they_are():
    points, weights = cloud(0)
    assert collapse(points, weights, len(points))[0] is points


def test_median_cut_splits_four_points_as_by_hand():
    # Along x: weights 1, 1, 4, 4 at 0, 1, 10, 12. The cumulated weight reaches half (5) at x = 10, which goes left:
    # {0, 1, 10} and {12}. The left box alone has an error, and its median is again 10, its maximum, which goes right.
    points = np.array([[10.0, 0, 0], [0, 0, 0], [12, 0, 0], [1, 0, 0]])
    weights = np.array([4.0, 1, 4, 1])
    np.testing.assert_allclose(median_cut(points, weights, 1), [[8.9, 0, 0]])
    np.testing.assert_allclose(ordered(median_cut(points, weights, 2))[:, 0], [41 / 6, 12])
    np.testing.assert_allclose(ordered(median_cut(points, weights, 3))[:, 0], [0.5, 10, 12])


def test_median_cut_takes_the_axis_of_largest_weighted_error():
    points = np.array([[0.0, 0, 0], [4, 0, 0], [2, 5, 0]])  # y spans more than x, but only for a light point
    centers = median_cut(points, np.array([10.0, 10, 1]), 2)
    np.testing.assert_allclose(ordered(centers), [[4, 0, 0], [2 / 11, 5 / 11, 0]])


@pytest.mark.parametrize(("weights", "expected"), [([1, 1, 1, 1], [0.5, 10, 13]), ([10, 10, 1, 1], [0, 1, 11.5])])
def test_median_cut_takes_the_box_of_largest_weighted_error(weights, expected):
    points = np.zeros((4, 3))
    points[:, 2] = [0, 1, 10, 13]
    np.testing.assert_allclose(ordered(median_cut(points, np.array(weights, float), 3))[:, 2], expected)


@quick
@hypothesis.given(seeds, st.integers(1, 12))
def test_median_cut_stays_in_the_range_of_the_points(seed, k):
    points, weights = cloud(seed)
    centers = median_cut(points, weights, k)
    assert len(centers) == min(k, len(points))
    assert (centers >= points.min(axis=0)).all()
    assert (centers <= points.max(axis=0)).all()


@quick
@hypothesis.given(seeds, st.integers(1, 12))
def test_the_order_of_the_points_does_not_matter(seed, k):
    points, weights = cloud(seed)
    shuffled = np.random.default_rng(seed + 1).permutation(len(points))
    centers = median_cut(points, weights, k)
    np.testing.assert_allclose(median_cut(points[shuffled], weights[shuffled], k), centers, atol=1e-12)
    moved = kmeans(points, weights, centers, iterations=1)
    np.testing.assert_allclose(kmeans(points[shuffled], weights[shuffled], centers, iterations=1), moved, atol=1e-12)


@quick
@hypothesis.given(seeds)
def test_median_cut_with_enough_boxes_returns_the_points(seed):
    points, weights = cloud(seed, n=20)
    np.testing.assert_array_equal(ordered(median_cut(points, weights, 50)), ordered(points))


@pytest.mark.parametrize("seed", range(8))
def test_kmeans_agrees_with_a_textbook_lloyd(seed):
    rng = np.random.default_rng(seed)
    points, weights = rng.random((90, 3)), rng.random(90) + 0.1
    centers = points[: seed + 1]
    expected = lloyd(points, weights, centers, 6)
    found = kmeans(points, weights, centers, iterations=6, tolerance=-1.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_kmeans_agrees_with_scipy_on_separate_clumps():
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.normal(middle, 0.02, (40, 3)) for middle in ([0, 0, 0], [1, 0, 0.5], [0.3, 1, 0])])
    start = points[[0, 40, 80]]
    expected, _ = scipy.cluster.vq.kmeans2(points, start, iter=10, minit="matrix")
    np.testing.assert_allclose(kmeans(points, np.ones(120), start, iterations=10), expected, atol=1e-12)


@quick
@hypothesis.given(seeds, st.integers(1, 15), st.booleans())
def test_the_error_never_increases(seed, k, clumsy):
    points, weights = cloud(seed)
    rng = np.random.default_rng(seed)
    # All centres in one place: most serve nothing at first, and have to be fed.
    centers = np.tile(points[:1], (k, 1)) if clumsy else points[rng.integers(0, len(points), k)]
    fixed = rng.random(k) < 0.3
    errors = [weighted_error(points, weights, centers)]
    for _ in range(6):
        moved = kmeans(points, weights, centers, iterations=1, fixed=fixed)
        np.testing.assert_array_equal(moved[fixed], centers[fixed])
        centers = moved
        errors.append(weighted_error(points, weights, centers))
    assert (np.diff(errors) <= 1e-7 * weights.sum()).all()  # squared distances are good to 1e-7 in this range


def test_empty_centers_take_the_worst_points():
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [1, 0, 0], [0, 3, 0]])
    centers = np.zeros((3, 3))
    moved = kmeans(points, np.array([5.0, 1, 2, 1]), centers, iterations=1)
    np.testing.assert_allclose(moved, [[0.1 / 6, 0, 0], [0, 3, 0], [1, 0, 0]], atol=1e-12)


def test_fixed_centers_serve_points_and_stay():
    points = np.array([[0.0, 0, 0], [0.2, 0, 0], [1, 0, 0], [1.2, 0, 0]])
    centers = np.array([[0.3, 0, 0], [0.9, 0, 0]])
    moved = kmeans(points, np.ones(4), centers, fixed=np.array([True, False]))
    np.testing.assert_allclose(moved, [[0.3, 0, 0], [1.1, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(kmeans(points, np.ones(4), centers, fixed=np.ones(2, bool)), centers)


@quick
@hypothesis.given(seeds, st.integers(1, 15))
def test_relocation_never_loses_to_the_kmeans_that_it_starts_with(seed, k):
    points, weights = cloud(seed)
    centers = median_cut(points, weights, k)
    fixed = np.arange(len(centers)) % 3 == 1
    plain = kmeans(points, weights, centers, iterations=20, fixed=fixed)
    found = relocate(points, weights, centers, trials=8, fixed=fixed)
    np.testing.assert_array_equal(found[fixed], centers[fixed])
    assert weighted_error(points, weights, found) <= weighted_error(points, weights, plain) + 1e-7 * weights.sum()


def test_relocation_leaves_a_local_optimum():
    # Two clumps far apart share one centre while one clump holds two: Lloyd is stuck, and one move frees it.
    middles = np.array([[0.0, 0, 0], [0, 0.3, 0], [1, 0, 0]])
    points = np.concatenate([middle + 0.01 * np.random.default_rng(5).normal(size=(30, 3)) for middle in middles])
    start = np.array([[0, 0.15, 0], [0.99, 0, 0], [1.01, 0, 0]])
    assert weighted_error(points, np.ones(90), kmeans(points, np.ones(90), start)) > 1
    assert weighted_error(points, np.ones(90), relocate(points, np.ones(90), start, trials=4)) < 0.04


@quick
@hypothesis.given(pictures, st.integers(1, 120), hnp.arrays(np.uint8, st.tuples(st.integers(0, 5), st.just(3))))
def test_few_colours_are_returned_exactly_and_pinned_ones_come_first(pixels, k, pinned):
    pinned = np.unique(pinned, axis=0)[::-1]
    hypothesis.assume(len(pinned) <= k)
    palette = initial_palette(pixels, k, pinned=pinned)
    needed = np.unique(np.concatenate([pinned, pixels.reshape(-1, 3)]), axis=0)
    assert len(palette) == min(k, len(needed))
    np.testing.assert_array_equal(palette[: len(pinned)], oklab_from_colors(pinned))
    if len(needed) <= k:
        np.testing.assert_array_equal(np.unique(colors_of(palette), axis=0), needed)


@pytest.mark.parametrize("shape", [(1, 1), (5, 8)])
def test_a_picture_of_one_colour_has_a_palette_of_one(shape):
    pixels = np.full((*shape, 3), (7, 200, 31), np.uint8)
    np.testing.assert_array_equal(colors_of(initial_palette(pixels, 16)), [[7, 200, 31]])
    assert len(initial_palette(pixels, 1)) == 1


@pytest.mark.parametrize("k", [1, 2, 7, 32])
def test_the_initial_palette_ignores_where_pixels_are(k):
    pixels = photo()
    palette = initial_palette(pixels, k)
    assert palette.shape == (k, 3)
    turned = np.random.default_rng(1).permutation(pixels.reshape(-1, 3)).reshape(37, 24, 3)
    np.testing.assert_array_equal(initial_palette(turned, k), palette)


@pytest.mark.parametrize("k", [4, 16])
def test_the_initial_palette_is_near_the_best_of_many_random_starts(k):
    colors, weights = histogram(photo())
    points = oklab_from_colors(colors)
    rng = np.random.default_rng(0)
    starts = [points[rng.choice(len(points), k, p=weights)] for _ in range(20)]
    best = min(weighted_error(points, weights, lloyd(points, weights, start, 15)) for start in starts)
    assert weighted_error(points, weights, initial_palette(photo(), k)) < 1.03 * best


def test_pinned_colours_that_serve_relieve_the_others():
    pixels = photo()
    pinned = colors_of(initial_palette(pixels, 8))[:3]
    palette = initial_palette(pixels, 8, pinned=pinned)
    colors, weights = histogram(pixels)
    free = weighted_error(oklab_from_colors(colors), weights, initial_palette(pixels, 8))
    assert weighted_error(oklab_from_colors(colors), weights, palette) < 1.1 * free


@pytest.mark.parametrize(
    ("k", "pinned", "message"),
    [(0, None, "k is 0"), (1, [[0, 0, 0], [1, 1, 1]], "2 colours"), (4, [[0, 0, 0], [0, 0, 0]], "twice")],
)
def test_impossible_requests_are_refused(k, pinned, message):
    with pytest.raises(ValueError, match=message):
        initial_palette(photo(), k, pinned=None if pinned is None else np.array(pinned, np.uint8))
