"""Exact descent on hard indices under a multi-scale blur error, with the palette re-fitted in between.

This is direct binary search (Analoui and Allebach, 1992) for any number of colours, several eye widths and a perceptual
metric. With y the picture, x the target, B_s the blur of scale s and W_s the metric at the blurred target, the loss is

    Q = sum_s w_s sum_p e_s' W_s e_s,    e_s = B_s (y - x),

OkLab's squared distance: to first order, or exactly so at the picture that W_s was measured with. Moving one pixel's
light by d changes it by exactly 2 d.g + d.A d, where g = sum_s w_s B_s W_s e_s and A is the pixel's own curvature.
Pixels of one phase of a LATTICE x LATTICE grid move at once, each to the best of all colours; only they are evaluated.
`e_s` is kept up to date by spreading the moves.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from diffquant import color
from diffquant.export.conjugate import Conjugate, advance, begin, preconditioner
from diffquant.export.lattice import LATTICE, Grid, bands_of, gather, spread
from diffquant.interfaces import Image, Scalar
from diffquant.losses.blur import BlurError
from diffquant.signal.filters import Extent, Kernel, blur_within, energy


class Scale(NamedTuple):
    """One width of the eye: banded blur of both axes by phase, and weighted metric (in the frame)."""

    rows: Float[Array, "p m t"]
    columns: Float[Array, "p n t"]
    metric: Float[Array, "6 H W"]


class Quadratic(NamedTuple):
    """The loss Q around a target: everything that does not change while the picture does."""

    target: Float[Array, "3 h w"]
    scales: tuple[Scale, ...]
    curvature: Float[Array, "p p 6 m n"]  # of the blurred scales
    local: Float[Array, "6 h w"]  # weighted metric of the unblurred error: the scales of width 0
    raw: Float[Array, "6 h w"]  # OkLab's, for `detail`
    extent: Extent | None = None  # of the picture, where it does not fill the array: beyond it all metrics are 0


class Hold(NamedTuple):
    """What draws pixels to a light of their own, beside Q: at each (y - light)' metric (y - light), and `price` unless
    the pixel takes the entry that it `had`."""

    metric: Float[Array, "6 h w"]
    light: Float[Array, "3 h w"]
    had: Int[Array, "h w"]
    price: Float[Array, "h w"]


def _blurred(eye: BlurError) -> list[Kernel]:
    """Kernels of the scales that blur at all."""
    return [kernel for kernel, *_ in eye.scales() if len(kernel) > 1]


def quadratic(
    target: Image, shown: Image | None, eye: BlurError, grid: Grid, extent: Extent | None = None
) -> Quadratic:
    """Q for this `target` under this `eye`: to first order, or so that it is exact for the picture `shown`.

    With an `extent` only that part of both arrays is a picture, and Q is what it is for that picture alone.
    """
    forms = eye.forms(target, shown, extent)
    blurred = [(kernel, form) for kernel, form in forms if len(kernel) > 1]
    nothing = jnp.zeros((6, *target.shape[1:]))
    scales = tuple(Scale(*bands_of(grid, kernel, extent), grid.frame(form)) for kernel, form in blurred)
    curvature = sum((energy(form, kernel, extent) for kernel, form in blurred), nothing)
    local = sum((form for kernel, form in forms if len(kernel) == 1), nothing)
    raw = color.oklab_metric(target)
    if extent is not None:
        mask = extent.mask(grid.h, grid.w)[None]
        local, raw = jnp.where(mask, local, 0.0), jnp.where(mask, raw, 0.0)
    return Quadratic(target, scales, grid.split(curvature), local, raw, extent)


def grid_of(shape: tuple[int, ...], eye: BlurError) -> Grid:
    """The frame that the largest kernel of `eye` needs around an image [c h w]."""
    reach = max((len(kernel) // 2 for kernel in _blurred(eye)), default=0)
    return Grid(shape[1], shape[2], -(-reach // LATTICE) * LATTICE)


def _errors(picture: Image, problem: Quadratic, eye: BlurError, grid: Grid) -> tuple[Float[Array, "3 H W"], ...]:
    return tuple(grid.frame(blur_within(picture - problem.target, kernel, problem.extent)) for kernel in _blurred(eye))


def _weigh(metric: Float[Array, "6 H W"], error: Float[Array, "3 H W"]) -> Float[Array, "3 H W"]:
    return jnp.stack(color.apply_symmetric(metric, error))


def _gathered(scale: Scale, error: Float[Array, "3 H W"], at: tuple[Array, Array], grid: Grid) -> Float[Array, "3 m n"]:
    """The blur of the weighed error at the sites of a phase only.

    A loop over planes: written as a stack of three, XLA makes of the windows something that it cannot vectorise
    (measured on a CPU: 37 to 41 ms a sweep and scale instead of 9 to 25).
    """
    bands, size = (scale.rows[at[0]], scale.columns[at[1]]), grid.windowed

    def plane(row: Int[Array, "3"]) -> Float[Array, "m n"]:
        metric = [jax.lax.dynamic_slice(scale.metric, (row[c], *at), (1, *size))[0] for c in range(3)]
        shown = [jax.lax.dynamic_slice(error[c], at, size) for c in range(3)]
        weighed = metric[0] * shown[0] + metric[1] * shown[1] + metric[2] * shown[2]
        return gather(weighed, bands, grid)

    return jax.lax.map(plane, np.array(color.ROWS_OF_UPPER))


def _best(
    linear: Float[Array, "3 m n"],
    curvature: Float[Array, "6 m n"],
    palette: Float[Array, "k 3"],
    kept: tuple[Int[Array, "m n"], Float[Array, "m n"]] | None = None,
) -> Array:
    """Index of the colour c that makes `linear . c + c . curvature c` least, at every site.

    `kept`: an entry at each site, and what all others cost more.
    """

    def better(best: tuple[Array, Array, Array], c: Array) -> tuple[tuple[Array, Array, Array], None]:
        cost, choice, k = best
        bent = color.apply_symmetric(curvature, c)
        here = sum(c[i] * (linear[i] + bent[i]) for i in range(3))
        if kept is not None:
            here += jnp.where(kept[0] == k, 0.0, kept[1])
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
    hold: Hold | None = None,
) -> Int[Array, "p p m n"]:
    """Every pixel once, phase by phase in `order`, each to its best colour given the others.

    `detail` weighs the unblurred error, added to Q: it keeps pixels near their own colour. `hold` is added as it is.
    """
    form = problem.local + detail * problem.raw
    pulls = _weigh(form, problem.target)
    if hold is not None:
        form, pulls = form + hold.metric, pulls + _weigh(hold.metric, hold.light)
        had, price = grid.split(hold.had[None])[:, :, 0], grid.split(hold.price[None])[:, :, 0]
    local, pulled = grid.split(form), grid.split(pulls)
    picture = grid.join(jnp.moveaxis(palette[indices], -1, 2))

    def phase(i: Array, state: tuple[Array, tuple[Array, ...]]) -> tuple[Array, tuple[Array, ...]]:
        indices, errors = state
        at = (order[i] // LATTICE, order[i] % LATTICE)
        old = indices[at]
        light = jnp.moveaxis(palette[old], -1, 0)
        pull = _weigh(problem.curvature[at], light) + pulled[at]
        for scale, error in zip(problem.scales, errors, strict=True):
            pull -= _gathered(scale, error, at, grid)
        kept = None if hold is None else (had[at], price[at])
        new = _best(-2 * pull, problem.curvature[at] + local[at], palette, kept)
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
    error = picture - problem.target
    terms = [jnp.sum(error * _weigh(problem.local, error))]
    terms += [jnp.sum(e * _weigh(scale.metric, e)) for e, scale in zip(errors, problem.scales, strict=True)]
    pixels = grid.h * grid.w if problem.extent is None else problem.extent.rows * problem.extent.columns
    return jnp.sum(jnp.stack(terms)) / pixels


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

    Entries whose `free` is 0 stay.
    """
    index = grid.join(indices[:, :, None])[0]
    problem = problem._replace(local=problem.local + detail * problem.raw)
    pull = -by_entry(slope(_picture(palette, index) - problem.target, problem, eye, grid), index, len(palette))
    return jnp.clip(palette + newton_step(pull * free[:, None], index, free, problem, eye, grid, steps), 0.0, 1.0)


def newton_step(
    pull: Float[Array, "k 3"],
    index: Int[Array, "h w"],
    free: Float[Array, " k"],
    problem: Quadratic,
    eye: BlurError,
    grid: Grid,
    steps: Int[Array, ""] | int,
) -> Float[Array, "k 3"]:
    """Move of the palette that answers to `pull`, minus half the slope of a loss that bends as Q does.

    Conjugate gradients, preconditioned with the curvature of each entry's pixels, taken alone.
    """

    def bent(direction: Float[Array, "k 3"]) -> Float[Array, "k 3"]:
        light = slope(_picture(direction, index), problem, eye, grid)
        return by_entry(light, index, len(direction)) * free[:, None]

    inverse = preconditioner(by_entry(curvature(problem, grid), index, len(pull)))

    def step(_: Any, search: Conjugate) -> Conjugate:
        return advance(search, bent(search.direction), inverse)

    return jax.lax.fori_loop(0, steps, step, begin(pull, inverse)).move


def curvature(problem: Quadratic, grid: Grid) -> Float[Array, "6 h w"]:
    """Each pixel's own: what a unit change of its light costs, alone."""
    return grid.join(problem.curvature) + problem.local


def by_entry(planes: Float[Array, "c h w"], index: Int[Array, "h w"], entries: int) -> Float[Array, "k c"]:
    """Sums over the pixels of each palette entry."""
    return jax.ops.segment_sum(planes.reshape(planes.shape[0], -1).T, index.reshape(-1), num_segments=entries)


def _picture(palette: Float[Array, "k 3"], index: Int[Array, "h w"]) -> Float[Array, "3 h w"]:
    return jnp.moveaxis(palette[index], -1, 0)


def slope(error: Float[Array, "3 h w"], problem: Quadratic, eye: BlurError, grid: Grid) -> Float[Array, "3 h w"]:
    """Half the slope of Q in a picture that is off by `error`."""
    total = _weigh(problem.local, error)
    for scale, kernel in zip(problem.scales, _blurred(eye), strict=True):
        seen = _weigh(grid.crop(scale.metric), blur_within(error, kernel, problem.extent))
        total += blur_within(seen, kernel, problem.extent)
    return total
