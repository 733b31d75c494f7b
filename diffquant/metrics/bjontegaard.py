"""Bjøntegaard's delta: how much smaller one encoder's files are than another's, at equal quality.

Bjøntegaard, "Calculation of average PSNR differences between RD-curves" (VCEG-M33, 2001): the mean distance of two
curves of log rate over quality. There a cubic goes through four points of each; here, as in the later practice of VCEG
and JVET, a monotone piecewise cubic (PCHIP: Fritsch, Butland, "A method for constructing local monotone piecewise cubic
interpolants", 1984), which takes any number of points and does not swing between them.
"""

import math

import numpy as np
from jaxtyping import Float, Real
from scipy.interpolate import PchipInterpolator

from diffquant.metrics.registry import METRICS


def axis(name: str, values: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Values of the metric `name` as a quality, which grows with rate: -log of the metric where lower is better.

    A difference of qualities is then a ratio of errors. An error of 0 is an infinite quality.

    Raises:
        ValueError: `name` is not in `METRICS`.
    """
    if name not in METRICS:
        raise ValueError(f"name: found {name}, expected one of {', '.join(METRICS)}")
    if METRICS[name].higher_is_better:
        return values
    with np.errstate(divide="ignore"):
        return -np.log(values)


def bd_rate(
    reference: Real[np.ndarray, "n 2"],
    test: Real[np.ndarray, "m 2"],
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Average difference of rate at equal quality, per cent of the reference's: -10 means a tenth smaller.

    Points are (rate, quality), in any order, in any unit of rate that is proportional to bytes; the same point twice
    counts once. The average, of log rate, is over the qualities that both curves reach, from `low` to `high` if given.
    Swapping the two inverts the ratio of rates. Two points make a straight line; four or more make a curve.

    Points that cost more and show less are refused rather than left out: where an encoder has such, a number that
    ignores them says little about it.

    Raises:
        ValueError: a curve has fewer than two different points, or a rate or quality that is not finite or a rate that
            is not positive, or a quality that does not grow with the rate; or the curves have no interval in common.
    """
    curves = [_curve(reference, "reference"), _curve(test, "test")]
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    start = max(least, *(float(curve.x[0]) for curve in curves))
    end = min(most, *(float(curve.x[-1]) for curve in curves))
    if not start < end:
        spans = " and ".join(f"{curve.x[0]:.6g} to {curve.x[-1]:.6g}" for curve in curves)
        raise ValueError(
            f"reference, test: found qualities {spans}, expected a common interval within {least:g} to {most:g}"
        )
    before, after = (float(curve.integrate(start, end)) for curve in curves)
    return 100 * math.expm1((after - before) / (end - start))


def _curve(points: Real[np.ndarray, "n 2"], name: str) -> PchipInterpolator:
    """Log rate as a function of quality."""
    if not np.isfinite(points).all() or (points[:, 0] <= 0).any():
        raise ValueError(f"{name}: found {points.tolist()}, expected finite numbers and positive rates")
    rates, qualities = np.unique(points.astype(np.float64), axis=0).T  # by rate, then quality
    if len(rates) < 2:
        raise ValueError(f"{name}: found {len(rates)} different points, expected at least 2")
    for i in np.flatnonzero((np.diff(qualities) <= 0) | (np.diff(rates) == 0))[:1]:
        pair = " and ".join(f"{qualities[j]:.6g} at rate {rates[j]:.6g}" for j in (i, i + 1))
        raise ValueError(f"{name}: found quality {pair}, expected quality to grow with rate")
    return PchipInterpolator(qualities, np.log(rates))
