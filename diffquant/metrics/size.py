"""How much a picture costs: its file, its colours."""

import numpy as np

from diffquant.metrics.pair import Picture


def bits_per_pixel(size: int, pixels: Picture) -> float:
    """Bits for each pixel of the picture that a file of `size` bytes holds."""
    return 8 * size / (pixels.shape[0] * pixels.shape[1])


def count_colors(pixels: Picture) -> int:
    """Number of different colours."""
    r, g, b = np.moveaxis(pixels.astype(np.uint32), 2, 0)
    seen = np.zeros(1 << 24, bool)  # a flag for each of the 2^24 codes: no sort
    seen[r << 16 | g << 8 | b] = True
    return int(np.count_nonzero(seen))
