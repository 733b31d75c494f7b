"""The polish of pictures of many sizes in few compiled programs.

A picture stands at the top left of an array whose size is one of few (`sides`); its true size is a traced number, and
what stands beyond it makes no difference. Sweeps and palettes are those of `diffquant.export.dither.Polish`.
"""

import collections
import contextlib
import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, UInt8

from diffquant import color
from diffquant.assignment.nearest import nearest
from diffquant.export import polish
from diffquant.export.lattice import LATTICE, Grid
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once
from diffquant.signal.filters import Extent
from diffquant.training.mesh import over_pictures

LEAST = 64  # pixels of an array's side
FINE = 256  # from here on there are two sides in an octave, not one: where the wasted work is more than a compilation


MOST = 16  # pictures in one batch, on an accelerator, and at most so many
PIXELS = 1 << 22

Polished = tuple[Float32[np.ndarray, "_ 3"], UInt8[np.ndarray, "_ _"]]  # palette in linear light, indices


class Start(NamedTuple):
    """What the polish of a picture starts from."""

    target: Float32[np.ndarray, "3 h w"]
    oklab: Float32[np.ndarray, "k 3"]  # by which the first indices are the nearest
    colors: Float32[np.ndarray, "k 3"]  # the same in linear light
    free: Float32[np.ndarray, " k"]


class Schedule(NamedTuple):
    """Of each sweep its order of phases and the weight of the unblurred error; steps of re-fitting a palette, and the
    share of pixels below which a change is the last but one."""

    orders: Int[np.ndarray, "s q"]
    details: tuple[float, ...]
    refit_steps: int
    tolerance: float


def sides(h: int, w: int) -> tuple[int, int]:
    """The array that a picture of `h` x `w` takes: 64, 128, 256, 384, 512, 768, 1024, ... a side.

    Over sizes whose logarithms are spread evenly arrays have 2.1 times the pixels below 256 a side, 1.4 times above.
    """
    return _side(h), _side(w)


def _side(size: int) -> int:
    power = max(1 << (size - 1).bit_length(), LEAST)
    return 3 * power // 4 if power > FINE and 3 * power // 4 >= size else power


def companions(size: tuple[int, int]) -> int:
    """How many pictures whose arrays have this size are computed at once.

    On a CPU one: the time is the arithmetic's, and several pictures keep its cores busy by a thread each. 16 pictures
    of 96x64, `balanced`, CPU seconds of each: 0.063 by the programs of `Polish`, 0.088 by `vmap` of one, 0.077 of
    eight, 0.069 by `lax.map` of eight; two of 768x512: 3.6, 4.1, 4.1 (of two) and 3.6.
    """
    if jax.default_backend() == "cpu":
        return 1
    return max(min(MOST, PIXELS // (size[0] * size[1])), 1)


def polished(
    starts: Sequence[Start], schedule: Schedule, eye: BlurError, stop: Callable[[], bool]
) -> list[Polished | None]:
    """Palettes and indices of pictures of any sizes and numbers of colours. None for those that `stop` came before.

    Each is what it would be whatever its companions: they are as many in every batch, if need be the first of them
    again.
    """
    found: list[Polished | None] = [None] * len(starts)
    alike: dict[Hashable, list[int]] = collections.defaultdict(list)
    for i, start in enumerate(starts):
        alike[sides(*start.target.shape[1:]), len(start.colors)].append(i)
    for members in alike.values():
        most = companions(sides(*starts[members[0]].target.shape[1:]))
        for first in range(0, len(members), most):
            part = members[first : first + most]
            batch = [starts[i] for i in part + part[:1] * (most - len(part))]
            for i, one in zip(part, _polished(batch, schedule, eye, stop) or (), strict=False):
                found[i] = one
    return found


def _polished(
    starts: Sequence[Start], schedule: Schedule, eye: BlurError, stop: Callable[[], bool]
) -> list[Polished] | None:
    """Of pictures that take the same array and have as many colours."""
    shapes = [start.target.shape[1:] for start in starts]
    size, count = sides(*shapes[0]), len(starts[0].colors)
    grid = polish.grid_of((3, *size), eye)
    targets = np.zeros((len(starts), 3, *size), np.float32)
    for place, start, (h, w) in zip(targets, starts, shapes, strict=True):
        place[:, :h, :w] = start.target
    rows, columns = np.array(shapes, np.int32).T
    extents = Extent(jnp.asarray(rows), jnp.asarray(columns))
    if jax.default_backend() != "cpu":
        targets = over_pictures(targets, len(starts), jax.local_devices())  # and so what is made of them
    colors, free = np.stack([start.colors for start in starts]), np.stack([start.free for start in starts])
    oklab = np.stack([start.oklab for start in starts])
    sites = LATTICE**2 * -(-rows // LATTICE) * -(-columns // LATTICE)
    with _compiled_once((len(starts), size, count, eye)):
        problems, indices = _begin(targets, oklab, colors, extents, eye, grid)
        settled = done = np.zeros(len(starts), bool)
        for number, detail in enumerate(schedule.details, 1):
            if stop():
                return None
            last = settled | (number == len(schedule.details))
            colors = np.where(last[:, None, None], _as_written(colors), colors)
            steps = np.where(last, 0, schedule.refit_steps).astype(np.int32)
            order = schedule.orders[number - 1]
            indices, found, changed = _sweep(
                indices, colors, free, problems, done, order, steps, np.float32(detail), eye, grid
            )
            colors, done = np.asarray(found), done | last
            if detail == 0:
                settled = settled | (np.asarray(changed) / sites < schedule.tolerance)
            if done.all():
                break
        arrays = np.asarray(_end(indices, grid))
    return [
        (palette, array[:h, :w].astype(np.uint8)) for palette, array, (h, w) in zip(colors, arrays, shapes, strict=True)
    ]


def _each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Over the pictures of a batch: one after another on a CPU, at once on accelerators (see `companions`)."""
    if jax.default_backend() == "cpu":
        return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)
    return jax.vmap(function)


def _as_written(colors: Float32[np.ndarray, "b k 3"]) -> Float32[np.ndarray, "b k 3"]:
    return color.linear_from_srgb8(color.srgb8_from_linear(colors))


@traced_once(static=("eye", "grid"))
def _begin(
    targets: Float[Array, "b 3 h w"],
    oklab: Float[Array, "b k 3"],
    colors: Float[Array, "b k 3"],
    extents: Extent,
    eye: BlurError,
    grid: Grid,
) -> tuple[polish.Quadratic, Int[Array, "b p p m n"]]:
    def begin(target: Array, entries: Array, light: Array, extent: Extent) -> tuple[polish.Quadratic, Array]:
        index = jnp.where(extent.mask(grid.h, grid.w), nearest(target, entries), 0)
        problem = polish.quadratic(target, jnp.moveaxis(light[index], -1, 0), eye, grid, extent)
        return problem, grid.split(index[None])[:, :, 0].astype(jnp.int32)

    return _each(begin)(targets, oklab, colors, extents)


@traced_once(static=("eye", "grid"))
def _sweep(
    indices: Int[Array, "b p p m n"],
    colors: Float[Array, "b k 3"],
    free: Float[Array, "b k"],
    problems: polish.Quadratic,
    done: Bool[Array, " b"],
    order: Int[Array, " q"],
    steps: Int[Array, " b"],
    detail: Float[Array, ""],
    eye: BlurError,
    grid: Grid,
) -> tuple[Int[Array, "b p p m n"], Float[Array, "b k 3"], Int[Array, " b"]]:
    """A sweep and a re-fit of those that are not `done`, and how many of their pixels changed."""

    def sweep(
        indices: Array, colors: Array, free: Array, problem: polish.Quadratic, done: Array, steps: Array
    ) -> tuple[Array, Array, Array]:
        new = jnp.where(done, indices, polish.sweep(indices, colors, problem, eye, grid, order, detail))
        found = polish.refit(new, colors, free, problem, eye, grid, steps, detail)
        return new, jnp.where(done, colors, found), jnp.sum(new != indices)

    return _each(sweep)(indices, colors, free, problems, done, steps)


@functools.partial(jax.jit, static_argnums=1)
def _end(indices: Int[Array, "b p p m n"], grid: Grid) -> Int[Array, "b h w"]:
    return _each(lambda phases: grid.join(phases[:, :, None])[0])(indices)


_known: set[Hashable] = set()
_locks: dict[Hashable, threading.Lock] = collections.defaultdict(threading.Lock)


@contextlib.contextmanager
def _compiled_once(program: Hashable) -> Iterator[None]:
    """The first to use a program compiles it alone: another thread would do it all a second time."""
    if program in _known:
        yield
        return
    with _locks[program]:
        yield
        _known.add(program)
