"""SSIMULACRA2: a structural similarity at six scales, tuned to the judgement of people.

Sneyers, "SSIMULACRA 2" (Cloudinary, 2022), as in libjxl 0.11, tools/ssimulacra2.cc. There lost structure is
1 - (1 - m^2) (2 cov + C) / (var + C), with m the difference of the means and var the sum of the variances. As
var - 2 cov is the variance of the difference v, that is m^2 + (1 - m^2) v / (var + C), which float32 keeps exact.
"""

import math

import numpy as np
from jaxtyping import Float32, Float64

from diffquant.color import xyb_planes
from diffquant.metrics.pair import Picture, linear_planes, require_pair
from diffquant.signal.ssimulacra2 import FLOOR, KERNEL, LEAST_SIDE, points, scale_weights

RADIUS = len(KERNEL) // 2


def ssimulacra2(reference: Picture, decoded: Picture) -> float:
    """100 for identical pictures; about 70 is high quality, 50 medium, 30 low; may be negative.

    NaN where a side is below 8 pixels. Not symmetric: added edges cost other than lost ones. libjxl's own values
    differ by up to 0.25 points (of 80, for a JPEG): its recursive filter adds up rounding errors.
    """
    require_pair(reference, decoded)
    h, w = reference.shape[:2]
    if min(h, w) < LEAST_SIDE:
        return math.nan
    pictures = [linear_planes(reference), linear_planes(decoded)]
    total = 0.0
    for weights in scale_weights(h, w):
        planes = []
        for i in (0, 1):  # halved at once: of a large picture two sizes take less than three
            planes.append(xyb_planes(pictures[i]))
            pictures[i] = _halved(pictures[i])
        for row, plane_x, plane_y in zip(weights, *planes, strict=True):
            total += float(row @ _norms(plane_x, plane_y))
    return points(total)


def _norms(x: Float32[np.ndarray, "h w"], y: Float32[np.ndarray, "h w"]) -> Float64[np.ndarray, "6"]:
    """Means and 4-norms of the maps of lost structure, added edges and lost edges."""
    mean_x, mean_y = _blurred(x), _blurred(y)
    shift = np.square(mean_x - mean_y)
    variances = _blurred(x * x + y * y) - (mean_x * mean_x + mean_y * mean_y)
    difference = _blurred(np.square(x - y)) - shift
    structure = np.maximum(shift + (1 - shift) * difference / (variances + FLOOR), 0)
    del shift, variances, difference
    edges_x, edges_y = np.abs(x - mean_x), np.abs(y - mean_y)
    del mean_x, mean_y
    change = (edges_y - edges_x) / (1 + edges_x)
    maps = [structure, np.maximum(change, 0), np.maximum(-change, 0)]
    fourths = [np.square(np.square(plane)).mean(dtype=np.float64) ** 0.25 for plane in maps]
    return np.array([plane.mean(dtype=np.float64) for plane in maps] + fourths)


def _blurred(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Convolved with `KERNEL` along both axes, 0 outside."""
    h, w = plane.shape
    padded = np.pad(plane, ((RADIUS, RADIUS), (0, 0)))
    rows = _weighted([padded[i : i + h] for i in range(len(KERNEL))])
    padded = np.pad(rows, ((0, 0), (RADIUS, RADIUS)))
    return _weighted([padded[:, i : i + w] for i in range(len(KERNEL))])


def _weighted(shifted: list[Float32[np.ndarray, "h w"]]) -> Float32[np.ndarray, "h w"]:
    """Sum with the weights of the symmetric kernel."""
    total = KERNEL[RADIUS] * shifted[RADIUS]
    for i in range(RADIUS):
        total += KERNEL[i] * (shifted[i] + shifted[-1 - i])
    return total


def _halved(planes: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "3 rows columns"]:
    """Means of 2x2; an odd last row or column counts twice."""
    h, w = planes.shape[1:]
    planes = np.pad(planes, ((0, 0), (0, h % 2), (0, w % 2)), mode="edge")
    rows = planes[:, ::2] + planes[:, 1::2]
    return (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
