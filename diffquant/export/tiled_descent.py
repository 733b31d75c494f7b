"""Descent under any losses, tile by tile: the memory of one tile, whatever the picture's size.

A tile lies in a window with a halo in which pixels stay as they are, and the window is judged as a picture of its own:
losses may look at all of it. What each loss weighs is the same everywhere. Windows begin at multiples of ALIGN, so that
scales that halve a picture pool the pixels that they pool in the whole. The palette stays.
"""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from diffquant.export import descent, judged, polish, tiles
from diffquant.interfaces import Image
from diffquant.losses.base import Loss
from diffquant.losses.blur import BlurError
from diffquant.signal.windows import Tile
from diffquant.signal.windows import windows as aligned

ALIGN = 32  # pixels
HALO = 32  # pixels around a tile, at least: beyond, a change is hardly felt at any scale


def windows(h: int, w: int, losses: Sequence[Loss], side: int) -> tuple[tuple[int, int], list[Tile]]:
    """The size of the windows, and their tiles, of at most `side` x `side` pixels."""
    reach = max([HALO, *(2 * (loss.reach() or 0) for loss in losses)])
    return aligned(h, w, side, -(-reach // ALIGN) * ALIGN, ALIGN)


def descend(
    index: Integer[np.ndarray, "h w"],
    colors: Float[Array, "k 3"],
    target: Image,
    losses: Sequence[Loss],
    eye: BlurError,
    side: int,
    rounds: int,
    *,
    relative: bool,
    tolerance: float,
    key: jax.Array,
) -> Iterator[float]:
    """`descent.descend` of every tile, `index` being changed in place; the share done after each.

    `colors` are as a file rounds them. `relative` divides each loss by its mean over the windows before.
    """
    h, w = index.shape
    size, found = windows(h, w, losses, side)
    weights = judged.final_weights(losses)
    if relative:
        weights = weights / np.maximum(mean_losses(index, colors, target, losses, side), 1e-12)
    for done, tile in enumerate(found, 1):
        here, own = tiles.place(tile, size)
        problem = judged.Problem(
            target=tiles.window(target, tile, size),
            losses=tuple(losses),
            weights=weights,
            free=np.zeros(len(colors), np.float32),
            eye=eye,
            grid=polish.grid_of((3, *size), eye),
            quadratic=None,
            held=jnp.asarray(~own),
        )
        chosen = jnp.asarray(index[here], jnp.int32)
        one = jax.random.fold_in(key, done)
        for _, _, better in descent.descend(chosen, colors, problem, rounds, tolerance=tolerance, key=one):
            chosen = better
        index[here][own] = np.asarray(chosen)[own]
        yield done / len(found)


def mean_losses(
    index: Integer[np.ndarray, "h w"],
    colors: Float[Array, "k 3"],
    target: Image,
    losses: Sequence[Loss],
    side: int,
) -> Float[np.ndarray, " n"]:
    """Each loss, unweighted: the mean over the windows."""
    h, w = index.shape
    size, found = windows(h, w, losses, side)
    total = np.zeros(len(losses), np.float32)
    for tile in found:
        here, _ = tiles.place(tile, size)
        chosen = jnp.asarray(index[here], jnp.int32)
        total += judged.values_of(losses, chosen, colors, tiles.window(target, tile, size))
    return total / len(found)
