"""S-CIELAB: colour difference after the eye's pattern-colour-separable blur.

Zhang, Wandell, "A spatial extension of CIELAB for digital color image reproduction" (1997), seen at 60 pixels a degree.
"""

import numpy as np
from jaxtyping import Float

from diffquant.color import mix
from diffquant.metrics.convolution import filtered, gains_of, gaussian_taps
from diffquant.metrics.pair import Picture, linear_planes, require_pair

PIXELS_PER_DEGREE = 60
RADIUS = 29  # pixels: the kernels span one degree
KERNELS = {  # opponent channel: (weight, spread in degrees) of each of its Gaussians exp(-(r / spread)^2)
    "luminance": ((0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)),
    "red-green": ((0.531, 0.0392), (0.330, 0.494)),
    "blue-yellow": ((0.488, 0.0536), (0.371, 0.386)),
}
XYZ_FROM_LINEAR = np.array(  # sRGB's primaries, unrounded (as in CSS Color 4); white is the row sums
    [
        [506752 / 1228815, 87881 / 245763, 12673 / 70218],
        [87098 / 409605, 175762 / 245763, 12673 / 175545],
        [7918 / 409605, 87881 / 737289, 1001167 / 1053270],
    ]
)
OPPONENT_FROM_XYZ = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])
OPPONENT_FROM_LINEAR = OPPONENT_FROM_XYZ @ XYZ_FROM_LINEAR
RELATIVE_XYZ_FROM_OPPONENT = np.linalg.inv(OPPONENT_FROM_XYZ) / XYZ_FROM_LINEAR.sum(axis=1, keepdims=True)


def scielab(reference: Picture, decoded: Picture) -> float:
    """Mean CIELAB difference (1976) of the filtered pictures, symmetric borders; 0 is identical, 1 just visible."""
    require_pair(reference, decoded)
    h, w = reference.shape[:2]
    gains = [_gains(kernel, h, w) for kernel in KERNELS.values()]
    difference = _filtered_lab(reference, gains) - _filtered_lab(decoded, gains)
    return float(np.sqrt(np.square(difference).sum(axis=0)).mean(dtype=np.float64))


def _gains(kernel: tuple[tuple[float, float], ...], h: int, w: int) -> Float[np.ndarray, "h w"]:
    """Of the weighted sum of the Gaussians, each of unit sum, the whole of unit sum."""
    total = sum(weight for weight, _ in kernel)
    gains = np.zeros((h, w))
    for weight, spread in kernel:
        taps = gaussian_taps(spread * PIXELS_PER_DEGREE / np.sqrt(2), RADIUS)
        gains += weight / total * gains_of(taps, h, w)
    return gains.astype(np.float32)


def _filtered_lab(picture: Picture, gains: list[Float[np.ndarray, "h w"]]) -> Float[np.ndarray, "3 h w"]:
    opponent = mix(OPPONENT_FROM_LINEAR, linear_planes(picture))
    seen = [filtered(plane, gain) for plane, gain in zip(opponent, gains, strict=True)]
    x, y, z = _lightness_root(mix(RELATIVE_XYZ_FROM_OPPONENT, seen))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def _lightness_root(relative: Float[np.ndarray, "3 h w"]) -> Float[np.ndarray, "3 h w"]:
    """CIELAB's f: cube root, and below (6/29)^3, also below 0, its tangent."""
    return np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative * (841 / 108) + 4 / 29)
