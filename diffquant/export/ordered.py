"""Ordered dithering onto a fixed palette: at each pixel a small mixture of colours, one of which a mask picks.

A mask that only shifts the picture's colours needs to know how far apart the palette's are, and in which direction:
here the pixel's own mixture knows. After Knoll's pattern dithering (US patent 6,606,166, filed 1999, expired).
"""

import threading

import numpy as np
from jaxtyping import Float, Float32, UInt8

from diffquant.export.matching import contiguous, matcher_of, mix
from diffquant.signal.blue_noise import threshold_mask

SIDE = 64  # pixels of the blue-noise mask
# A parallel loop of numba's that two threads enter ends the process where there is neither OpenMP nor TBB.
_alone = threading.Lock()


def bayer_mask(side: int = 8) -> Float32[np.ndarray, "n n"]:
    """Thresholds in (0, 1) to tile a picture with: (rank + 1/2) / side^2, each rank once.

    Each doubling of the side puts its four phases at ranks 0 2 / 3 1.
    Bayer, "An optimum method for two-level rendition of continuous-tone pictures" (1973).

    Raises:
        ValueError: `side` is not a power of two.
    """
    if side < 1 or side & (side - 1):
        raise ValueError(f"side: found {side}, expected a power of two")
    ranks = np.zeros((1, 1), np.int64)
    while len(ranks) < side:
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return ((ranks + 0.5) / ranks.size).astype(np.float32)


def mask_of(name: str) -> Float32[np.ndarray, "n n"]:
    """The mask called "blue-noise", or "bayer-8" for a Bayer matrix of side 8.

    Raises:
        ValueError: the name is another, or its side no power of two.
    """
    if name == "blue-noise":
        return threshold_mask(SIDE)
    kind, _, side = name.partition("-")
    if kind != "bayer" or not side.isdecimal():
        raise ValueError(f"mask: found {name!r}, expected blue-noise or bayer-8")
    return bayer_mask(int(side))


def dither_ordered(
    linear: Float[np.ndarray, "h w 3"],
    palette: Float[np.ndarray, "k 3"],
    mask: Float[np.ndarray, "a b"],
    *,
    parts: int = 8,
    strength: float = 1.0,
) -> UInt8[np.ndarray, "h w"]:
    """The palette index of each pixel, picked by the tiled `mask`, of thresholds in (0, 1), from a mixture.

    The mixture is of `parts` colours, each the nearest in OkLab to the pixel and what the ones before it still owe in
    linear light; the mask picks by rank of lightness. `strength`, 0 to 1, is the share of that error which counts: at
    0 each pixel takes its nearest colour. No pixel depends on another: of use where frames must not flicker.

    What the threshold holds beyond its rank in the mixture says how many colours to choose, and leave out, before it:
    so shares are right on average over the mask, and not only multiples of 1 / parts. A mask of more than parts^2
    thresholds is no finer than that.

    Raises:
        ValueError: the palette holds no colours, or more than 256.
    """
    matcher = matcher_of(palette)
    with _alone:
        return mix(contiguous(linear), matcher, np.array(mask, np.float32), parts, strength)
