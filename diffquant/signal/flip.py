"""What defines LDR-FLIP, for the metric and for the loss: what it sees of a picture, and how it weighs differences.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström, Fairchild, "FLIP: a difference evaluator for alternating images"
(2020), as in NVIDIA's flip-evaluator 1.7. Opponent colours here are the paper's YCxCz without its affine scale, which
cancels.
"""

import functools
import math
from typing import Any

import numpy as np

from diffquant.color import Planes, mix
from diffquant.signal.bank import Bank, Separable
from diffquant.signal.cielab import WHITE, XYZ_FROM_LINEAR, lab_planes
from diffquant.signal.filters import Kernel, gaussian_kernel

PIXELS_PER_DEGREE = 3840 * math.pi / 180  # 67.02: seen from as far as the screen, of 3840 pixels, is wide
GAUSSIANS = (  # (a, b) of a sqrt(pi / b) exp(-(pi x)^2 / b), x in degrees; those of the paper with a = 0 are left out
    ((1.0, 0.0047),),  # of Y, the achromatic channel
    ((1.0, 0.0053),),  # of Cx, red-green
    ((34.1, 0.04), (13.5, 0.025)),  # of Cz, blue-yellow
)
FEATURE_WIDTH = 0.082  # degrees: the paper's w
COLOR_EXPONENT = 0.7  # q_c
FEATURE_EXPONENT = 0.5  # q_f
KNEE, KNEE_ERROR = 0.4, 0.95  # p_c, p_t: a colour error of 0.4 of the largest counts as 0.95

RELATIVE_XYZ_FROM_LINEAR = XYZ_FROM_LINEAR / WHITE
OPPONENT_FROM_LINEAR = np.array([[0, 1, 0], [1, -1, 0], [0, 1, -1]]) @ RELATIVE_XYZ_FROM_LINEAR
LINEAR_FROM_OPPONENT = np.linalg.inv(OPPONENT_FROM_LINEAR)


@functools.cache
def filters(pixels_per_degree: float) -> Bank:
    """From Y, Cx, Cz to seven planes: these three as the eye sees them, then Y's edges (along x, y) and points.

    Border pixels are repeated outside.

    Raises:
        ValueError: `pixels_per_degree` is below 1, or not finite.
    """
    if not 1 <= pixels_per_degree < math.inf:
        raise ValueError(f"pixels_per_degree: found {pixels_per_degree}, expected at least 1")
    smooth, edge, point = _detectors(0.5 * FEATURE_WIDTH * pixels_per_degree)
    features = ((smooth, edge), (edge, smooth), (smooth, point), (point, smooth))
    bank = [*_sensitivity(pixels_per_degree), *(Separable(0, 3 + i, *taps) for i, taps in enumerate(features))]
    length = max(len(f.row) for f in bank)
    return tuple(f._replace(column=_widened(f.column, length), row=_widened(f.row, length)) for f in bank)


def _sensitivity(pixels_per_degree: float) -> list[Separable]:
    """To contrast: for each channel a sum of Gaussians, the whole of sum 1, cut at three sigmas of the widest."""
    degrees = [[math.sqrt(b / 2) / math.pi for _, b in gaussians] for gaussians in GAUSSIANS]
    radius = math.ceil(3 * max(map(max, degrees)) * pixels_per_degree)
    bank = []
    for channel, gaussians in enumerate(GAUSSIANS):
        kernels = [_gaussian(sigma * pixels_per_degree, radius) for sigma in degrees[channel]]
        # Before they were scaled to sum 1, the taps in the middle were 1.
        volumes = [a * math.sqrt(math.pi / b) / k[radius] ** 2 for (a, b), k in zip(gaussians, kernels, strict=True)]
        for volume, kernel in zip(volumes, kernels, strict=True):
            share = volume / sum(volumes)
            bank.append(Separable(channel, channel, tuple(share * tap for tap in kernel), kernel))
    return bank


def _detectors(sigma: float) -> list[Kernel]:
    """A Gaussian of sum 1, and for edges and points its derivatives, whose taps of either sign sum to 1."""
    radius = math.ceil(3 * sigma)
    offsets = np.arange(-radius, radius + 1)
    smooth = np.array(_gaussian(sigma, radius))
    edge, point = -offsets * smooth, ((offsets / sigma) ** 2 - 1) * smooth
    scaled = [np.where(d > 0, d / d[d > 0].sum(), -d / d[d < 0].sum()) for d in (edge, point)]
    return [tuple(map(float, taps)) for taps in (smooth, *scaled)]


def _gaussian(sigma: float, radius: int) -> Kernel:
    return gaussian_kernel(sigma, radius / sigma)


def _widened(taps: Kernel, length: int) -> Kernel:
    margin = (0.0,) * ((length - len(taps)) // 2)
    return (*margin, *taps, *margin)


def hunt_planes(linear: Planes) -> list[Any]:
    """CIELAB of linear light in [0, 1], with a* and b* less where it is dark (the Hunt effect): three planes."""
    lightness, a, b = lab_planes(mix(RELATIVE_XYZ_FROM_LINEAR, linear))
    return [lightness, 0.01 * lightness * a, 0.01 * lightness * b]


def _largest_distance() -> float:
    """Of two colours that a screen can show, city-block in lightness and Euclidean in a*, b*: from green to blue."""
    lightness, a, b = (float(plane[1] - plane[2]) for plane in hunt_planes(np.eye(3)))
    return abs(lightness) + math.hypot(a, b)


LARGEST = _largest_distance() ** COLOR_EXPONENT
