"""LDR-FLIP: how visible the difference is when two pictures alternate in place.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström, Fairchild, "FLIP: a difference evaluator for alternating images"
(2020).
"""

import numpy as np
from jaxtyping import Float32

from diffquant.color import mix
from diffquant.metrics.pair import Picture, linear_planes, require_pair
from diffquant.signal import flip as definition


def flip(reference: Picture, decoded: Picture, pixels_per_degree: float = definition.PIXELS_PER_DEGREE) -> float:
    """Mean error in [0, 1]; 0 is identical.

    Raises:
        ValueError: the pictures are not uint8 `[h w 3]` of one size, or `pixels_per_degree` is not positive.
    """
    require_pair(reference, decoded)
    x, y = (_seen(picture, definition.filters(pixels_per_degree)) for picture in (reference, decoded))
    lightness, a, b, edges, points = x - y
    power = (np.abs(lightness) + np.hypot(a, b)) ** definition.COLOR_EXPONENT / definition.LARGEST
    color = np.interp(power, (0, definition.KNEE, 1), (0, definition.KNEE_ERROR, 1))
    feature = (np.maximum(np.abs(edges), np.abs(points)) / 2**0.5) ** definition.FEATURE_EXPONENT
    return float((color ** (1 - feature)).mean(dtype=np.float64))


def _seen(picture: Picture, bank: definition.Bank) -> Float32[np.ndarray, "5 h w"]:
    """The colours as the eye blurs them, and the strength of edges and of points."""
    import scipy.ndimage  # here, because most reports do without it

    opponent = mix(definition.OPPONENT_FROM_LINEAR, linear_planes(picture))
    sinks = np.zeros((7, *opponent.shape[1:]), np.float32)
    for source, sink, column, row in bank:
        vertical = scipy.ndimage.correlate1d(opponent[source], column, axis=0, mode="nearest")
        sinks[sink] += scipy.ndimage.correlate1d(vertical, row, axis=1, mode="nearest")
    light = np.clip(mix(definition.LINEAR_FROM_OPPONENT, sinks[:3]), 0, 1)
    edges, points = np.hypot(sinks[3], sinks[4]), np.hypot(sinks[5], sinks[6])
    return np.stack([*definition.hunt_planes(light), edges, points])
