"""Hard pictures under any losses: the loss, its slope in each pixel's light, its curvature.

What the losses make of the target is computed once.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from diffquant import color
from diffquant.export import polish
from diffquant.export.lattice import Grid
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import Loss, judged, prepared
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once
from diffquant.schedules import value
from diffquant.signal.filters import blur, gaussian_kernel

PROBE = 0.03  # OkLab: about the error of a pixel that is dithered
NEAR = gaussian_kernel(2.0)  # pixels over which curvature is averaged: one random sign says nothing

Index = Int[Array, "h w"]
Colors = Float[Array, "k 3"]
Weighted = tuple[Loss, ...]


@dataclasses.dataclass(frozen=True)
class Found:
    """A hard picture, its loss, and the slope of that."""

    index: Index
    colors: Colors
    loss: float
    slope: Image  # of the loss, in the picture's light


@dataclasses.dataclass(frozen=True)
class Problem:
    """What does not change while the indices do. `free` is 0 for entries that stay; the palette bends as `eye` does."""

    target: Image
    losses: tuple[Loss, ...]
    weights: Float[np.ndarray, " n"]
    free: Float[np.ndarray, " k"]
    eye: BlurError
    grid: Grid
    quadratic: polish.Quadratic | None  # none: the palette stays
    held: Bool[Array, "h w"] | bool = False  # pixels that stay

    @functools.cached_property
    def prepared(self) -> tuple[Any, ...]:
        """What the losses make of the target."""
        return prepared(self.losses, self.target)

    @property
    def changing(self) -> int:
        """Pixels that do not stay."""
        return self.target[0].size - int(jnp.sum(self.held))

    def at(self, index: Index, colors: Colors) -> Found:
        """Judge a picture."""
        (loss, _), slope = _judge(_light(index, colors), index, colors, self.prepared, self.weights, self.losses)
        return Found(index, colors, float(loss), slope)


def weights_of(
    losses: Sequence[Loss], index: Index, colors: Colors, target: Image, *, relative: bool
) -> Float[np.ndarray, " n"]:
    """The losses' final weights; `relative` divides each by its loss for this picture, so that weights are shares."""
    weights = final_weights(losses)
    return weights / np.maximum(values_of(losses, index, colors, target), 1e-12) if relative else weights


def final_weights(losses: Sequence[Loss]) -> Float[np.ndarray, " n"]:
    """Those that schedules end with."""
    return np.array([value(loss.weight, jnp.float32(1)) for loss in losses], np.float32)


def values_of(losses: Sequence[Loss], index: Index, colors: Colors, target: Image) -> Float[np.ndarray, " n"]:
    """Each loss of a picture, unweighted."""
    seen, weights = prepared(tuple(losses), target), final_weights(losses)
    (_, values), _ = _judge(_light(index, colors), index, colors, seen, weights, tuple(losses))
    return np.asarray(values)


def curvature_of(found: Found, problem: Problem, key: jax.Array) -> Float[Array, "6 h w"]:
    """Second derivative of the loss in each pixel's light, which is diagonal along OkLab's axes.

    Measured by how the slope answers to random signs, one axis at a time.
    """
    axes = []
    for axis, one in enumerate(jax.random.split(key, 3)):
        light, moved = _probe(found.index, found.colors, axis, one)
        (_, _), slope = _judge(moved, found.index, found.colors, problem.prepared, problem.weights, problem.losses)
        axes.append(_secant(slope - found.slope, moved - light))
    return _form(found.index, found.colors, jnp.stack(axes))


@jax.jit
def _light(index: Index, colors: Colors) -> Image:
    return jnp.moveaxis(colors[index], -1, 0)


@traced_once(static=("losses",))
def _judge(
    light: Image, index: Index, colors: Colors, seen: tuple[Any, ...], weights: Float[Array, " n"], losses: Weighted
) -> tuple[tuple[Scalar, Float[Array, " n"]], Image]:
    """Weighted sum of the losses of a certain picture, the unweighted losses, and the slope in its light."""
    usage = jnp.bincount(index.reshape(-1), length=len(colors)) / index.size
    bits = -jnp.sum(usage * jnp.log2(jnp.maximum(usage, 1e-12))) * index.size
    nothing = jnp.zeros(index.shape)

    def total(light: Image) -> tuple[Scalar, Float[Array, " n"]]:
        rendered = Rendered(
            image=light, covariance=jnp.broadcast_to(nothing, (6, *index.shape)), entropy=nothing, bits=bits
        )
        parts = judged(losses, rendered, seen)
        return jnp.vdot(weights, parts), parts

    return jax.value_and_grad(total, has_aux=True)(light)


@traced_once(static=("axis",))
def _probe(index: Index, colors: Colors, axis: int, key: jax.Array) -> tuple[Image, Image]:
    """The picture, and the same with a random sign times PROBE added to every pixel along one axis of OkLab."""
    light = jnp.moveaxis(colors[index], -1, 0)
    oklab = jnp.stack(color.oklab_planes(light))
    moved = oklab.at[axis].add(PROBE * jax.random.rademacher(key, index.shape, oklab.dtype))
    return light, color.linear_from_oklab(moved)


@jax.jit
def _secant(answer: Image, move: Image) -> Float[Array, "h w"]:
    return jnp.maximum(blur(jnp.sum(answer * move, axis=0)[None] / PROBE**2, NEAR)[0], 0.0)


@traced_once()
def _form(index: Index, colors: Colors, axes: Float[Array, "3 h w"]) -> Float[Array, "6 h w"]:
    """J^T diag(axes) J, J = d OkLab / d light: upper triangle."""
    jacobian = jax.vmap(jax.jacfwd(lambda light: jnp.stack(color.oklab_planes(light))))(colors)
    products = jnp.stack([jacobian[:, :, i] * jacobian[:, :, j] for i, j in color.UPPER], axis=1)  # [k 6 axis]
    return jnp.einsum("chw,hwec->ehw", axes, products[index])
