"""Riemersma's dithering onto a fixed palette: errors are carried along a curve that fills the picture.

Riemersma, "A balanced dithering technique" (C/C++ Users Journal, 1998). There the errors of the last 16 pixels, each
against its own colour, are added with weights from 1 down to 1/16. Here what is carried is the whole error of the
value that was matched, and the weights sum to 1, so that mean light is kept.
"""

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int64, UInt8

from diffquant.export.matching import contiguous, diffuse_along, matcher_of

FADE = 1 / 16  # weight of the oldest error, of the newest


def hilbert_order(height: int, width: int) -> Int64[np.ndarray, "n 2"]:
    """Row and column of every pixel, each once, as a Hilbert curve visits them.

    The curve fills squares with a power of two for a side, in a chain along the picture's longer side, and leaves out
    what is outside the picture: only there do neighbours on it lie apart.
    """
    order = _walk(min(height, width), max(height, width))
    return order if height <= width else order[:, ::-1]


@numba.njit(cache=True, nogil=True)
@no_type_check
def _walk(short, long):
    side = 1
    while side < short:
        side *= 2
    order = np.empty((short * long, 2), np.int64)
    count = 0
    for start in range(0, long, side):
        for step in range(side * side):
            # From two bits of the step at a time, the finest first: the quarter, and how the finer curve lies in it.
            x, y, rest, half = 0, 0, step, 1
            while half < side:
                right, below = (rest >> 1) & 1, (rest ^ (rest >> 1)) & 1
                if below == 0:
                    if right == 1:
                        x, y = half - 1 - x, half - 1 - y
                    x, y = y, x
                x, y, rest, half = x + half * right, y + half * below, rest >> 2, half * 2
            if y < short and start + x < long:
                order[count, 0], order[count, 1] = y, start + x
                count += 1
    return order


def riemersma(
    linear: Float[np.ndarray, "h w 3"],
    palette: Float[np.ndarray, "k 3"],
    *,
    memory: int = 16,
    strength: float = 1.0,
) -> UInt8[np.ndarray, "h w"]:
    """The palette index of each pixel, errors passed on to the next `memory` pixels of a Hilbert curve.

    `strength`, 0 to 1, is the share of the error that is passed on: at 0 each pixel takes its nearest colour.

    Raises:
        ValueError: the palette holds no colours, or more than 256.
    """
    weights = FADE ** (np.arange(memory) / max(memory - 1, 1))
    order = np.ascontiguousarray(hilbert_order(*linear.shape[:2]))
    return diffuse_along(contiguous(linear), matcher_of(palette), order, strength * weights / weights.sum())
