"""Structural similarity, at one scale and at five.

Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004);
Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003). Both on sRGB codes.
"""

import math

import numpy as np
from jaxtyping import Float32

from diffquant.color import LUMA
from diffquant.metrics.convolution import filtered, gains_of, gaussian_taps
from diffquant.metrics.pair import Picture, require_pair

WINDOW_RADIUS = 5
WINDOW = gaussian_taps(1.5, WINDOW_RADIUS)
LUMINANCE_FLOOR = (0.01 * 255) ** 2  # the paper's C1
CONTRAST_FLOOR = (0.03 * 255) ** 2  # C2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first
LEAST_SIDE = len(WINDOW) << (len(SCALE_WEIGHTS) - 1)  # 176: one whole window at the coarsest scale


def ssim(reference: Picture, decoded: Picture) -> float:
    """Mean of R, G and B's structural similarity, 1 for identical pictures, at least -1.

    The mean is over the windows (11x11 Gaussian of 1.5 pixels, population variance) that lie inside the picture. Along
    an axis of fewer than 11 pixels no window does: there all count, and the picture is mirrored at its borders.
    """
    require_pair(reference, decoded)
    pairs = zip(np.moveaxis(reference, 2, 0), np.moveaxis(decoded, 2, 0), strict=True)
    return float(np.mean([_similarity(x.astype(np.float32), y.astype(np.float32))[0] for x, y in pairs]))


def ms_ssim(reference: Picture, decoded: Picture) -> float:
    """Structural similarity of the BT.601 luma over five scales, in [0, 1], 1 for identical pictures.

    NaN where the shorter side is below 176 pixels: the fifth scale has no whole window. Between scales pixels are
    averaged 2x2; an odd last row or column is dropped.
    """
    require_pair(reference, decoded)
    if min(reference.shape[:2]) < LEAST_SIDE:
        return math.nan
    x, y = (picture.astype(np.float32) @ np.array(LUMA, np.float32) for picture in (reference, decoded))
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS, start=1):
        similarity, contrast = _similarity(x, y)
        factor = similarity if scale == len(SCALE_WEIGHTS) else contrast
        product *= max(factor, 0.0) ** weight
        x, y = _halved(x), _halved(y)
    return product


def _halved(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h//2 w//2"]:
    h, w = plane.shape
    rows = plane[0 : h - 1 : 2] + plane[1:h:2]
    return (rows[:, 0 : w - 1 : 2] + rows[:, 1:w:2]) / 4


def _similarity(x: Float32[np.ndarray, "h w"], y: Float32[np.ndarray, "h w"]) -> tuple[float, float]:
    """Means over the windows of the similarity and of its contrast-structure factor.

    The second moments are taken around mid-grey, which keeps them exact in float32.
    """
    x, y = x - 128, y - 128
    gains = gains_of(WINDOW, *x.shape).astype(np.float32)
    moments = (filtered(plane, gains) for plane in (x, y, x * x + y * y, x * y))
    mean_x, mean_y, squares, product = (_whole_windows(moment) for moment in moments)
    contrast = 2 * (product - mean_x * mean_y) + CONTRAST_FLOOR
    contrast /= squares - (mean_x * mean_x + mean_y * mean_y) + CONTRAST_FLOOR
    mean_x, mean_y = mean_x + 128, mean_y + 128
    luminance = (2 * mean_x * mean_y + LUMINANCE_FLOOR) / (mean_x * mean_x + mean_y * mean_y + LUMINANCE_FLOOR)
    return float((luminance * contrast).mean(dtype=np.float64)), float(contrast.mean(dtype=np.float64))


def _whole_windows(plane: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "rows columns"]:
    rows, columns = (slice(WINDOW_RADIUS, -WINDOW_RADIUS) if n >= len(WINDOW) else slice(None) for n in plane.shape)
    return plane[rows, columns]
