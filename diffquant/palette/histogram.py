"""The colours of a picture and how often each occurs: all that choosing a palette looks at."""

import numpy as np
from jaxtyping import Float, Float64, Int32, Integer, UInt8, UInt32

from diffquant.color import LINEAR_OF_CODE, oklab_from_linear


def codes_from_colors(colors: UInt8[np.ndarray, "... 3"]) -> UInt32[np.ndarray, "..."]:
    """One number for each colour: 0xRRGGBB."""
    codes = colors[..., 0].astype(np.uint32)
    for channel in (1, 2):  # in place: of a large picture each term would take four bytes a pixel
        codes <<= np.uint32(8)
        codes |= colors[..., channel]
    return codes


def colors_from_codes(codes: UInt32[np.ndarray, " n"]) -> UInt8[np.ndarray, "n 3"]:
    """Undo `codes_from_colors`."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1).astype(np.uint8)


def histogram(pixels: UInt8[np.ndarray, "h w 3"]) -> tuple[UInt8[np.ndarray, "n 3"], Float64[np.ndarray, " n"]]:
    """The unique colours, ascending by (R, G, B), and the share of the pixels that each has; the shares sum to 1."""
    codes, counts = np.unique(codes_from_colors(pixels), return_counts=True)
    return colors_from_codes(codes), counts / counts.sum()


def oklab_from_colors(colors: UInt8[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """OkLab of a list of sRGB colours."""
    return np.ascontiguousarray(oklab_from_linear(LINEAR_OF_CODE[colors.T]).T)


def cubes_of(pixels: UInt8[np.ndarray, "h w 3"], bits: int) -> Int32[np.ndarray, "h w"]:
    """Which cube of codes each pixel lies in, by the first `bits` of each channel."""
    red, green, blue = np.moveaxis(pixels >> 8 - bits, -1, 0).astype(np.int32)
    return red << 2 * bits | green << bits | blue


def oklab_of_cubes(cubes: Integer[np.ndarray, " n"], bits: int) -> Float64[np.ndarray, "n 3"]:
    """OkLab of their middles."""
    parts = np.stack([cubes >> 2 * bits, cubes >> bits, cubes], axis=1) & (1 << bits) - 1
    return oklab_from_colors(((parts << 8 - bits) + (1 << 7 - bits)).astype(np.uint8))


def collapse(
    points: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"], bins: int
) -> tuple[Float64[np.ndarray, "m 3"], Float64[np.ndarray, " m"]]:
    """The means and weights of cubes that hold the points, at least `bins` of them; of few points, the points.

    The side of the cubes grows by half an octave for as long as enough of them are occupied: each pass is shorter.
    """
    side = (float(np.ptp(points, axis=0).max()) or 1.0) / 128
    corner = points.min(axis=0)
    while len(points) > 2 * bins:
        x, y, z = ((points - corner) / side).astype(np.int64).T
        cubes, cube = np.unique(x << 40 | y << 20 | z, return_inverse=True)
        if len(cubes) < bins:
            break
        sums = [np.bincount(cube, weights * plane) for plane in points.T]
        weights = np.bincount(cube, weights)
        points = np.stack(sums, axis=1) / weights[:, None]
        side *= np.sqrt(2)
    return points, weights
