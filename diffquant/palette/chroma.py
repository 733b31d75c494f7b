"""How much hues should weigh against lightness: with few colours lightness takes them all, and pictures turn grey."""

import math

import numpy as np
from jaxtyping import Float64, UInt8

from diffquant.palette.histogram import collapse, cubes_of, oklab_of_cubes
from diffquant.palette.kmeans import Cloud, kmeans
from diffquant.palette.median_cut import median_cut

MOST = 4.0  # what a picture gets whose hues the palette cannot tell apart at all
VISIBLE = 0.02  # OkLab: chroma that varies less than this is nothing to be kept
FEWEST = 3
BITS = 5  # of each channel, in the histogram: colours of a few entries hardly depend on more
BINS = 20  # for each palette entry
MOST_BINS = 1_500


def chroma_weight(pixels: UInt8[np.ndarray, "h w 3"], k: int) -> float:
    """How often the squared errors of OkLab's a and b should count in a palette of `k` colours: 1 to `MOST`.

    1 plus `MOST` - 1 times the share of the variance of a and b that a palette chosen with weight 1 leaves unexplained.
    So it is 1 for grey pictures, and falls towards 1 as the colours grow. It is 1 as well for fewer than `FEWEST`
    colours: they mix along a line, and lightness needs that. Looks at nothing but how often each colour occurs.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least one colour")
    if k < FEWEST:
        return 1.0
    return 1 + (MOST - 1) * _unexplained(*_coarse_histogram(pixels), k)


def eye_weight(chroma: float) -> float:
    """What the eye's errors of a and b should weigh where a dither goes with a palette that was chosen with `chroma`.

    The root of it: a dither mixes hues that no entry has, and the whole weight makes its lightness coarse. To powers of
    root 2, so that a program compiled for one picture serves others.
    """
    return math.sqrt(2.0 ** round(math.log2(chroma)))


def _coarse_histogram(
    pixels: UInt8[np.ndarray, "h w 3"],
) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, " n"]]:
    """OkLab of the middles of cubes of codes, and the share of the pixels in each: several times as fast as exact."""
    counts = np.bincount(cubes_of(pixels, BITS).ravel(), minlength=1 << 3 * BITS)
    cubes = np.flatnonzero(counts)
    return oklab_of_cubes(cubes, BITS), counts[cubes] / counts.sum()


def _unexplained(points: Float64[np.ndarray, "n 3"], weights: Float64[np.ndarray, " n"], k: int) -> float:
    """Share of the variance of a and b that is left between the points and their nearest of `k` good colours."""
    points, weights = collapse(points, weights, min(BINS * k, MOST_BINS))
    palette = kmeans(points, weights, median_cut(points, weights, k), iterations=5)
    cloud = Cloud(points, weights)
    labels, _ = cloud.nearest(palette - cloud.origin)
    whole = weights @ np.square(points - cloud.origin)[:, 1:].sum(axis=1)
    left = weights @ np.square(points - palette[labels])[:, 1:].sum(axis=1)
    return float(min(left / (whole + VISIBLE**2), 1.0))
