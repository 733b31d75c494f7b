"""What pixels do in a round of descent: which of them change at once, which of the changes stay, what is remembered."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from diffquant import color
from diffquant.export.judged import Colors, Index
from diffquant.interfaces import Image
from diffquant.programs import traced_once

REACH = 2  # pixels: only one of so near ones changes in a round
LEAST_CAUTION, MORE, LESS = 0.5, 3.0, 0.7  # factor of a pixel's curvature, changed by failure and success


@traced_once(static=("reach",))
def propose(
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
def accept(
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
def remember(
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
