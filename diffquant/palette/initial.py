"""The palette from which tuning starts."""

import numpy as np
from jaxtyping import Float64, UInt8

from diffquant.palette.histogram import codes_from_colors, collapse, histogram, oklab_from_colors
from diffquant.palette.kmeans import kmeans, relocate
from diffquant.palette.median_cut import median_cut

BINS = 40  # for each palette entry: what the search for a good optimum looks at
MOST_BINS = 8_000


def initial_palette(
    pixels: UInt8[np.ndarray, "h w 3"],
    k: int,
    *,
    pinned: UInt8[np.ndarray, "p 3"] | None = None,
    chroma: float = 1.0,
    effort: int = 1,
) -> Float64[np.ndarray, "at_most_k 3"]:
    """OkLab colours with a small squared error when every pixel takes the nearest: `pinned` ones first, and unmoved.

    Median cut and k-means with relocations on a coarse histogram, then k-means on all colours. If `pinned` and the
    picture together have at most `k` colours, it is exactly these. Squared errors of a and b count `chroma` times: the
    colours are stretched along these axes by its root, and back at the end. `effort` multiplies the cubes of the
    histogram, the relocations that are tried and the last iterations: several times as long for a slightly smaller
    error.

    Raises:
        ValueError: `k` or `effort` is below 1, `chroma` is not above 0, or `pinned` holds a colour twice or more than
            `k` colours.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least one colour")
    if effort < 1:
        raise ValueError(f"effort is {effort}, expected at least 1")
    if not 0 < chroma < np.inf:
        raise ValueError(f"chroma is {chroma}, expected a number above 0")
    colors, weights = histogram(pixels)
    keep = np.zeros((0, 3), np.uint8) if pinned is None else pinned
    if len(keep) > k:
        raise ValueError(f"pinned holds {len(keep)} colours, expected at most k = {k}")
    if len(np.unique(keep, axis=0)) < len(keep):
        raise ValueError("pinned holds a colour twice")
    fresh = ~np.isin(codes_from_colors(colors), codes_from_colors(keep))
    if len(keep) + fresh.sum() <= k:
        return oklab_from_colors(np.concatenate([keep, colors[fresh]]))
    anchors = oklab_from_colors(keep)
    if len(anchors) == k:
        return anchors
    stretch = np.sqrt([1, chroma, chroma])
    points = oklab_from_colors(colors[fresh]) * stretch
    centers = _search(points, weights[fresh], anchors * stretch, k, effort)
    return np.concatenate([anchors, centers[len(anchors) :] / stretch])


def _search(
    points: Float64[np.ndarray, "n 3"],
    weights: Float64[np.ndarray, " n"],
    anchors: Float64[np.ndarray, "p 3"],
    k: int,
    effort: int,
) -> Float64[np.ndarray, "at_most_k 3"]:
    """Centres of a small squared error, the `anchors` first."""
    coarse, mass = collapse(points, weights, min(BINS * k * effort, MOST_BINS))
    centers = np.concatenate([anchors, median_cut(coarse, mass, k - len(anchors))])
    fixed = np.arange(len(centers)) < len(anchors)
    trials = int(np.clip(2048 // k, 8, 24))  # each costs as much as k, and wins less where k is large
    centers = relocate(coarse, mass, centers, trials=trials * effort, fixed=fixed)
    return kmeans(points, weights, centers, iterations=5 * effort, fixed=fixed)
