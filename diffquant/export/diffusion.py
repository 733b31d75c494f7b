"""Error diffusion onto a fixed palette: what a pixel owes goes to its neighbours, by a kernel.

What is matched, and what becomes of errors that none can pay: `diffquant.export.matching`.
"""

import numpy as np
from jaxtyping import Float, UInt8

from diffquant.export.matching import contiguous, diffuse_by_rows, matcher_of

# Rows from the pixel's own down; the pixel stands in the middle of each, and what is left of it in its own row is done.
# Floyd and Steinberg (1976); Sierra (1989, 1990); Burkes (1988); Atkinson (HyperScan, 1987), who passes on 3/4 of the
# error; the three-tap kernel that FFmpeg's paletteuse ascribes to Heckbert (1982).
KERNELS: dict[str, tuple[int, tuple[tuple[int, ...], ...]]] = {
    "floyd-steinberg": (16, ((0, 0, 7), (3, 5, 1))),
    "sierra-2": (16, ((0, 0, 0, 4, 3), (1, 2, 3, 2, 1))),
    "sierra-2-4a": (4, ((0, 0, 2), (1, 1, 0))),
    "sierra-3": (32, ((0, 0, 0, 5, 3), (2, 4, 5, 4, 2), (0, 2, 3, 2, 0))),
    "burkes": (32, ((0, 0, 0, 8, 4), (2, 4, 8, 4, 2))),
    "atkinson": (8, ((0, 0, 0, 1, 1), (0, 1, 1, 1, 0), (0, 0, 1, 0, 0))),
    "heckbert": (8, ((0, 0, 3), (0, 3, 2))),
}


def diffuse(
    linear: Float[np.ndarray, "h w 3"],
    palette: Float[np.ndarray, "k 3"],
    *,
    kernel: str = "floyd-steinberg",
    serpentine: bool = True,
    strength: float = 1.0,
) -> UInt8[np.ndarray, "h w"]:
    """The palette index of each pixel, errors passed on to those that follow by the `kernel`.

    Rows go from left to right, or with `serpentine` every other one back, its kernel mirrored. `strength`, 0 to 1, is
    the share of the error that is passed on: at 0 each pixel takes its nearest colour. Errors that leave the picture
    are lost. Deterministic.

    Raises:
        ValueError: the palette holds no colours, or more than 256; `kernel` is none of `KERNELS`.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel: found {kernel!r}, expected one of {', '.join(KERNELS)}")
    whole, rows = KERNELS[kernel]
    middle = len(rows[0]) // 2
    taps = [(y, x - middle, weight) for y, row in enumerate(rows) for x, weight in enumerate(row) if weight]
    down, across, weights = (np.array(column) for column in zip(*taps, strict=True))
    return diffuse_by_rows(
        contiguous(linear), matcher_of(palette), down, across, strength / whole * weights, serpentine
    )
