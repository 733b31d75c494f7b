"""`palette/median_cut.py`. Oracles: cuts of a few points by hand, and a slow median cut in plain Python."""

import itertools
import math

import numpy as np
import pytest

from diffquant.palette.median_cut import HEURISTICS, Heuristic, median_cut, steps


def cloud(seed, n=40):
    """Points that share coordinates, with weights of which no two are equal."""
    rng = np.random.default_rng(seed)
    coordinates = rng.random((12, 3)) * [1, 0.6, 0.5]
    places = np.unique(rng.integers(0, 12, (n, 3)), axis=0)
    points = np.take_along_axis(coordinates, places, axis=0)
    return rng.permutation(points), rng.uniform(0.5, 4, len(points))


def partitions(points, weights, k, name):
    """The members of every box, before the first cut and after each, the textbook's way."""
    axis, operator, measure = name.split("_")

    def lengths(box):
        return [max(points[i][c] for i in box) - min(points[i][c] for i in box) for c in range(3)]

    def errors(box):
        total = math.fsum(weights[i] for i in box)
        means = [math.fsum(weights[i] * points[i][c] for i in box) / total for c in range(3)]
        counts = {i: 1 if measure == "er2noW" else weights[i] for i in box}
        squares = [math.fsum(counts[i] * (points[i][c] - means[c]) ** 2 for i in box) for c in range(3)]
        return [square if length else 0 for square, length in zip(squares, lengths(box), strict=True)]

    def score(box):
        values = lengths(box) if measure == "len" else errors(box)
        if measure == "er2normW":
            values = [value / math.fsum(weights[i] for i in box) for value in values]
        return {"max": max, "mul": math.prod, "sum": sum}[operator](values)

    boxes = [list(range(len(points)))]
    yield [set(box) for box in boxes]
    while len(boxes) < k and (mixed := [box for box in boxes if any(lengths(box))]):
        worst = max(mixed, key=score)
        values = lengths(worst) if axis == "xlen" else errors(worst)
        c = values.index(max(values))
        row = sorted(worst, key=lambda i: points[i][c])
        half, total = 0.0, math.fsum(weights[i] for i in worst)
        for i in row:
            half += weights[i]
            if half >= total / 2:
                break
        cut = points[i][c]
        last = cut == points[row[-1]][c]
        low = [i for i in worst if (points[i][c] < cut if last else points[i][c] <= cut)]
        boxes[boxes.index(worst)] = low
        boxes.append([i for i in worst if i not in low])
        yield [set(box) for box in boxes]


def members(boxes):
    return [set(box.members.tolist()) for box in boxes]


def test_there_are_24_heuristics_of_different_names():
    assert len(HEURISTICS) == len(set(HEURISTICS.values())) == 24
    assert all(name == heuristic.name for name, heuristic in HEURISTICS.items())
    parts = [("xer2", "xlen"), ("max", "mul", "sum"), ("er2absW", "er2noW", "er2normW", "len")]
    assert list(HEURISTICS) == ["_".join(name) for name in itertools.product(*parts)]
    assert Heuristic().name == "xer2_max_er2absW"


@pytest.mark.parametrize("name", HEURISTICS)
def test_every_cut_is_that_of_a_plain_median_cut(name):
    for seed in range(4):
        points, weights = cloud(seed)
        found = [members(boxes) for boxes in steps(points, weights, 15, HEURISTICS[name])]
        assert found == list(partitions(points.tolist(), weights.tolist(), 15, name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Weighted means 2 and 5/21. Errors along x: 80 weighted, 8 not; along y: 23.8 weighted, 22.8 not. Lengths 4, 5.
        ("xer2_max_er2absW", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_er2normW", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_len", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_er2noW", [[2, 0, 0], [2, 5, 0]]),
        ("xlen_max_er2absW", [[2, 0, 0], [2, 5, 0]]),
        ("xlen_max_er2noW", [[2, 0, 0], [2, 5, 0]]),
    ],
)
def test_the_axis_of_the_largest_error_or_the_longest(name, expected):
    points = np.array([[0.0, 0, 0], [4, 0, 0], [2, 5, 0]])
    found = median_cut(points, np.array([10.0, 10, 1]), 2, HEURISTICS[name])
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("axis", ["xer2", "xlen"])
@pytest.mark.parametrize(("operator", "cut"), [("max", 0), ("sum", 1), ("mul", 2)])
def test_the_operator_is_over_the_three_axes(axis, operator, cut):
    # Lengths of three pairs: largest 10, 7, 4; sums 12, 14.25, 12; products 10, 12.25, 64. They lie far apart along z,
    # and the weights are such that the first cut leaves the first pair, and the second the other two.
    lengths = np.array([[10, 1, 1], [7, 7, 0.25], [4, 4, 4]])
    corners = np.array([[0.0, 0, 0], [0, 0, 1000], [0, 0, 3000]])
    points = np.stack([corners, corners + lengths], axis=1).reshape(6, 3)
    weights = np.array([3.0, 3, 1, 1, 1, 1])
    *_, three, four = steps(points, weights, 4, Heuristic(axis=axis, operator=operator, measure="len"))
    assert members(three) == [{0, 1}, {2, 3}, {4, 5}]
    assert [len(box.members) for box in four] == [*(1 if i == cut else 2 for i in range(3)), 1]


@pytest.mark.parametrize("axis", ["xer2", "xlen"])
@pytest.mark.parametrize("operator", ["max", "sum"])
@pytest.mark.parametrize(("measure", "cut"), [("er2absW", 0), ("len", 1), ("er2noW", 2), ("er2normW", 3)])
def test_the_measure_counts_by_weight_or_once_or_by_share(axis, operator, measure, cut):
    # Along x, four groups at different z: two heavy points; a long row with its weight in the middle; twenty light
    # points at two places; two points of weight 1. The first three cuts separate the groups.
    #    error weighted   once    by share    length
    #               200      2           1         2
    #              2.45   24.5        0.24         7
    #             5.625     45        2.25         3
    #              12.5   12.5        6.25         5
    groups = [([0, 2], [100, 100]), ([0, 3.5, 7], [0.1, 10, 0.1]), ([0, 3] * 10, [0.125] * 20), ([0, 5], [1, 1])]
    points = np.array([[x, 0, z] for z, (row, _) in zip((0, 1000, 2000, 4000), groups, strict=True) for x in row])
    weights = np.concatenate([weights for _, weights in groups])
    *_, four, five = steps(points, weights, 5, Heuristic(axis=axis, operator=operator, measure=measure))
    sizes = [len(row) for row, _ in groups]
    assert [len(box.members) for box in four] == sizes
    assert [i for i in range(4) if len(five[i].members) < sizes[i]] == [cut]


@pytest.mark.parametrize("name", HEURISTICS)
def test_each_step_cuts_one_box_in_two_and_a_box_knows_its_points(name):
    points, weights = cloud(7)
    history = list(steps(points, weights, 9, HEURISTICS[name]))
    assert [len(boxes) for boxes in history] == list(range(1, 10))
    for before, after in itertools.pairwise(history):
        [place] = [i for i, box in enumerate(before) if after[i] is not box]
        assert members([before[place]])[0] == set.union(*members([after[place], after[-1]]))
    for box in history[-1]:
        x, w = points[box.members], weights[box.members]
        np.testing.assert_allclose(box.mean, np.average(x, axis=0, weights=w), atol=1e-14)
        np.testing.assert_array_equal([box.low, box.high], [x.min(axis=0), x.max(axis=0)])
        assert box.weight == pytest.approx(w.sum())
    np.testing.assert_array_equal(median_cut(points, weights, 9, HEURISTICS[name]), [box.mean for box in history[-1]])


@pytest.mark.parametrize("name", [name for name in HEURISTICS if not name.endswith("noW")])
def test_a_weight_of_two_is_as_good_as_the_point_twice(name):
    for seed in range(3):
        points, _ = cloud(seed)
        counts = np.random.default_rng(seed).integers(1, 6, len(points))
        found = median_cut(points, counts.astype(float), 12, HEURISTICS[name])
        again = median_cut(points.repeat(counts, axis=0), np.ones(counts.sum()), 12, HEURISTICS[name])
        np.testing.assert_allclose(again, found, atol=1e-12)


@pytest.mark.parametrize("name", HEURISTICS)
@pytest.mark.parametrize("flat", [(), (1,), (0, 2)], ids=str)
def test_the_cut_ends_at_the_distinct_points(name, flat):
    # Some points occur twice, and where an axis is flat all products are 0: still everything is cut.
    points, weights = cloud(3, n=25)
    points[:, flat] = 0.3
    points, weights = np.concatenate([points, points[:9]]), np.concatenate([weights, weights[:9]])
    found = median_cut(points, weights, 99, HEURISTICS[name])
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(points, axis=0))
    assert len(found) == len(np.unique(points, axis=0))


def test_an_error_too_small_for_a_float_does_not_stop_the_cut():
    points = np.array([[0.5, 0.5, 0], [0.5, 0.5, 1e-200]])
    np.testing.assert_array_equal(median_cut(points, np.ones(2), 5), points)


def test_fewer_boxes_than_one_are_refused():
    with pytest.raises(ValueError, match="k is 0, expected at least one box"):
        median_cut(np.zeros((2, 3)), np.ones(2), 0)
