"""Pixel errors: of the codes, and of the colours as seen near or from afar."""

import math

import numpy as np
from jaxtyping import Float32

from diffquant.color import oklab_from_linear
from diffquant.metrics.convolution import filtered, gains_of, gaussian_taps
from diffquant.metrics.pair import Picture, linear_planes, require_pair

BLUR_SIGMA = 1.5  # pixels, cut at 4 sigmas
BLUR_TAPS = gaussian_taps(BLUR_SIGMA, radius=6)


def psnr(reference: Picture, decoded: Picture) -> float:
    """Peak signal-to-noise ratio of the sRGB codes over all pixels and channels, dB; infinite where they are equal."""
    require_pair(reference, decoded)
    difference = np.subtract(reference, decoded, dtype=np.int32).ravel()
    mean_square = float(np.square(difference).mean(dtype=np.float64))
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def oklab_mse(reference: Picture, decoded: Picture) -> float:
    """Mean squared distance in OkLab; 0 is identical."""
    require_pair(reference, decoded)
    return _oklab_error(linear_planes(reference), linear_planes(decoded))


def oklab_mse_blur(reference: Picture, decoded: Picture) -> float:
    """Mean squared distance in OkLab after a blur in linear light: a Gaussian of 1.5 pixels, symmetric borders.

    So a dither counts as the mean that it makes, as seen from afar. 0 is identical.
    """
    require_pair(reference, decoded)
    return _oklab_error(_blurred_planes(reference), _blurred_planes(decoded))


def _blurred_planes(picture: Picture) -> Float32[np.ndarray, "3 h w"]:
    planes = linear_planes(picture)
    gains = gains_of(BLUR_TAPS, *planes.shape[1:]).astype(np.float32)
    return np.stack([filtered(plane, gains) for plane in planes])


def _oklab_error(reference: Float32[np.ndarray, "3 h w"], decoded: Float32[np.ndarray, "3 h w"]) -> float:
    difference = oklab_from_linear(reference) - oklab_from_linear(decoded)
    return 3 * float(np.square(difference).mean(dtype=np.float64))
