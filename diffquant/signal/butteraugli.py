"""Butteraugli: how far two pictures differ for a model of the eye, at each pixel and on the whole.

Alakuijala et al., libjxl 0.11, lib/jxl/butteraugli/butteraugli.cc. Constants are libjxl's, with nine digits; parameters
are those of its tool: 80 nits for linear light 1, added detail as bad as lost, neutral weight of red-green.
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.interfaces import Image, Scalar
from diffquant.signal.filters import weighted_sum
from diffquant.signal.malta import DENSE, SPARSE, line_energy
from diffquant.signal.opsin import Bands, Plane, bands, smoothed

LEAST_SIDE = 8  # pixels: smaller pictures grow to it
TWO_SCALES = 15  # pixels a side: from here on the picture is compared at half its size too
HALF_SIZE_WEIGHT, FULL_SIZE_WEIGHT = 0.5, 0.85
LEAST_DISTANCE = 1e-4  # below it is what rounding makes of equal pictures: counts as 0
LEAST_STRENGTH = 1e-6  # of detail: the same

# Of squared differences of X, Y and B in a band.
LOW_GAINS, LOW_WEIGHTS, Y_IN_B = (
    (33.8328372, 14.4582681, 49.8798465),
    (29.2353798, 0.844626971, 0.703646628),
    0.362267052,
)
MIDDLE_WEIGHTS = (2150.0, 10.6195433, 16.2176043)
HIGH_WEIGHTS, HIGH_FADED = (320.0, 1.20652562), 0.4  # outside 0.4 to 1 of the reference a difference counts again

# Of squared sums along lines: weights, and the strengths of detail that halve a difference. X and Y of each band.
ULTRA_LINES = ((173.5, 5.0), (1.10039033, 71.7800275))
HIGH_LINES = ((6923.99476, 8051.15833), (18.7237414, 4498534.45))
MIDDLE_LINES = ((8246.75321, 1009002.71), (37.0819870, 130262060.0))
DENSE_GAIN, SPARSE_GAIN = 0.399058176 / 8.5, 0.611612574 / 8.5  # 8.5 is the length of a line
DIFFERENCE_SHARE, OUTSIDE_SHARE = 0.5, 0.33  # of the weight
FADED, EXAGGERATED = 0.55, 1.05  # of the reference: what is outside counts again

# Masking: where the reference is busy, differences are hard to see.
ACTIVE_X, ACTIVE_Y = 2.5, 0.4
ACTIVITY_GAIN, ACTIVITY_BIAS, ACTIVITY_SIGMA = 6.19424081, 12.6105059, 2.7
ACTIVITY_WEIGHT = 10.0  # of its own squared difference
CALM_DISTANCE, CALM_SHARES = 3, (0.45, 0.3, 0.25)  # pixels; of the three calmest places near
VISIBILITY = 1 / (17.83 * 0.790799174)  # of a unit of difference in the busiest place
DETAIL_MASK = (2.54859448, 0.451936922, 0.829591755)  # gain, slope, offset
LOW_MASK = (0.505054525, 3.87449419, 0.200255785)


class Seen(NamedTuple):
    """What a picture that others are compared with is to the eye, at one scale."""

    bands: Bands
    activity: Plane
    detail_mask: Plane  # what a squared difference weighs
    low_mask: Plane


def distance_map(reference: Image, decoded: Image) -> Plane:
    """Distance at each pixel of linear light: 0 for equal pictures, about 1 where a difference begins to be seen.

    Differentiable in `decoded` only, with a finite slope everywhere. As in libjxl, a side below 8 pixels is extended to
    8 by repeating the border.
    """
    return distance_from(seen_in(reference), decoded)


def seen_in(reference: Image) -> tuple[Seen, ...]:
    """All that `distance_from` must know of the picture that others are compared with: one scale, or two."""
    _, h, w = reference.shape
    full = _extended(jax.lax.stop_gradient(reference))
    return tuple(map(_seen, (full,) if min(h, w) < TWO_SCALES else (full, _halved(full))))


def distance_from(seen: tuple[Seen, ...], decoded: Image) -> Plane:
    """The `distance_map` of a picture that was `seen_in` advance."""
    _, h, w = decoded.shape
    full = _extended(decoded)
    distance = _distance_at_one_scale(seen[0], full)
    if len(seen) == 2:
        coarse = _distance_at_one_scale(seen[1], _halved(full))
        distance = FULL_SIZE_WEIGHT * distance + HALF_SIZE_WEIGHT * _doubled(coarse)[:h, :w]
    (top, _), (left, _) = _margins(h, w)
    return distance[top : top + h, left : left + w]


def three_norm(distance: Plane) -> Scalar:
    """The mean of the map's 3-, 6- and 12-norm: one number for a picture, as libjxl's tool prints it."""
    largest = jnp.maximum(jax.lax.stop_gradient(jnp.max(distance)), LEAST_DISTANCE)  # taken out: no power overflows
    cubes = (distance / largest) ** 3
    some = jnp.max(distance) > 0
    means = [(jnp.where(some, jnp.mean(cubes**power), 1), 3 * power) for power in (1, 2, 4)]
    first, second, third = (mean ** (1 / degree) for mean, degree in means)
    return jnp.where(some, largest * (first + second + third) / 3, 0)


def _margins(h: int, w: int) -> list[tuple[int, int]]:
    """Rows and columns that a picture lacks, before and after."""
    missing = [max(LEAST_SIDE - side, 0) for side in (h, w)]
    return [(n // 2, n - n // 2) for n in missing]


def _extended(planes: Image) -> Float[Array, "3 rows columns"]:
    return jnp.pad(planes, [(0, 0), *_margins(*planes.shape[1:])], mode="edge")


def _halved(planes: Image) -> Float[Array, "3 rows columns"]:
    """Means of 2x2; an odd last row or column counts twice."""
    _, h, w = planes.shape
    even = jnp.pad(planes, ((0, 0), (0, h % 2), (0, w % 2)), mode="edge")
    return even.reshape(3, (h + 1) // 2, 2, (w + 1) // 2, 2).mean(axis=(2, 4))


def _doubled(plane: Plane) -> Float[Array, "rows columns"]:
    h, w = plane.shape
    return jnp.broadcast_to(plane[:, None, :, None], (h, 2, w, 2)).reshape(2 * h, 2 * w)


def _seen(reference: Image) -> Seen:
    seen = bands(reference)
    activity = _activity(seen)
    calm = _calmest_near(activity)
    return Seen(seen, activity, _mask(calm, DETAIL_MASK), _mask(calm, LOW_MASK))


def _distance_at_one_scale(seen: Seen, decoded: Image) -> Plane:
    shown = bands(decoded)
    change = jnp.square(seen.activity - _activity(shown))
    detail = _detail_difference(seen.bands, shown) + ACTIVITY_WEIGHT * change
    return _root(seen.detail_mask * detail + seen.low_mask * _low_difference(seen.bands, shown), LEAST_DISTANCE)


def _root(plane: Plane, least: float) -> Plane:
    """Square root; where it is below `least` it is 0, and so is the slope."""
    enough = plane > least**2
    return jnp.where(enough, jnp.sqrt(jnp.where(enough, plane, 1)), 0)


def _positive(planes: Float[Array, "..."]) -> Float[Array, "..."]:
    """What is above 0; unlike `jnp.maximum`'s, the slope at 0 is 0."""
    return jnp.where(planes > 0, planes, 0)


def _low_difference(seen: Bands, shown: Bands) -> Plane:
    x, y, b = (a - b for a, b in zip(seen.low, shown.low, strict=True))
    squares = (jnp.square(gain * plane) for gain, plane in zip(LOW_GAINS, (x, y, b - Y_IN_B * y), strict=True))
    return weighted_sum(zip(squares, LOW_WEIGHTS, strict=True))


def _detail_difference(seen: Bands, shown: Bands) -> Plane:
    middle = map(jnp.square, map(jnp.subtract, seen.middle, shown.middle))
    high = map(_lopsided_square, seen.high, shown.high)
    fine = _lopsided(seen.ultra, shown.ultra, DENSE_GAIN, ULTRA_LINES)
    seen_coarse, shown_coarse = ((*picture.high, *picture.middle[:2]) for picture in (seen, shown))
    coarse = _lopsided(seen_coarse, shown_coarse, SPARSE_GAIN, (*HIGH_LINES, *MIDDLE_LINES))
    squares = weighted_sum(zip((*middle, *high), (*MIDDLE_WEIGHTS, *HIGH_WEIGHTS), strict=True))
    return squares + line_energy(fine, DENSE) + line_energy(coarse, SPARSE)


def _lopsided_square(seen: Plane, shown: Plane) -> Plane:
    size, along = jnp.abs(seen), jnp.where(seen < 0, -shown, shown)
    outside = jnp.square(_positive(HIGH_FADED * size - along)) + jnp.square(_positive(along - size))
    return jnp.square(size - along) + outside


def _lopsided(
    seen: tuple[Plane, ...], shown: tuple[Plane, ...], gain: float, lines: tuple[tuple[float, float], ...]
) -> Float[Array, "n h w"]:
    """The differences, and more of them where detail has faded or is exaggerated; less where it is strong."""
    a, b = jnp.stack(seen), jnp.stack(shown)
    weights, strengths = np.array(lines, a.dtype).T[..., None, None]
    size, along = jnp.abs(a), jnp.where(a < 0, -b, b)
    outside = _positive(FADED * size - along) - _positive(along - EXAGGERATED * size)
    whole = np.sqrt(DIFFERENCE_SHARE * weights) * (size - along) + np.sqrt(OUTSIDE_SHARE * weights) * outside
    scaled = gain * whole / (1 + (size + jnp.abs(b)) / (2 * strengths))
    return jnp.where(a < 0, -scaled, scaled)


def _activity(picture: Bands) -> Plane:
    (high_x, high_y), (ultra_x, ultra_y) = picture.high, picture.ultra
    strength = _root(
        jnp.square(ACTIVE_X * (high_x + ultra_x)) + jnp.square(ACTIVE_Y * (high_y + ultra_y)), LEAST_STRENGTH
    )
    compressed = jnp.sqrt(ACTIVITY_GAIN * (strength + ACTIVITY_BIAS)) - math.sqrt(ACTIVITY_GAIN * ACTIVITY_BIAS)
    return smoothed(compressed[None], ACTIVITY_SIGMA)[0]


def _calmest_near(activity: Plane) -> Plane:
    """A mean of the three least of: the pixel, its double (twice) and the eight places around it."""
    h, w = activity.shape
    padded = jnp.pad(activity, CALM_DISTANCE, constant_values=jnp.inf)
    least, second, third = activity, 2 * activity, 2 * activity
    for y, x in itertools.product((0, CALM_DISTANCE, 2 * CALM_DISTANCE), repeat=2):
        if (y, x) != (CALM_DISTANCE, CALM_DISTANCE):
            place = padded[y : y + h, x : x + w]
            third = jnp.minimum(third, jnp.maximum(second, place))
            second = jnp.minimum(second, jnp.maximum(least, place))
            least = jnp.minimum(least, place)
    return weighted_sum(zip((least, second, third), CALM_SHARES, strict=True))


def _mask(activity: Plane, shape: tuple[float, float, float]) -> Plane:
    """What a squared difference weighs beside that activity."""
    gain, slope, offset = shape
    return jnp.square(VISIBILITY * (1 + gain / (slope * activity + offset)))
