"""What levels are worth: the losses of the picture that a decoder makes of them, and their slopes."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.jpeg.decoder import decode, linear_light
from diffquant.jpeg.geometry import ZIGZAG, Geometry
from diffquant.losses.base import Loss, judged, prepared
from diffquant.programs import traced_once

NATURAL = np.argsort(ZIGZAG)  # place in zigzag order of each natural position

Levels = Int[np.ndarray, "_ 64"]  # a block in each row, zigzag; components differ in their number
Plane = Float[np.ndarray, "_ 64"]
Steps = tuple[Float[np.ndarray, "64"], ...]  # whole numbers, zigzag


def zigzag(blocks: np.ndarray) -> np.ndarray:
    """[rows columns 8 8] to [n 64]."""
    return np.ascontiguousarray(blocks.reshape(-1, 64)[:, ZIGZAG])


def natural(rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of `zigzag`."""
    return np.ascontiguousarray(rows[:, NATURAL]).reshape(*shape, 8, 8)


@dataclasses.dataclass(frozen=True)
class Found:
    """Levels and tables, the loss of their picture, and its slope in each level."""

    levels: tuple[Levels, ...]
    steps: Steps
    loss: float
    slopes: tuple[Plane, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What does not change while the levels do.

    `ideal` are the coefficients of the picture itself; `inverse` [3 3] is R, G, B of the components; `price` is what
    the losses say that a bit costs.
    """

    target: Image
    losses: tuple[Loss, ...]
    weights: Float[np.ndarray, " losses"]
    geometry: Geometry
    ideal: tuple[Plane, ...]
    inverse: Float[np.ndarray, "3 3"]
    price: float = 0.0

    @functools.cached_property
    def prepared(self) -> tuple[Any, ...]:
        """What the losses make of the target."""
        return prepared(self.losses, self.target)

    def at(self, levels: Sequence[Levels], steps: Steps) -> Found:
        """Judge levels under tables."""
        (loss, _, _), slopes = self._judged(levels, steps)
        rows = tuple(
            (zigzag(np.asarray(slope)) * step).astype(np.float32) for slope, step in zip(slopes, steps, strict=True)
        )
        return Found(tuple(levels), tuple(steps), float(loss), rows)

    def normalized(self, levels: Sequence[Levels], steps: Steps, bits: float, *, relative: bool) -> "Problem":
        """With the price of a bit; `relative` divides each weight by that loss for these levels of so many bits."""
        (_, parts, price), _ = self._judged(levels, steps, bits)
        if not relative:
            return dataclasses.replace(self, price=float(price))
        weights = (self.weights / np.maximum(np.asarray(parts), 1e-12)).astype(np.float32)
        problem = dataclasses.replace(self, weights=weights)
        if price > 0:
            (_, _, price), _ = problem._judged(levels, steps, bits)
        return dataclasses.replace(problem, price=float(price))

    def _judged(
        self, levels: Sequence[Levels], steps: Steps, bits: float = 0.0
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        coefficients = tuple(
            natural((level * step).astype(np.float32), shape)
            for level, step, shape in zip(levels, steps, self.geometry.blocks, strict=True)
        )
        matrix = np.asarray(self.inverse, np.float32)
        return _judge(coefficients, np.float32(bits), self.prepared, self.weights, matrix, self.losses, self.geometry)


@traced_once(static=("losses", "geometry"))
def _judge(
    coefficients: tuple[Float[Array, "_ _ 8 8"], ...],
    bits: Scalar,
    seen: tuple[Any, ...],
    weights: Float[Array, " n"],
    inverse: Float[Array, "3 3"],
    losses: tuple[Loss, ...],
    geometry: Geometry,
) -> tuple[tuple[Scalar, Float[Array, " n"], Scalar], tuple[Array, ...]]:
    """The weighted sum, the unweighted losses, the slope of the sum in the bits; and that in each coefficient."""

    def total(coefficients: tuple[Array, ...], bits: Scalar) -> tuple[Scalar, Float[Array, " n"]]:
        image = linear_light(decode(coefficients, geometry, inverse))
        nothing = jnp.zeros(image.shape[1:])
        covariance = jnp.broadcast_to(nothing[None], (6, *nothing.shape))
        rendered = Rendered(image=image, covariance=covariance, entropy=nothing, bits=bits)
        parts = judged(losses, rendered, seen)
        return jnp.vdot(weights, parts), parts

    (loss, parts), (slopes, price) = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(coefficients, bits)
    return (loss, parts, price), slopes
