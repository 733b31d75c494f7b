"""Descent on hard indices under any differentiable losses: propose by slope and curvature, accept by the losses.

With slope g in a pixel's light and curvature D along OkLab's axes, giving the pixel another entry changes the loss by
about g.d + (d.D d) / 2, d being the move in light. In each round the pixels that would gain most, each the best within
REACH of it, take their best entries all at once. Then the slope g' of the new picture tells what each has really
brought: (g + g').d / 2. Where the loss is quadratic along the way (the trapezoid rule) that is exact, and its sum over
the pixels is the change of the loss. Pixels that brought nothing go back, and are more cautious next time.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from diffquant import color
from diffquant.export import polish
from diffquant.export.lattice import Grid
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import Loss, prepared
from diffquant.losses.blur import BlurError
from diffquant.schedules import value
from diffquant.signal.filters import blur, gaussian_kernel

REACH, FARTHEST_REACH = 2, 16  # pixels: only one of so near ones changes in a round
PROBE = 0.03  # OkLab: about the error of a pixel that is dithered
NEAR = gaussian_kernel(2.0)  # pixels over which curvature is averaged: one random sign says nothing
WINDOW = 4  # rounds between two looks at the loss itself, each followed by a step of the palette
FRESH = 3  # windows between two measurements of the curvature
BOLD = 0.2  # factor of the curvature while pixels settle: try what might help
CAUTION, LEAST_CAUTION, MORE, LESS = 1.0, 0.5, 3.0, 0.7  # factor of a pixel's curvature, changed by failure and success
TRIES = 4  # entries that a pixel remembers to have tried
TRIAL, FARTHEST = 0.002, 10.0  # light: the palette's trial step; trial steps in one

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


def descend(
    index: Index, colors: Colors, problem: Problem, rounds: int, *, tolerance: float, key: jax.Array
) -> Iterator[tuple[float, Colors, Index]]:
    """Rounds of descent: (share done, palette in linear light, indices). The loss never rises, but by rounding once.

    The palette moves after every WINDOW of them. For the last third it is rounded as a file of 8 bits does it, and
    pixels settle. Goes over to that, or ends, when fewer than `tolerance` of the pixels are still proposed to change.
    """
    best = problem.at(index, colors)
    caution = jnp.full(index.shape, CAUTION)
    settling = max(rounds // 3, 1)
    moving = -(-(rounds - settling) // WINDOW)
    for done in range(moving):
        if done % FRESH == 0:
            curvature = _curvature(best, problem, jax.random.fold_in(key, done))
        found, caution, proposed = _window(best, problem, curvature, caution)
        if found.loss < best.loss:
            best = found
        else:
            caution = caution * MORE
        if problem.quadratic is not None:
            best = _moved(best, problem, problem.quadratic)
        yield (done + 1) * WINDOW / (moving * WINDOW + settling), best.colors, best.index
        if proposed < tolerance * problem.changing:
            break
    best = problem.at(best.index, jnp.asarray(_as_written(best.colors)))
    for share, index in _settle(best, problem, settling, tolerance, key):
        yield 1 - (1 - share) * settling / (moving * WINDOW + settling), best.colors, index


def _settle(
    best: Found, problem: Problem, rounds: int, tolerance: float, key: jax.Array
) -> Iterator[tuple[float, Index]]:
    """Until every pixel has tried its TRIES most promising other entries, or for so many rounds: share, indices.

    The slope is that of the picture as it is, in every round. What failed is not tried again until a pixel near it has
    changed. Where changes far away matter, or a pixel has more than TRIES other entries, one may still help.
    """
    tried = jnp.full((TRIES, *best.index.shape), -1, jnp.int32)
    caution, waiting = jnp.full(best.index.shape, BOLD), jnp.zeros(best.index.shape, bool) | problem.held
    curvature, reach = _curvature(best, problem, key), REACH
    for done in range(1, rounds + 1):
        proposed, chosen = _propose(best.index, best.colors, best.slope, curvature, caution, waiting, tried, reach)
        all_taken = problem.at(proposed, best.colors)
        index, _, _ = _accept(best.index, proposed, best.colors, best.slope, all_taken.slope, chosen, caution)
        found = min(problem.at(index, best.colors), all_taken, key=lambda candidate: candidate.loss)
        kept = found.index != best.index
        helped = found.loss < best.loss
        best = found if helped else best
        tried = _remember(tried, proposed, chosen & ~kept if helped else chosen, kept & helped)
        yield done / rounds, best.index
        if int(jnp.sum(chosen)) <= tolerance * problem.changing:
            if reach >= FARTHEST_REACH:
                return
            reach, tried = 2 * reach, jnp.full_like(tried, -1)  # they may have been in each other's way


def _as_written(colors: Colors) -> Float[np.ndarray, "k 3"]:
    return color.linear_from_srgb8(color.srgb8_from_linear(np.asarray(colors)))


def _window(
    found: Found, problem: Problem, curvature: Float[Array, "6 h w"], caution: Float[Array, "h w"]
) -> tuple[Found, Float[Array, "h w"], int]:
    """Rounds between two looks at the loss. Between them the slope is that of the last proposals, taken all.

    It is out of date where one of them went back, so pixels near those wait.
    """
    index, slope, colors = found.index, found.slope, found.colors
    waiting = jnp.zeros(index.shape, bool) | problem.held
    nothing, total = jnp.full((0, *index.shape), -1, jnp.int32), jnp.int32(0)
    for _ in range(WINDOW):
        proposed, chosen = _propose(index, colors, slope, curvature, caution, waiting, nothing, REACH)
        after = problem.at(proposed, colors).slope
        index, caution, unsure = _accept(index, proposed, colors, slope, after, chosen, caution)
        waiting = unsure | problem.held
        slope, total = after, total + jnp.sum(chosen)
    return problem.at(index, colors), caution, int(total)


def _moved(found: Found, problem: Problem, quadratic: polish.Quadratic) -> Found:
    """The palette after a step along the way that would be best if the losses bent as `eye` does.

    A trial step tells how they do bend along it, and so how far to go. The best of all three, which may be none.
    """
    slope = _palette_slope(found.index, found.slope, found.colors)
    way = _palette_way(found.index, slope, problem.free, quadratic, problem.eye, problem.grid)
    way = TRIAL * way / np.maximum(np.max(np.abs(way)), 1e-12)

    def at(length: float) -> Found:
        return problem.at(found.index, jnp.clip(found.colors + length * way, 0.0, 1.0))

    trial = at(1.0)
    descent = float(np.vdot(slope, way))
    bend = float(np.vdot(_palette_slope(trial.index, trial.slope, trial.colors), way)) - descent
    length = min(-descent / bend, FARTHEST) if bend > 0 else FARTHEST
    return min(found, trial, at(length), key=lambda candidate: candidate.loss)


def _curvature(found: Found, problem: Problem, key: jax.Array) -> Float[Array, "6 h w"]:
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


@functools.partial(jax.jit, static_argnames="losses")
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
        parts = jnp.stack([loss.judge(rendered, target) for loss, target in zip(losses, seen, strict=True)])
        return jnp.vdot(weights, parts), parts

    return jax.value_and_grad(total, has_aux=True)(light)


@functools.partial(jax.jit, static_argnames="axis")
def _probe(index: Index, colors: Colors, axis: int, key: jax.Array) -> tuple[Image, Image]:
    """The picture, and the same with a random sign times PROBE added to every pixel along one axis of OkLab."""
    light = jnp.moveaxis(colors[index], -1, 0)
    oklab = jnp.stack(color.oklab_planes(light))
    moved = oklab.at[axis].add(PROBE * jax.random.rademacher(key, index.shape, oklab.dtype))
    return light, color.linear_from_oklab(moved)


@jax.jit
def _secant(answer: Image, move: Image) -> Float[Array, "h w"]:
    return jnp.maximum(blur(jnp.sum(answer * move, axis=0)[None] / PROBE**2, NEAR)[0], 0.0)


@jax.jit
def _form(index: Index, colors: Colors, axes: Float[Array, "3 h w"]) -> Float[Array, "6 h w"]:
    """J^T diag(axes) J, J = d OkLab / d light: upper triangle."""
    jacobian = jax.vmap(jax.jacfwd(lambda light: jnp.stack(color.oklab_planes(light))))(colors)
    products = jnp.stack([jacobian[:, :, i] * jacobian[:, :, j] for i, j in color.UPPER], axis=1)  # [k 6 axis]
    return jnp.einsum("chw,hwec->ehw", axes, products[index])


@functools.partial(jax.jit, static_argnames="reach")
def _propose(
    index: Index,
    colors: Colors,
    slope: Image,
    curvature: Float[Array, "6 h w"],
    caution: Float[Array, "h w"],
    waiting: Bool[Array, "h w"],
    tried: Int[Array, "t h w"],
    reach: int,
) -> tuple[Index, Bool[Array, "h w"]]:
    """The best untried entry of the pixels that gain most among their neighbours, and which pixels those are."""
    light = jnp.moveaxis(colors[index], -1, 0)
    stiff = (0.5 * caution)[None] * curvature

    def better(best: tuple[Array, Array, Array], entry: Array) -> tuple[tuple[Array, Array, Array], None]:
        gain, choice, k = best
        move = [entry[c] - light[c] for c in range(3)]
        bent = color.apply_symmetric(stiff, move)
        change = sum(move[c] * (slope[c] + bent[c]) for c in range(3))
        change = jnp.where(jnp.any(tried == k, axis=0), 0.0, change)
        return (jnp.minimum(gain, change), jnp.where(change < gain, k, choice), k + 1), None

    start = (jnp.zeros(index.shape), index, jnp.int32(0))
    gain, choice, _ = jax.lax.scan(better, start, colors)[0]
    gain = jnp.where(waiting | jnp.any(tried[-1:] >= 0, axis=0), 0.0, gain)
    chosen = (gain < 0) & (gain <= _over(gain, reach, jax.lax.min, jnp.inf))
    return jnp.where(chosen, choice, index), chosen


@jax.jit
def _accept(
    old: Index,
    new: Index,
    colors: Colors,
    before: Image,
    after: Image,
    chosen: Bool[Array, "h w"],
    caution: Float[Array, "h w"],
) -> tuple[Index, Float[Array, "h w"], Bool[Array, "h w"]]:
    """Keep what helped. Also each pixel's caution, and which pixels must wait for a slope that is up to date."""
    brought = 0.5 * jnp.sum((before + after) * jnp.moveaxis(colors[new] - colors[old], -1, 0), axis=0)
    kept, failed = chosen & (brought < 0), chosen & (brought >= 0)
    caution = jnp.where(failed, MORE * caution, jnp.where(kept, jnp.maximum(LESS * caution, LEAST_CAUTION), caution))
    waiting = _over(failed.astype(jnp.float32), REACH + 1, jax.lax.max, 0.0) > 0
    return jnp.where(kept, new, old), caution, waiting


@jax.jit
def _remember(
    tried: Int[Array, "t h w"], proposed: Index, chosen: Bool[Array, "h w"], changed: Bool[Array, "h w"]
) -> Int[Array, "t h w"]:
    """What was proposed is the last that was tried; near a change all is forgotten."""
    tried = jnp.where(chosen[None], jnp.concatenate([proposed[None], tried[:-1]]), tried)
    near = _over(changed.astype(jnp.float32), REACH + 1, jax.lax.max, 0.0) > 0
    return jnp.where(near[None], -1, tried)


def _over(plane: Float[Array, "h w"], reach: int, operation: Callable[..., Any], start: float) -> Float[Array, "h w"]:
    """The least or largest within a square of 2 reach + 1 pixels."""
    for size in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
        plane = jax.lax.reduce_window(plane, start, operation, size, (1, 1), "SAME")
    return plane


@jax.jit
def _palette_slope(index: Index, slope: Image, colors: Colors) -> Colors:
    return polish.by_entry(slope, index, len(colors))


@functools.partial(jax.jit, static_argnames=("eye", "grid"))
def _palette_way(
    index: Index, slope: Colors, free: Float[Array, " k"], quadratic: polish.Quadratic, eye: BlurError, grid: Grid
) -> Colors:
    return polish.newton_step(-slope * free[:, None], index, free, quadratic, eye, grid, 3)
