"""S-CIELAB: colour difference after the eye's pattern-colour-separable blur.

Zhang, Wandell, "A spatial extension of CIELAB for digital color image reproduction" (1997), seen at 60 pixels a degree.
"""

import numpy as np
from jaxtyping import Float

from diffquant.color import mix
from diffquant.metrics.convolution import filtered, gains_of
from diffquant.metrics.pair import Picture, linear_planes, require_pair
from diffquant.signal.cielab import lab_planes
from diffquant.signal.filters import Kernel
from diffquant.signal.scielab import KERNELS, OPPONENT_FROM_LINEAR, RELATIVE_XYZ_FROM_OPPONENT


def scielab(reference: Picture, decoded: Picture) -> float:
    """Mean CIELAB difference (1976) of the filtered pictures, symmetric borders; 0 is identical, 1 just visible."""
    require_pair(reference, decoded)
    h, w = reference.shape[:2]
    gains = [_gains(kernel, h, w) for kernel in KERNELS]
    difference = _filtered_lab(reference, gains) - _filtered_lab(decoded, gains)
    return float(np.sqrt(np.square(difference).sum(axis=0)).mean(dtype=np.float64))


def _gains(kernel: tuple[tuple[float, Kernel], ...], h: int, w: int) -> Float[np.ndarray, "h w"]:
    """Of a weighted sum of separable filters."""
    gains = np.zeros((h, w))
    for weight, taps in kernel:
        gains += weight * gains_of(np.array(taps), h, w)
    return gains.astype(np.float32)


def _filtered_lab(picture: Picture, gains: list[Float[np.ndarray, "h w"]]) -> Float[np.ndarray, "3 h w"]:
    planes = mix(OPPONENT_FROM_LINEAR, linear_planes(picture))
    for plane, gain in zip(planes, gains, strict=True):
        plane[:] = filtered(plane, gain)
    planes = mix(RELATIVE_XYZ_FROM_OPPONENT, planes)
    return np.stack(lab_planes(planes))
