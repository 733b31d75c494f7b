"""Error diffusion onto a fixed palette, and the search for the nearest colour that all classical dithers share.

Compiled with numba: each pixel's choice depends on those before it, which suits no vector unit. Releases the GIL.
Pictures are `[h w 3]`, palettes `[k 3]`, both in linear light. What is matched is the pixel and its share of its
neighbours' errors, clipped to the gamut, against the palette in OkLab; errors are differences of linear light.

An error is light that a pixel still owes. Where the picture lies outside the palette's hull no mixture can pay it:
carried on, it would grow, and be paid as a streak by whatever comes next. OkLab and linear light also disagree on what
is nearest, which for some colours feeds errors inside of the hull too. So each entry has a limit, `REACH` times its
mean distance to its three nearest others (between black and white it never binds). Where the choice in OkLab would
leave a longer error, the entry nearest in linear light is taken if that leaves one well below its own limit: this
choice keeps errors inside of the hull bounded, and so the mean. Elsewhere the error is shortened to the limit.
"""

from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from diffquant.color import LMS_FROM_LINEAR, OKLAB_FROM_ROOTS, TOE, oklab_from_linear

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
REACH = 2.0
SETTLED = 0.8  # of a limit: what counts as well below it
MOST = 256  # entries
# OkLab in cubes: the gamut lies within, and few entries can be the nearest to anything in one cube.
SIDE = 1 / 40
CORNER = (0.0, -0.24, -0.32)
CELLS = (41, 21, 21)
((LR, LG, LB), (MR, MG, MB), (SR, SG, SB)), ((LL, LM, LS), (AL, AM, AS), (BL, BM, BS)) = (
    LMS_FROM_LINEAR,
    OKLAB_FROM_ROOTS,
)
STEEP = TOE ** (-2 / 3)  # of the cube root's straight toe


class Matcher(NamedTuple):
    """A palette, prepared for many searches. Of cell n, entries starts[n] to starts[n + 1] of `candidates`."""

    linear: np.ndarray  # float64 [k 3]
    oklab: np.ndarray  # float64 [k 3]
    limits: np.ndarray  # float64 [k]: the longest error that each entry may leave
    starts: np.ndarray  # int64 [cells + 1]
    candidates: np.ndarray  # uint8, ascending in a cell


def matcher_of(palette: Float[np.ndarray, "k 3"]) -> Matcher:
    """The palette with what speeds up searches in it.

    A cube's candidates are the entries no farther from its nearest point than some entry is from its farthest, so
    the search is exact. In the spirit of Heckbert, "Color image quantization for frame buffer display" (1982).

    Raises:
        ValueError: the palette holds no colours, or more than 256.
    """
    if not 1 <= len(palette) <= MOST:
        raise ValueError(f"palette: found {len(palette)} colours, expected 1 to {MOST}")
    linear = np.ascontiguousarray(palette, np.float64)
    oklab = np.ascontiguousarray(oklab_from_linear(linear.T).T)
    starts, candidates = _candidates(oklab)
    return Matcher(linear, oklab, _limits(linear), starts, candidates)


def _limits(linear: Float64[np.ndarray, "k 3"]) -> Float64[np.ndarray, " k"]:
    distances = np.sqrt(((linear[:, None] - linear) ** 2).sum(axis=2))
    distances = np.sort(np.where(distances > 0, distances, np.inf), axis=1)[:, :3]  # a colour's twins do not count
    known = np.isfinite(distances)
    total, count = np.where(known, distances, 0).sum(axis=1), known.sum(axis=1)
    return REACH * np.where(count > 0, total / np.maximum(count, 1), 1.0)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _candidates(oklab):
    k = len(oklab)
    starts = np.zeros(CELLS[0] * CELLS[1] * CELLS[2] + 1, np.int64)
    found = np.empty(16 * len(starts), np.uint8)
    nearest, middle = np.empty(k), np.empty(3)
    cell = 0
    for i in range(CELLS[0]):
        for j in range(CELLS[1]):
            for m in range(CELLS[2]):
                middle[0] = CORNER[0] + (i + 0.5) * SIDE
                middle[1] = CORNER[1] + (j + 0.5) * SIDE
                middle[2] = CORNER[2] + (m + 0.5) * SIDE
                within = np.inf
                for n in range(k):
                    low, high = 0.0, 0.0
                    for c in range(3):
                        away = abs(oklab[n, c] - middle[c])
                        low += max(away - SIDE / 2, 0.0) ** 2
                        high += (away + SIDE / 2) ** 2
                    nearest[n] = low
                    within = min(within, high)
                count = starts[cell]
                if count + k > len(found):
                    found = np.concatenate((found, np.empty(len(found), np.uint8)))
                for n in range(k):
                    if nearest[n] <= within + 1e-12:
                        found[count] = n
                        count += 1
                cell += 1
                starts[cell] = count
    return starts, found[: starts[cell]].copy()


@numba.njit(cache=True, nogil=True)
@no_type_check
def _root(x):
    """As `diffquant.color.cube_root`."""
    return x * STEEP if x < TOE else np.cbrt(x)


@numba.njit(cache=True, nogil=True)
@no_type_check
def nearest(matcher, r, g, b):
    """The entry nearest in OkLab to a colour in linear light, clipped to the gamut; of equals the first."""
    r, g, b = min(max(r, 0.0), 1.0), min(max(g, 0.0), 1.0), min(max(b, 0.0), 1.0)
    long, medium, short = (
        _root(LR * r + LG * g + LB * b),
        _root(MR * r + MG * g + MB * b),
        _root(SR * r + SG * g + SB * b),
    )
    x = LL * long + LM * medium + LS * short
    y = AL * long + AM * medium + AS * short
    z = BL * long + BM * medium + BS * short
    i, j, m = int((x - CORNER[0]) / SIDE), int((y - CORNER[1]) / SIDE), int((z - CORNER[2]) / SIDE)
    cell = (i * CELLS[1] + j) * CELLS[2] + m
    oklab, best, least = matcher.oklab, 0, np.inf
    for at in range(matcher.starts[cell], matcher.starts[cell + 1]):
        n = matcher.candidates[at]
        distance = (oklab[n, 0] - x) ** 2 + (oklab[n, 1] - y) ** 2 + (oklab[n, 2] - z) ** 2
        if distance < least:
            best, least = n, distance
    return best


@numba.njit(cache=True, nogil=True)
@no_type_check
def settle(matcher, color, red, green, blue, faithful):
    """The entry for a colour that is owed red, green and blue, and the error that it leaves, as the module says.

    If not `faithful` to the mean, choices are always in OkLab.
    """
    linear, limits = matcher.linear, matcher.limits
    r, g, b = color[0] + red, color[1] + green, color[2] + blue
    entry = nearest(matcher, r, g, b)
    square = (r - linear[entry, 0]) ** 2 + (g - linear[entry, 1]) ** 2 + (b - linear[entry, 2]) ** 2
    share = 1.0
    if square > limits[entry] ** 2:
        share = limits[entry] / np.sqrt(square)
        if faithful and (red != 0 or green != 0 or blue != 0):
            other, least = entry, square
            for n in range(len(linear)):
                distance = (r - linear[n, 0]) ** 2 + (g - linear[n, 1]) ** 2 + (b - linear[n, 2]) ** 2
                if distance < least:
                    other, least = n, distance
            if least <= (SETTLED * limits[other]) ** 2:
                entry, share = other, 1.0
    return entry, share * (r - linear[entry, 0]), share * (g - linear[entry, 1]), share * (b - linear[entry, 2])


def contiguous(linear: Float[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """A copy in the one layout that programs are compiled for: to numba a read-only array is of another type."""
    return np.array(linear, np.float32, order="C")


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
    return _diffuse(contiguous(linear), matcher_of(palette), down, across, strength / whole * weights, serpentine)


@numba.njit(cache=True, nogil=True)
@no_type_check
def _diffuse(linear, matcher, down, across, weights, serpentine):
    height, width = linear.shape[:2]
    margin = 2  # of the widest kernel: what falls there is lost
    owed = np.zeros((3, width + 2 * margin, 3))  # by this row and the next two, in turns
    indices = np.empty((height, width), np.uint8)
    for y in range(height):
        here = y % 3
        back = serpentine and y % 2 == 1
        for step in range(width):
            x = width - 1 - step if back else step
            due = owed[here, x + margin]
            entry, r, g, b = settle(matcher, linear[y, x], due[0], due[1], due[2], True)
            indices[y, x] = entry
            for t in range(len(weights)):
                to = owed[(y + down[t]) % 3, x + margin + (-across[t] if back else across[t])]
                to[0] += weights[t] * r
                to[1] += weights[t] * g
                to[2] += weights[t] * b
        owed[here] = 0
    return indices
