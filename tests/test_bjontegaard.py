"""Bjøntegaard's delta against closed forms, and against a plain implementation by numerical quadrature.

Oracles: integrals of straight lines and of a cubic by hand; the trapezoid rule on Hermite cubics with the slopes of
Fritsch and Butland (1984), written out here point by point.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffquant.metrics import METRICS
from diffquant.metrics.bjontegaard import axis, bd_rate

SEEDS = st.integers(0, 2**32 - 1)


def curve(seed, n=6, lowest=30.0):
    """Points of an encoder whose quality grows with the rate, unevenly."""
    rng = np.random.default_rng(seed)
    rates = 1e4 * np.cumprod(rng.uniform(1.1, 2, n))
    return np.stack([rates, lowest + np.cumsum(rng.uniform(1, 15, n))], -1)


def log_ratio(percent):
    return np.log1p(percent / 100)


def hermite(x, y, t):
    """The monotone piecewise cubic through rising points (x, y), at each t."""
    steps, secants = np.diff(x), np.diff(y) / np.diff(x)
    slopes = [end_slope(steps, secants)]
    for left, right, before, after in zip(steps, steps[1:], secants, secants[1:], strict=False):
        a, b = left + 2 * right, 2 * left + right  # a weighted harmonic mean of the secants on both sides
        slopes.append((a + b) / (a / before + b / after))
    slopes.append(end_slope(steps[::-1], secants[::-1]))
    values = []
    for at in t:
        i = min(max(np.searchsorted(x, at, side="right") - 1, 0), len(x) - 2)
        u, h = (at - x[i]) / steps[i], steps[i]
        values.append(
            (1 + 2 * u) * (1 - u) ** 2 * y[i]
            + u * (1 - u) ** 2 * h * slopes[i]
            + u**2 * (3 - 2 * u) * y[i + 1]
            + u**2 * (u - 1) * h * slopes[i + 1]
        )
    return np.array(values)


def end_slope(steps, secants):
    """Of the parabola through the first three points, unless that falls."""
    slope = secants[0] + steps[0] * (secants[0] - secants[1]) / (steps[0] + steps[1])
    return max(slope, 0.0)


def by_quadrature(reference, test, low=-np.inf, high=np.inf):
    start = max(reference[:, 1].min(), test[:, 1].min(), low)
    end = min(reference[:, 1].max(), test[:, 1].max(), high)
    t = np.linspace(start, end, 4001)
    distance = hermite(test[:, 1], np.log(test[:, 0]), t) - hermite(reference[:, 1], np.log(reference[:, 0]), t)
    return 100 * (np.exp(np.mean((distance[1:] + distance[:-1]) / 2)) - 1)


@given(seed=SEEDS, factor=st.floats(0.2, 5))
@settings(max_examples=30, deadline=None)
def test_files_smaller_by_a_factor_everywhere_are_smaller_by_that_factor(seed, factor):
    reference = curve(seed)
    assert bd_rate(reference, reference * [factor, 1]) == pytest.approx(100 * (factor - 1), abs=1e-9)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_between_straight_lines_it_is_the_distance_in_the_middle_of_the_common_interval(n):
    # log rate is 1 + q / 10 and 2 + q / 20: their distance 1 - q / 20 has its mean over 25 to 35 at 30
    first, second = np.linspace(20, 35, n), np.linspace(25, 45, n)
    reference = np.stack([np.exp(1 + first / 10), first], -1)
    test = np.stack([np.exp(2 + second / 20), second], -1)
    assert log_ratio(bd_rate(reference, test)) == pytest.approx(1 - 30 / 20, abs=1e-12)
    assert log_ratio(bd_rate(reference, test, low=28)) == pytest.approx(1 - 31.5 / 20, abs=1e-12)
    assert log_ratio(bd_rate(reference, test, low=28, high=30)) == pytest.approx(1 - 29 / 20, abs=1e-12)
    assert log_ratio(bd_rate(reference, test, low=0, high=99)) == pytest.approx(1 - 30 / 20, abs=1e-12)


def test_between_a_curve_and_a_line_it_is_the_integral_of_the_cubics():
    # log rates 0, 1, 4 at 0, 1, 2: inner slope 2 / (1 / 1 + 1 / 3), end slopes 0 and (3 * 3 - 1) / 2; a piece's
    # integral is the mean of its ends plus a twelfth of the difference of its slopes
    bent = np.stack([np.exp([0.0, 1, 4]), [0.0, 1, 2]], -1)
    straight = np.stack([np.exp([0.0, 4]), [0.0, 2]], -1)
    area = (1 / 2 + (0 - 1.5) / 12) + (5 / 2 + (1.5 - 4) / 12)
    assert log_ratio(bd_rate(straight, bent)) == pytest.approx((area - 4) / 2, abs=1e-12)


@given(seeds=st.tuples(SEEDS, SEEDS), sizes=st.tuples(st.integers(3, 8), st.integers(3, 8)))
@settings(max_examples=30, deadline=None)
def test_it_agrees_with_quadrature_of_cubics_written_out(seeds, sizes):
    reference, test = curve(seeds[0], sizes[0]), curve(seeds[1], sizes[1], lowest=31)
    low = max(reference[0, 1], test[0, 1])
    high = min(reference[-1, 1], test[-1, 1])
    middle = (low + high) / 2
    if low < high:
        for limits in ({}, {"low": middle}, {"high": middle}):
            expected = by_quadrature(reference, test, **limits)
            assert bd_rate(reference, test, **limits) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(seeds=st.tuples(SEEDS, SEEDS))
@settings(max_examples=30, deadline=None)
def test_swapping_the_curves_inverts_the_ratio_of_rates(seeds):
    a, b = (curve(seed, n=5) for seed in seeds)
    assert log_ratio(bd_rate(a, b)) == pytest.approx(-log_ratio(bd_rate(b, a)), abs=1e-9)


@given(seed=SEEDS)
@settings(max_examples=30, deadline=None)
def test_order_repetition_and_the_unit_of_rate_do_not_matter(seed):
    reference, test = curve(seed), curve(seed + 1)
    expected = bd_rate(reference, test)
    shuffled = np.random.default_rng(seed).permutation(np.concatenate([test, test[1:3]]))
    assert bd_rate(reference[::-1], shuffled) == expected
    bits = [8 / (768 * 512), 1]
    assert bd_rate(reference * bits, test * bits) == pytest.approx(expected, abs=1e-9)


def test_whole_numbers_will_do():
    whole = np.array([[1000, 30], [2000, 40], [4000, 50]])
    assert bd_rate(whole, whole * [2, 1]) == pytest.approx(100)


GOOD = [[100.0, 30], [200, 40], [400, 50]]
MISTAKES = {
    "one point": ([[100.0, 30]], {}, "test: found 1 different points, expected at least 2"),
    "one point twice": ([[100.0, 30], [100, 30]], {}, "test: found 1 different points"),
    "no point": (np.empty((0, 2)), {}, "test: found 0 different points"),
    "less quality for more": (
        [[100.0, 30], [200, 45], [300, 44]],
        {},
        "test: found quality 45 at rate 200 and 44 at rate 300, expected quality to grow",
    ),
    "the same quality for more": ([[100.0, 30], [200, 40], [300, 40]], {}, "test: found quality 40 at rate 200 and"),
    "two qualities at one rate": ([[100.0, 30], [100, 31], [300, 40]], {}, "test: found quality 30 at rate 100 and"),
    "NaN": ([[100.0, 30], [200, np.nan]], {}, "expected finite numbers"),
    "infinite": ([[100.0, 30], [200, np.inf]], {}, "expected finite numbers"),
    "no rate": ([[0.0, 30], [200, 40]], {}, "positive rates"),
    "disjoint": ([[100.0, 60], [200, 70]], {}, "found qualities 30 to 50 and 60 to 70, expected a common interval"),
    "touching": ([[100.0, 50], [200, 70]], {}, "expected a common interval"),
    "clipped away": (GOOD, {"low": 55, "high": 60}, "expected a common interval within 55 to 60"),
    "clipped on one side": (GOOD, {"low": 55}, "expected a common interval within 55 to inf"),
}


@pytest.mark.parametrize(("test", "limits", "text"), MISTAKES.values(), ids=MISTAKES)
def test_curves_that_cannot_be_compared_are_refused(test, limits, text):
    with pytest.raises(ValueError, match=text):
        bd_rate(np.array(GOOD), np.array(test), **limits)


@pytest.mark.parametrize("name", METRICS)
def test_on_its_axis_every_metric_grows_with_quality(name):
    values = np.array([0.5, 0.25, 0.125])
    qualities = axis(name, values)
    assert (np.diff(qualities) < 0).all() if METRICS[name].higher_is_better else (np.diff(qualities) > 0).all()


def test_halving_a_distance_is_as_much_quality_wherever_it_starts():
    np.testing.assert_allclose(np.diff(axis("butteraugli_3norm", np.array([4.0, 2, 1, 0.5]))), np.log(2))
    assert axis("butteraugli_3norm", np.array([0.0]))[0] == np.inf
    np.testing.assert_array_equal(axis("ssimulacra2", np.array([-3.0, 90])), [-3, 90])


def test_only_metrics_have_an_axis():
    with pytest.raises(ValueError, match="found vmaf, expected one of psnr"):
        axis("vmaf", np.array([1.0]))
