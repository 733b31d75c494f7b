"""Frames after frames: each the best picture of its own, that changes no more than it must.

Temporal stability is part of the loss. With e = y - x a frame's error, the descent minimises for each frame, given the
one before,

    Q(e) + flicker * sum_p s_p (e - e')_p' W_p (e - e')_p + price * (pixels that change),

Q the eye's blurred error, W OkLab's metric, s near 1 where the clip stands still and 0 where it moves. Where it stands
still, e - e' is the change of the picture itself: grain stays where it is until the blurred error has grown enough.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from diffquant import color
from diffquant.assignment.nearest import nearest
from diffquant.export import polish
from diffquant.export.lattice import LATTICE, Grid
from diffquant.interfaces import Image, Scalar
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once
from diffquant.signal.filters import blur, gaussian_kernel

FIRST = 4  # times as many sweeps for the first frame, which has no other to start from
NOISE = gaussian_kernel(1.0)  # pixels: averages a camera's noise before two frames are compared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steady:
    """What a change from one frame to the next costs. A differentiable loss of two frames, and a term of the descent.

    `flicker` weighs the squared OkLab change of the error where the clip stands still: where two frames differ by less
    than about `still` in OkLab, once noise is averaged. `price` is that of any pixel that changes, in squared OkLab
    distance: it buys bytes. It is `rest` times as high where the clip has not changed at all.
    """

    flicker: float = 0.2
    price: float = 1e-5
    still: float = 0.02
    rest: float = 16.0

    def stillness(self, target: Image, before: Image) -> Float[Array, "h w"]:
        """1 where two frames of the clip are alike, falling to 0 where something moves."""
        here, there = color.oklab_planes(blur(target, NOISE)), color.oklab_planes(blur(before, NOISE))
        squares = [jnp.square(p - q) for p, q in zip(here, there, strict=True)]
        return jnp.exp(-sum(squares[1:], squares[0]) / self.still**2)

    def __call__(self, image: Image, target: Image, image_before: Image, target_before: Image) -> Scalar:
        """Flicker of `image` after `image_before`, per pixel; to first order in OkLab."""
        change = image - target - (image_before - target_before)
        weighed = color.apply_symmetric(color.oklab_metric(target), change)
        squares = sum(p * q for p, q in zip(weighed, change, strict=True))
        return self.flicker * jnp.mean(self.stillness(target, target_before) * squares)

    def hold(
        self, target: Image, before: Image, shown: Image, had: Int[Array, "h w"], bound: Scalar | float = 1.0
    ) -> polish.Hold:
        """`bound` times the same as a form at each pixel, for the descent: `shown` was the frame `before`, of entries
        `had`."""
        metric = (bound * self.flicker * self.stillness(target, before))[None] * color.oklab_metric(target)
        price = self.price * jnp.where(jnp.all(target == before, axis=0), self.rest, 1.0)
        return polish.Hold(metric, shown + target - before, had, bound * price)


class State(NamedTuple):
    """What a frame knows of the one before: its entries and its target."""

    entries: Int[Array, "h w"]
    target: Float[Array, "3 h w"]


class Follower:
    """Makes the indices of one frame after another, with a palette [k 3] in linear light."""

    def __init__(
        self, palette: Float[np.ndarray, "k 3"], eye: BlurError, steady: Steady, sweeps: int, seed: int
    ) -> None:
        self._palette = jnp.asarray(palette, jnp.float32)
        self._eye, self._steady = eye, steady
        self._sweeps, self._seed = sweeps, seed
        self._before: State | None = None

    def __call__(self, target: Image, number: int) -> UInt8[np.ndarray, "h w"]:
        """The frame's indices. `number` and the seed fix what is random. The first one takes four times as long."""
        orders = np.random.default_rng([self._seed, number])
        grid = polish.grid_of(target.shape, self._eye)
        first = self._before is None
        state = State(jnp.zeros(target.shape[1:], jnp.int32), target + 9) if self._before is None else self._before
        for _ in range(FIRST if first else 1):
            order = orders.permuted(np.tile(np.arange(LATTICE**2, dtype=np.int32), (self._sweeps, 1)), axis=1)
            state = follow(
                state, target, self._palette, order, float(not first), eye=self._eye, grid=grid, steady=self._steady
            )
        self._before = state
        return np.asarray(state.entries).astype(np.uint8)


@traced_once(static=("eye", "grid", "steady"))
def follow(
    before: State,
    target: Image,
    palette: Float[Array, "k 3"],
    orders: Int[Array, "s q"],
    bound: Scalar | float,
    *,
    eye: BlurError,
    grid: Grid,
    steady: Steady,
) -> State:
    """The next frame: a sweep for each of the `orders` of the lattice's phases. `bound` multiplies what change costs.

    Starts from the frame before where the clip stands still, and elsewhere from the nearest colours.
    """
    close = nearest(target, color.oklab_from_linear(palette.T).T)
    index = jnp.where(steady.stillness(target, before.target) > 0.5, before.entries, close)
    problem = polish.quadratic(target, picture(palette, index), eye, grid)
    hold = steady.hold(target, before.target, picture(palette, before.entries), before.entries, bound)

    def sweep(phases: Int[Array, "p p m n"], order: Int[Array, " q"]) -> tuple[Int[Array, "p p m n"], None]:
        return polish.sweep(phases, palette, problem, eye, grid, order, hold=hold), None

    phases = grid.split(index[None])[:, :, 0].astype(jnp.int32)
    phases, _ = jax.lax.scan(sweep, phases, orders)
    return State(grid.join(phases[:, :, None])[0], target)


def picture(palette: Float[Array, "k 3"], index: Int[Array, "h w"]) -> Image:
    """What the entries show."""
    return jnp.moveaxis(palette[index], -1, 0)
