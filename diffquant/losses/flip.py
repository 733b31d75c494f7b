"""LDR-FLIP as a loss: how visible the difference is when two pictures alternate in place.

Andersson, Nilsson, Akenine-Möller, Oskarsson, Åström, Fairchild, "FLIP: a difference evaluator for alternating images"
(2020). It judges the expected image, and is blind to its variance. The loss is `diffquant.metrics`' value.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from diffquant.color import mix
from diffquant.interfaces import Image, Rendered
from diffquant.losses.base import LocalLoss
from diffquant.signal import flip as definition
from diffquant.signal.bank import Bank, Plane, filter_bank
from diffquant.signal.filters import Extent

SLACK = 1e-5  # of linear light: so far outside the gamut by rounding, colours still have a slope
INVISIBLE = 0.01  # of colour distance, in CIELAB's unit
FAINT = 1e-4  # of feature difference, where a black line on white makes about 1
TINY = 1e-12  # of squared lengths


class Seen(NamedTuple):
    """What the eye sees of a picture."""

    colors: list[Plane]
    edges: Plane
    points: Plane


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flip(LocalLoss):
    """The mean error, in [0, 1], of pictures seen at `pixels_per_degree`.

    Powers of the colour distance (0.7) and of the feature difference (0.5) have infinite slopes at 0. So where the
    colour distance d is below t = 0.01, the error is that at t, times (d / t)^2; likewise what a feature difference
    below 0.0001 adds.
    """

    pixels_per_degree: float = definition.PIXELS_PER_DEGREE

    def __post_init__(self) -> None:
        definition.filters(self.pixels_per_degree)  # refuses what it cannot be built for

    fills: ClassVar[bool] = True

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Plane:
        """Zero up to rounding for equal images, where the gradient is 0 too."""
        if extent is not None:
            raise ValueError("extent: found one, expected none: the filters do not know where a picture ends")
        bank = definition.filters(self.pixels_per_degree)
        x, y = _seen(rendered.image, bank), _seen(target, bank)
        lightness, a, b = (p - q for p, q in zip(x.colors, y.colors, strict=True))
        distance = jnp.abs(lightness) + _length(a, b)
        feature = jnp.maximum(jnp.abs(x.edges - y.edges), jnp.abs(x.points - y.points))
        contrast = _power(jnp.maximum(feature, FAINT) / 2**0.5, definition.FEATURE_EXPONENT) * _fade(feature, FAINT)
        error = _power(_color_error(jnp.maximum(distance, INVISIBLE)), 1 - contrast)
        return error * _fade(distance, INVISIBLE)

    def reach(self) -> int:
        """That of the widest filter."""
        return max(len(taps) // 2 for f in definition.filters(self.pixels_per_degree) for taps in (f.row, f.column))


def _seen(linear: Image, bank: Bank) -> Seen:
    opponent = tuple(mix(definition.OPPONENT_FROM_LINEAR, linear))
    *filtered, edge_x, edge_y, point_x, point_y = filter_bank(bank, opponent, "edge")
    light = jnp.clip(mix(definition.LINEAR_FROM_OPPONENT, jnp.stack(filtered)), -SLACK, 1 + SLACK)
    return Seen(definition.hunt_planes(light), _length(edge_x, edge_y), _length(point_x, point_y))


def _length(x: Plane, y: Plane) -> Plane:
    return jnp.sqrt(jnp.maximum(x * x + y * y, TINY))


def _fade(x: Plane, threshold: float) -> Plane:
    """1 from the threshold on; below it, falling to 0 with the square."""
    return jnp.square(jnp.minimum(x / threshold, 1))


def _color_error(distance: Plane) -> Plane:
    power = _power(distance, definition.COLOR_EXPONENT) / definition.LARGEST
    near = power * (definition.KNEE_ERROR / definition.KNEE)
    far = 1 - (1 - power) * ((1 - definition.KNEE_ERROR) / (1 - definition.KNEE))
    return jnp.where(power < definition.KNEE, near, far)


def _power(base: Plane, exponent: Plane | float) -> Plane:
    """Of positive numbers; ten times faster on a CPU than `**`."""
    return jnp.exp(exponent * jnp.log(base))
