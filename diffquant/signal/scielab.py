"""What defines S-CIELAB, for the metric and for the loss: its opponent colours and the blur of each.

Zhang, Wandell, "A spatial extension of CIELAB for digital color image reproduction" (1997), seen at 60 pixels a degree.
"""

import math

import numpy as np

from diffquant.signal.cielab import WHITE, XYZ_FROM_LINEAR
from diffquant.signal.filters import Kernel, gaussian_kernel

PIXELS_PER_DEGREE = 60
RADIUS = 29  # pixels: the kernels span one degree
GAUSSIANS = {  # opponent channel: (weight, spread in degrees) of each of its Gaussians exp(-(r / spread)^2)
    "luminance": ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    "red-green": ((0.531, 0.0392), (0.330, 0.494)),
    "blue-yellow": ((0.488, 0.0536), (0.371, 0.386)),
}
OPPONENT_FROM_XYZ = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])
OPPONENT_FROM_LINEAR = OPPONENT_FROM_XYZ @ XYZ_FROM_LINEAR
RELATIVE_XYZ_FROM_OPPONENT = np.linalg.inv(OPPONENT_FROM_XYZ) / WHITE


def _kernel(gaussians: tuple[tuple[float, float], ...]) -> tuple[tuple[float, Kernel], ...]:
    """Weights of sum 1, and Gaussians each of sum 1."""
    total = sum(weight for weight, _ in gaussians)
    sigmas = [spread * PIXELS_PER_DEGREE / math.sqrt(2) for _, spread in gaussians]
    taps = [gaussian_kernel(sigma, RADIUS / sigma) for sigma in sigmas]
    return tuple((weight / total, kernel) for (weight, _), kernel in zip(gaussians, taps, strict=True))


KERNELS = tuple(_kernel(gaussians) for gaussians in GAUSSIANS.values())  # of each channel: a sum of separable blurs
