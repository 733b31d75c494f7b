"""Exact descent on hard indices under a multi-scale blur error, with the palette re-fitted in between.

This is direct binary search (Analoui and Allebach, 1992) for any number of colours, several eye widths and a perceptual
metric. With y the picture, x the target, B_s the blur of scale s and W_s the metric at the blurred target, the loss is

    Q = sum_s w_s sum_p e_s' W_s e_s,    e_s = B_s (y - x),

OkLab's squared distance to first order. Moving one pixel's light by d changes it by exactly 2 d.g + d.A d, where
g = sum_s w_s B_s W_s e_s and A is the pixel's own curvature. Pixels of one phase of a LATTICE x LATTICE grid move at
once, each to the best of all colours; only they are evaluated. `e_s` is kept up to date by spreading the moves.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from diffquant import color
from diffquant.export.lattice import LATTICE, Grid, bands_of, gather, spread
from diffquant.interfaces import Image, Scalar
from diffquant.losses.blur import BlurError
from diffquant.signal.filters import blur


class Scale(NamedTuple):
    """One width of the eye: banded blur of both axes by phase, weighted metric (in the frame), and the kernel."""

    rows: Float[Array, "p m t"]
    columns: Float[Array, "p n t"]
    metric: Float[Array, "6 H W"]


class Quadratic(NamedTuple):
    """The loss Q around a target: everything that does not change while the picture does."""

    target: Float[Array, "3 h w"]
    scales: tuple[Scale, ...]
    curvature: Float[Array, "p p 6 m n"]
    raw: Float[Array, "6 h w"]  # metric of the unblurred error, for `detail`


def quadratic(target: Image, eye: BlurError, grid: Grid) -> Quadratic:
    """Q for this `target` under this `eye`."""
    scales = tuple(
        Scale(*bands_of(grid, kernel), grid.frame(weight * eye.metric(blur(target, kernel))))
        for weight, kernel in eye.scales()
    )
    return Quadratic(target, scales, grid.split(eye.curvature(target)), eye.metric(target))


def grid_of(shape: tuple[int, ...], eye: BlurError) -> Grid:
    """The frame that the largest kernel of `eye` needs around an image [c h w]."""
    reach = max(len(kernel) // 2 for _, kernel in eye.scales())
    return Grid(shape[1], shape[2], -(-reach // LATTICE) * LATTICE)


def _errors(picture: Image, problem: Quadratic, eye: BlurError, grid: Grid) -> tuple[Float[Array, "3 H W"], ...]:
    return tuple(grid.frame(blur(picture - problem.target, kernel)) for _, kernel in eye.scales())


def _weigh(metric: Float[Array, "6 H W"], error: Float[Array, "3 H W"]) -> Float[Array, "3 H W"]:
    return jnp.stack(color.apply_symmetric(metric, error))


def _best(linear: Float[Array, "3 m n"], curvature: Float[Array, "6 m n"], palette: Float[Array, "k 3"]) -> Array:
    """Index of the colour c that makes `linear . c + c . curvature c` least, at every site."""

    def better(best: tuple[Array, Array, Array], c: Array) -> tuple[tuple[Array, Array, Array], None]:
        cost, choice, k = best
        bent = color.apply_symmetric(curvature, c)
        here = sum(c[i] * (linear[i] + bent[i]) for i in range(3))
        return (jnp.minimum(cost, here), jnp.where(here < cost, k, choice), k + 1), None

    shape = linear.shape[1:]
    start = (jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32), jnp.int32(0))
    return jax.lax.scan(better, start, palette)[0][1]


def sweep(
    indices: Int[Array, "p p m n"],
    palette: Float[Array, "k 3"],
    problem: Quadratic,
    eye: BlurError,
    grid: Grid,
    order: Int[Array, " q"],
    detail: Scalar | float = 0.0,
) -> Int[Array, "p p m n"]:
    """Every pixel once, phase by phase in `order`, each to its best colour given the others.

    `detail` weighs the unblurred error, added to Q: it keeps pixels near their own colour.
    """
    raw, target = grid.split(problem.raw), grid.split(problem.target)
    picture = grid.join(jnp.moveaxis(palette[indices], -1, 2))

    def phase(i: Array, state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
        indices, errors = state
        at = (order[i] // LATTICE, order[i] % LATTICE)
        gradient = sum(
            gather(
                _weigh(grid.window(scale.metric, at), grid.window(error, at)),
                (scale.rows[at[0]], scale.columns[at[1]]),
                grid,
            )
            for scale, error in zip(problem.scales, errors, strict=True)
        )
        old = indices[at]
        light = jnp.moveaxis(palette[old], -1, 0)
        curvature, own = problem.curvature[at], detail * raw[at]
        pull = _weigh(curvature, light) + _weigh(own, target[at])
        new = _best(2 * (gradient - pull), curvature + own, palette)
        moves = jnp.moveaxis(palette[new], -1, 0) - light
        updated = []
        for scale, error in zip(problem.scales, errors, strict=True):
            change = spread(moves, (scale.rows[at[0]], scale.columns[at[1]]), grid)
            window = grid.window(error, at) + change
            updated.append(jax.lax.dynamic_update_slice(error, window, (0, *at)))
        return indices.at[at].set(new), tuple(updated)

    start = (indices, _errors(picture, problem, eye, grid))
    return jax.lax.fori_loop(0, LATTICE * LATTICE, phase, start)[0]


def loss(
    indices: Int[Array, "p p m n"], palette: Float[Array, "k 3"], problem: Quadratic, eye: BlurError, grid: Grid
) -> Scalar:
    """Q of a hard picture, per pixel."""
    picture = grid.join(jnp.moveaxis(palette[indices], -1, 2))
    errors = _errors(picture, problem, eye, grid)
    terms = [jnp.sum(e * _weigh(scale.metric, e)) for e, scale in zip(errors, problem.scales, strict=True)]
    return jnp.sum(jnp.stack(terms)) / (grid.h * grid.w)


def refit(
    indices: Int[Array, "p p m n"],
    palette: Float[Array, "k 3"],
    free: Float[Array, " k"],
    problem: Quadratic,
    eye: BlurError,
    grid: Grid,
    steps: Int[Array, ""] | int = 4,
    detail: Scalar | float = 0.0,
) -> Float[Array, "k 3"]:
    """The palette that minimises Q for these indices: least squares by a few steps of conjugate gradients.

    Entries whose `free` is 0 stay. Preconditioned with the curvature of each entry's pixels, taken alone.
    """
    flat = grid.join(indices[:, :, None])[0].reshape(-1)
    k = palette.shape[0]

    def gather_entries(planes: Float[Array, "c h w"]) -> Float[Array, "k c"]:
        return jax.ops.segment_sum(planes.reshape(planes.shape[0], -1).T, flat, num_segments=k)

    def gradient(light: Float[Array, "3 h w"]) -> Float[Array, "k 3"]:
        total = detail * _weigh(problem.raw, light) + sum(
            blur(_weigh(grid.crop(scale.metric), blur(light, kernel)), kernel)
            for scale, (_, kernel) in zip(problem.scales, eye.scales(), strict=True)
        )
        return gather_entries(total) * free[:, None]

    def picture(colors: Float[Array, "k 3"]) -> Float[Array, "3 h w"]:
        return jnp.moveaxis(colors[flat].reshape(grid.h, grid.w, 3), -1, 0)

    own = gather_entries(grid.join(problem.curvature) + detail * problem.raw)
    blocks = jnp.stack([own[:, [0, 1, 2]], own[:, [1, 3, 4]], own[:, [2, 4, 5]]], axis=1)
    scale = jnp.maximum(jnp.trace(blocks, axis1=1, axis2=2), 1e-12)
    inverse = jnp.linalg.inv(blocks + 1e-3 * scale[:, None, None] * jnp.eye(3)[None])

    def precondition(residual: Float[Array, "k 3"]) -> Float[Array, "k 3"]:
        return jnp.einsum("kij,kj->ki", inverse, residual)

    def step(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
        colors, residual, direction, power = state
        image = gradient(picture(direction))
        length = power / jnp.maximum(jnp.vdot(direction, image), 1e-30)
        residual = residual - length * image
        conditioned = precondition(residual)
        remaining = jnp.vdot(residual, conditioned)
        turned = conditioned + remaining / jnp.maximum(power, 1e-30) * direction
        return colors + length * direction, residual, turned, remaining

    residual = -gradient(picture(palette) - problem.target)
    conditioned = precondition(residual)
    start = (palette, residual, conditioned, jnp.vdot(residual, conditioned))
    return jnp.clip(jax.lax.fori_loop(0, steps, step, start)[0], 0.0, 1.0)
