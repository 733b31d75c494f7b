"""Polishing a picture tile by tile: the memory of one tile, whatever the picture's size.

A tile lies in a window with a halo as wide as the blurred errors reach. In the halo pixels stay as they are: they are
another tile's. So every choice is made knowing what really is around it, and there are no seams.
"""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer

from diffquant.export import conjugate, polish
from diffquant.export.lattice import LATTICE, Grid
from diffquant.interfaces import Image
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once
from diffquant.signal.windows import Tile, windows

SMALLEST = 64  # pixels of a tile's side
NEVER = 1e6  # what changing a pixel of the halo costs


def halo_of(eye: BlurError) -> int:
    """Pixels around a tile that its choices depend on: an error is blurred, weighed, and blurred again."""
    reach = eye.reach()
    return -(-2 * reach // LATTICE) * LATTICE


def sweep(
    index: Integer[np.ndarray, "h w"],
    first: Integer[np.ndarray, "h w"],
    target: Image,
    palette: Float[Array, "k 3"],
    details: Sequence[float],
    eye: BlurError,
    side: int,
    orders: np.random.Generator,
) -> Iterator[float]:
    """A sweep of every tile for each of the `details`, `index` being changed in place; the share done after each tile.

    The metric is that along the chord to the picture of the entries `first`.
    """
    h, w = index.shape
    size, tiles = windows(h, w, side, halo_of(eye))
    for done, tile in enumerate(tiles, 1):
        here, own = place(tile, size)
        order = orders.permuted(np.tile(np.arange(LATTICE**2, dtype=np.int32), (len(details), 1)), axis=1)
        grid = polish.grid_of((3, *size), eye)
        shown = window(target, tile, size)
        detail = np.asarray(details, np.float32)
        swept = np.asarray(_sweep(index[here], first[here], shown, palette, own, order, detail, eye, grid))
        index[here][own] = swept[own]
        yield done / len(tiles)


@traced_once(static=("eye", "grid"))
def _sweep(
    index: Integer[Array, "h w"],
    first: Integer[Array, "h w"],
    target: Image,
    palette: Float[Array, "k 3"],
    own: Array,
    orders: Int[Array, "s q"],
    details: Float[Array, " s"],
    eye: BlurError,
    grid: Grid,
) -> Integer[Array, "h w"]:
    problem = polish.quadratic(target, jnp.moveaxis(palette[first], -1, 0), eye, grid)
    had = index.astype(jnp.int32)
    nothing = jnp.zeros((6, *had.shape), jnp.float32)
    hold = polish.Hold(nothing, target, had, jnp.where(own, 0.0, NEVER))

    def step(phases: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        order, detail = now
        return polish.sweep(phases, palette, problem, eye, grid, order, detail, hold), None

    phases = grid.split(had[None])[:, :, 0]
    phases, _ = jax.lax.scan(step, phases, (orders, details))
    return grid.join(phases[:, :, None])[0].astype(index.dtype)


def refit(
    index: Integer[np.ndarray, "h w"],
    first: Integer[np.ndarray, "h w"],
    target: Image,
    palette: Float[Array, "k 3"],
    free: Float[np.ndarray, " k"],
    eye: BlurError,
    side: int,
    steps: int,
) -> Float[Array, "k 3"]:
    """`polish.refit` of the whole picture, with `steps` of conjugate gradients, each a pass over the tiles.

    The metric is that along the chord to the picture of the entries `first`.
    """
    h, w = index.shape
    size, tiles = windows(h, w, side, halo_of(eye))
    grid = polish.grid_of((3, *size), eye)

    def total(direction: Float[Array, "k 3"] | None) -> tuple[Float[np.ndarray, "k 3"], Float[np.ndarray, "k 6"]]:
        """Half the slope of Q, or of its change along a direction, by entry; and each pixel's own curvature."""
        sums = [np.zeros((len(palette), 3)), np.zeros((len(palette), 6))]
        for tile in tiles:
            here, own = place(tile, size)
            shown = window(target, tile, size)
            along = palette if direction is None else direction
            parts = _bend(index[here], first[here], shown, palette, along, own, direction is None, eye, grid)
            for sum_, part in zip(sums, parts, strict=True):
                sum_ += np.asarray(part)
        return (sums[0] * free[:, None]).astype(np.float32), sums[1].astype(np.float32)

    slope, own = total(None)
    inverse = _preconditioner(own)
    search = _begin(-slope, inverse)
    for _ in range(steps):
        bent, _own = total(search.direction)
        search = _advance(search, bent, inverse)
    return jnp.clip(palette + search.move, 0.0, 1.0)


_preconditioner, _begin, _advance = (
    jax.jit(conjugate.preconditioner),
    jax.jit(conjugate.begin),
    jax.jit(conjugate.advance),
)


def window(target: Image, tile: Tile, size: tuple[int, int]) -> Float[Array, "3 m n"]:
    """What the tile's window shows."""
    return jax.lax.dynamic_slice(target, (0, tile.top, tile.left), (3, *size))


def place(tile: Tile, size: tuple[int, int]) -> tuple[tuple[slice, slice], Bool[np.ndarray, "h w"]]:
    """The tile's window of the picture, and which of its pixels are the tile's own."""
    own = np.zeros(size, bool)
    own[slice(*tile.rows), slice(*tile.columns)] = True
    return np.s_[tile.top : tile.top + size[0], tile.left : tile.left + size[1]], own


@traced_once(static=("eye", "grid"))
def _bend(
    index: Integer[Array, "h w"],
    first: Integer[Array, "h w"],
    target: Image,
    palette: Float[Array, "k 3"],
    direction: Float[Array, "k 3"],
    own: Array,
    from_target: Array,
    eye: BlurError,
    grid: Grid,
) -> tuple[Float[Array, "k 3"], Float[Array, "k 6"]]:
    problem = polish.quadratic(target, jnp.moveaxis(palette[first], -1, 0), eye, grid)
    index = index.astype(jnp.int32)
    picture = jnp.moveaxis(direction[index], -1, 0) - jnp.where(from_target, target, 0.0)
    slope = polish.slope(picture, problem, eye, grid) * own[None]
    curvature = polish.curvature(problem, grid) * own[None]
    return polish.by_entry(slope, index, len(palette)), polish.by_entry(curvature, index, len(palette))
