"""The entry that a pixel takes, given what it is owed, and the loops of all classical dithers: what numba compiles.

All of it is in one file, because numba keeps what it has compiled and looks at that file alone when it decides whether
that is still up to date: functions and constants from elsewhere are compiled in, and could change unnoticed. So nothing
compiled here uses any, and the numbers of `diffquant.color` are handed over in a `Matcher`. Releases the GIL.

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
from jaxtyping import Float, Float32, Float64

from diffquant.color import LMS_FROM_LINEAR, OKLAB_FROM_ROOTS, TOE, oklab_from_linear

REACH = 2.0
SETTLED = 0.8  # of a limit: what counts as well below it
MOST = 256  # entries
# OkLab in cubes: the gamut lies within, and few entries can be the nearest to anything in one cube.
PER_UNIT = 40
SIDE = 1 / PER_UNIT
CORNER = (0.0, -0.24, -0.32)
CELLS = (41, 21, 21)
GUESS = 0x553EE << 44  # less a third of a number's bits it is the bits of its inverse cube root, but for 4 %


class Matcher(NamedTuple):
    """A palette, prepared for many searches. Of cell n, entries starts[n] to starts[n + 1] of `candidates`."""

    linear: np.ndarray  # float64 [k 3]
    oklab: np.ndarray  # float64 [k 3]
    limits: np.ndarray  # float64 [k]: the longest error that each entry may leave
    starts: np.ndarray  # int64 [cells + 1]
    candidates: np.ndarray  # uint8, ascending in a cell
    cones: np.ndarray  # float64 [3 3]: linear light to cone responses
    roots: np.ndarray  # float64 [3 3]: their roots to OkLab
    toe: float  # where the roots' straight toe ends


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
    cones, roots = np.array(LMS_FROM_LINEAR), np.array(OKLAB_FROM_ROOTS)
    return Matcher(linear, oklab, _limits(linear), starts, candidates, cones, roots, TOE)


def contiguous(linear: Float[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """A copy in the one layout that programs are compiled for: to numba a read-only array is of another type."""
    return np.array(linear, np.float32, order="C")


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
                for c, at in enumerate((i, j, m)):
                    middle[c] = CORNER[c] + (at + 0.5) * SIDE
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


@numba.njit(cache=True, nogil=True, inline="always")
@no_type_check
def cube_root(x, toe):
    """As `diffquant.color.cube_root`, but for a few units in the last place. `np.cbrt` takes twice as long.

    The bits give a guess y at x^(-1/3); then twice the first terms of the series of y (1 - r)^(-1/3), r = 1 - x y^3.
    """
    if x < toe:
        return x * toe ** (-2 / 3)
    y = np.int64(GUESS - np.float64(x).view(np.int64) // 3).view(np.float64)
    r = 1 - x * y * y * y
    y += y * r * (1 / 3 + r * (2 / 9 + r * (14 / 81 + r * (35 / 243))))
    r = 1 - x * y * y * y
    y += y * r * (1 / 3 + r * (2 / 9))
    return x * y * y


@numba.njit(cache=True, nogil=True, inline="always")
@no_type_check
def nearest(matcher, r, g, b):
    """The entry nearest in OkLab to a colour in linear light, clipped to the gamut; of equals the first."""
    r, g, b = min(max(r, 0.0), 1.0), min(max(g, 0.0), 1.0), min(max(b, 0.0), 1.0)
    cones, roots = matcher.cones, matcher.roots
    long = cube_root(cones[0, 0] * r + cones[0, 1] * g + cones[0, 2] * b, matcher.toe)
    medium = cube_root(cones[1, 0] * r + cones[1, 1] * g + cones[1, 2] * b, matcher.toe)
    short = cube_root(cones[2, 0] * r + cones[2, 1] * g + cones[2, 2] * b, matcher.toe)
    x = roots[0, 0] * long + roots[0, 1] * medium + roots[0, 2] * short
    y = roots[1, 0] * long + roots[1, 1] * medium + roots[1, 2] * short
    z = roots[2, 0] * long + roots[2, 1] * medium + roots[2, 2] * short
    i, j, m = int((x - CORNER[0]) * PER_UNIT), int((y - CORNER[1]) * PER_UNIT), int((z - CORNER[2]) * PER_UNIT)
    cell = (i * CELLS[1] + j) * CELLS[2] + m
    oklab, best, least = matcher.oklab, 0, np.inf
    for at in range(matcher.starts[cell], matcher.starts[cell + 1]):
        n = matcher.candidates[at]
        distance = (oklab[n, 0] - x) ** 2 + (oklab[n, 1] - y) ** 2 + (oklab[n, 2] - z) ** 2
        if distance < least:
            best, least = n, distance
    return best


@numba.njit(cache=True, nogil=True, inline="always")
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


@numba.njit(cache=True, nogil=True)
@no_type_check
def diffuse_by_rows(linear, matcher, down, across, weights, serpentine):
    """Indices [h w]; errors go `down` rows and `across` columns by `weights`, across mirrored in rows that go back."""
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


@numba.njit(cache=True, nogil=True, parallel=True)
@no_type_check
def mix(linear, matcher, mask, parts, strength):
    """Indices [h w]; of a mixture of `parts` colours at each pixel the one that the mask [a b] picks."""
    height, width = linear.shape[:2]
    indices = np.empty((height, width), np.uint8)
    for y in numba.prange(height):
        mixture = np.empty(parts, np.uint8)  # by lightness
        for x in range(width):
            red, green, blue = 0.0, 0.0, 0.0  # owed
            rank = mask[y % mask.shape[0], x % mask.shape[1]] * parts
            ahead = int((rank - int(rank)) * parts)
            for n in range(-ahead, parts):
                entry, r, g, b = settle(matcher, linear[y, x], red, green, blue, False)  # faithful: twice as long
                red, green, blue = strength * r, strength * g, strength * b
                if n < 0:
                    continue
                at = n
                while at > 0 and matcher.oklab[mixture[at - 1], 0] > matcher.oklab[entry, 0]:
                    mixture[at] = mixture[at - 1]
                    at -= 1
                mixture[at] = entry
            indices[y, x] = mixture[int(rank)]
    return indices


@numba.njit(cache=True, nogil=True)
@no_type_check
def diffuse_along(linear, matcher, order, weights):
    """Indices [h w]; rows and columns come in `order` [n 2], the errors of the last pixels count by `weights`."""
    memory = len(weights)
    errors = np.zeros((memory, 3))  # a ring
    indices = np.empty(linear.shape[:2], np.uint8)
    for n in range(len(order)):
        y, x = order[n, 0], order[n, 1]
        r, g, b = 0.0, 0.0, 0.0
        for age in range(memory):
            error = errors[(n - 1 - age) % memory]
            r += weights[age] * error[0]
            g += weights[age] * error[1]
            b += weights[age] * error[2]
        entry, r, g, b = settle(matcher, linear[y, x], r, g, b, True)
        indices[y, x] = entry
        errors[n % memory, 0], errors[n % memory, 1], errors[n % memory, 2] = r, g, b
    return indices
