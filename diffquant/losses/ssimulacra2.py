"""SSIMULACRA2 as a loss.

Sneyers, "SSIMULACRA 2" (Cloudinary, 2022), as in libjxl 0.11, tools/ssimulacra2.cc. It judges the expected image and is
blind to its variance. `Ssimulacra2.score` turns the loss into `diffquant.metrics`' value.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.color import xyb_planes
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import Loss
from diffquant.signal.filters import blur
from diffquant.signal.ssimulacra2 import FLOOR, KERNEL, points, scale_weights

UNIT = 20.0
LEAST_MEAN = 1e-36  # of fourth powers: a 4-norm of 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ssimulacra2(Loss):
    """The weighted sum of norms of which SSIMULACRA2's score is made, over 20: about 0.3 at score 50 and 1 at 0.

    The score itself is no good as a loss: its slope is infinite at 100, and almost 0 at -64. Where a side is below 8
    pixels the metric is undefined, and the loss is of the finest scale.
    """

    def prepare(self, target: Image) -> Any:
        """Its planes and their local means, finest scale first."""
        found, x = [], target
        for _ in scale_weights(*target.shape[1:]):
            planes = jnp.stack(xyb_planes(x))
            found.append((planes, blur(planes, KERNEL, "zero")))
            x = _halved(x)
        return found

    def judge(self, rendered: Rendered, prepared: Any) -> Scalar:
        """Zero up to rounding for equal images, where the gradient is finite too."""
        total, y = jnp.zeros(()), rendered.image
        for (x, mean_x), weights in zip(prepared, scale_weights(*y.shape[1:]), strict=True):
            total += _weighted_norms(x, mean_x, jnp.stack(xyb_planes(y)), weights)
            y = _halved(y)
        return total / UNIT

    @staticmethod
    def score(loss: float) -> float:
        """The metric's value, at most 100, of a picture with that loss."""
        return points(UNIT * loss)


def _weighted_norms(x: Image, mean_x: Image, y: Image, weights: Float[np.ndarray, "3 6"]) -> Scalar:
    """At one scale. Lost structure is written with the variance of the difference, as in the metric, for float32."""
    moments = blur(jnp.concatenate([y, x * x + y * y, jnp.square(x - y)]), KERNEL, "zero")
    mean_y, squares, difference = jnp.split(moments, 3)
    shift = jnp.square(mean_x - mean_y)
    variances = squares - (mean_x * mean_x + mean_y * mean_y)
    structure = _positive(shift + (1 - shift) * (difference - shift) / (variances + FLOOR))
    edges_x, edges_y = jnp.abs(x - mean_x), jnp.abs(y - mean_y)
    change = (edges_y - edges_x) / (1 + edges_x)
    maps = [structure, _positive(change), _positive(-change)]
    norms = [jnp.mean(plane, axis=(1, 2)) for plane in maps] + [_fourth_norm(plane) for plane in maps]
    return jnp.vdot(jnp.asarray(weights.T, x.dtype), jnp.stack(norms))


def _positive(planes: Image) -> Image:
    """What is above 0; unlike `jnp.maximum`'s, the slope at 0 is 0."""
    return jnp.where(planes > 0, planes, 0)


def _fourth_norm(planes: Image) -> Float[Array, "3"]:
    """Of each plane. Below 1e-9 it is 0, so that the slope is finite."""
    mean = jnp.mean(jnp.square(jnp.square(planes)), axis=(1, 2))
    return jnp.sqrt(jnp.sqrt(jnp.maximum(mean, LEAST_MEAN))) - LEAST_MEAN**0.25


def _halved(planes: Image) -> Float[Array, "3 rows columns"]:
    """Means of 2x2; an odd last row or column counts twice."""
    _, h, w = planes.shape
    even = jnp.pad(planes, ((0, 0), (0, h % 2), (0, w % 2)), mode="edge")
    return even.reshape(3, (h + 1) // 2, 2, (w + 1) // 2, 2).mean(axis=(2, 4))
