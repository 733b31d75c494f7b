"""The palette from which tuning starts."""

import numpy as np
from jaxtyping import Float64, UInt8

from diffquant.palette.histogram import codes_from_colors, collapse, histogram, oklab_from_colors
from diffquant.palette.kmeans import kmeans, relocate
from diffquant.palette.median_cut import median_cut

BINS = 40  # for each palette entry: what the search for a good optimum looks at
MOST_BINS = 8_000


def initial_palette(
    pixels: UInt8[np.ndarray, "h w 3"], k: int, *, pinned: UInt8[np.ndarray, "p 3"] | None = None
) -> Float64[np.ndarray, "at_most_k 3"]:
    """OkLab colours with a small squared error when every pixel takes the nearest: `pinned` ones first, and unmoved.

    Median cut and k-means with relocations on a coarse histogram, then k-means on all colours. If `pinned` and the
    picture together have at most `k` colours, it is exactly these.

    Raises:
        ValueError: `k` is below 1, or `pinned` holds a colour twice or more than `k` colours.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least one colour")
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
    points, weights = oklab_from_colors(colors[fresh]), weights[fresh]
    coarse, mass = collapse(points, weights, min(BINS * k, MOST_BINS))
    centers = np.concatenate([anchors, median_cut(coarse, mass, k - len(anchors))])
    fixed = np.arange(len(centers)) < len(anchors)
    trials = int(np.clip(2048 // k, 8, 24))  # each costs as much as k, and wins less where k is large
    centers = relocate(coarse, mass, centers, trials=trials, fixed=fixed)
    return kmeans(points, weights, centers, iterations=5, fixed=fixed)
