"""How soft choices become hard ones: the likeliest entry, a draw, a threshold mask, or exact descent; or, without any
look at them, a classical dither (`diffquant.export.classical`).

Each spec yields (share of work done, palette [k 3] in linear light, indices [h w]); the last is the result.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from diffquant import color
from diffquant.export import descent, judged, polish, tiled_descent, tiles, together
from diffquant.export.classical import Choice, ErrorDiffusion, Ordered, Riemersma
from diffquant.export.lattice import LATTICE, Grid
from diffquant.interfaces import Image, Scalar
from diffquant.losses.base import Loss
from diffquant.losses.blur import BlurError
from diffquant.palette.learned import LearnedPalette
from diffquant.palette.sample import sample
from diffquant.programs import traced_once
from diffquant.signal.blue_noise import threshold_mask

FEWEST, SAMPLE = 1 << 18, 1 << 20  # pixels on which the palette of a picture in tiles is re-fitted: about a tile's


@dataclasses.dataclass(frozen=True)
class Argmax:
    """The likeliest entry at each pixel: no noise, and bands where the distribution was soft."""

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice."""
        yield 1.0, np.asarray(palette.linear()), np.asarray(assignment.mode())


@dataclasses.dataclass(frozen=True)
class Sample:
    """An independent draw at each pixel, as in the article: right on average, with white noise."""

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice, fixed by `key`."""
        yield 1.0, np.asarray(palette.linear()), np.asarray(assignment.sample(jnp.float32(1), key=key))


@dataclasses.dataclass(frozen=True)
class BlueNoise:
    """A draw at each pixel by a tiled blue-noise mask instead of chance: right on average, with the finest noise."""

    size: int = 64  # pixels of the tile's side

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice; `key` is not used."""
        h, w = target.shape[1:]
        tiles = (-(-h // self.size), -(-w // self.size))
        mask = jnp.asarray(np.tile(threshold_mask(self.size), tiles)[:h, :w])
        yield 1.0, np.asarray(palette.linear()), np.asarray(assignment.threshold(jnp.float32(1), mask))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polish:
    """Start from the likeliest entries, then descend exactly under the blur error; re-fit the palette in between.

    `eye` is the error; by default the first `BlurError` among the losses. So that the first sweeps do not
    repair a neighbourhood's bias with the farthest colours, and keep that grain, they weigh in the unblurred error: by
    `detail`, falling to a hundredth of it over the first half of the `sweeps`; the second half does not. Stops early
    when fewer than `tolerance` of the pixels change. The last sweep uses the palette as the file rounds it.

    Then `rounds` of descent under the weighted sum of all the losses, whatever they are (`diffquant.export.descent`).
    With `shares` each loss is divided by its value before them, so that weights say how much each matters, whatever its
    unit, the picture and the number of colours.

    A picture larger than `tile` pixels squared is polished in tiles, of at most that side, with a palette that was
    re-fitted on blocks from all over it. The rounds judge each tile's surroundings as a picture of their own, and leave
    the palette as it is; `shares` are of the losses' means over those.
    """

    sweeps: int = 12
    detail: float = 0.5
    tolerance: float = 0.002
    refit_steps: int = 2
    eye: BlurError | None = None
    rounds: int = 0
    shares: bool = False
    tile: int = 1024

    def __post_init__(self) -> None:
        if self.tile < tiles.SMALLEST:
            raise ValueError(f"Polish: found tiles of {self.tile} pixels, expected at least {tiles.SMALLEST}")
        if self.sweeps < 0 or self.rounds < 0 or self.sweeps + self.rounds == 0:
            found = f"{self.sweeps} sweeps and {self.rounds} rounds"
            raise ValueError(f"Polish: found {found}, expected none below 0, and at least 1 of either")

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """The likeliest entries, then a better choice after each sweep, and after some rounds."""
        eye = self.judge(losses)
        colors, index = palette.linear(), assignment.mode()
        yield 0.0, np.asarray(colors), np.asarray(index)
        if index.size > self.tile**2:
            yield from self._tiled(np.array(index, np.uint8), colors, palette.is_free(), target, losses, eye, key)
            return
        grid = polish.grid_of(target.shape, eye)
        problem, free = _prepare(target, index, colors, eye, grid), palette.is_free()
        steps = self.sweeps + self.rounds
        swept = self._sweep(index, colors, free, problem, eye, grid, key)
        for done, colors, index in swept:
            yield done / steps, np.asarray(colors), np.asarray(index)
        if self.rounds == 0:
            return
        weights = judged.weights_of(losses, index, colors, target, relative=self.shares)
        whole = judged.Problem(target, tuple(losses), weights, free, eye, grid, problem)
        rounds = descent.descend(index, colors, whole, self.rounds, tolerance=self.tolerance, key=key)
        for share, colors, index in rounds:
            yield (self.sweeps + share * self.rounds) / steps, np.asarray(colors), np.asarray(index)

    def takes_companions(self, pixels: int) -> bool:
        """Whether a picture of so many pixels can be polished by `together`: in one piece, and by sweeps alone."""
        return self.rounds == 0 and pixels <= self.tile**2

    def together(
        self, starts: Sequence[together.Start], losses: Sequence[Loss], *, key: jax.Array, stop: Callable[[], bool]
    ) -> list[together.Polished | None]:
        """Pictures of any sizes by few programs: as by themselves but for rounding, None if `stop` came first."""
        orders = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        schedule = together.Schedule(
            np.array([orders.permutation(LATTICE * LATTICE) for _ in range(self.sweeps)], np.int32),
            tuple(self._detail(done) for done in range(1, self.sweeps + 1)),
            self.refit_steps,
            self.tolerance,
        )
        return together.polished(starts, schedule, self.judge(losses), stop)

    def judge(self, losses: Iterable[Loss]) -> BlurError:
        """The `eye`, or the one among the losses."""
        return self.eye or next((loss for loss in losses if isinstance(loss, BlurError)), BlurError())

    def sampled(self) -> int:
        """Pixels on which the palette of a picture in tiles is re-fitted: of fewer it would not be the picture's."""
        return min(max(self.tile**2, FEWEST), SAMPLE)

    def _tiled(
        self,
        index: UInt8[np.ndarray, "h w"],
        colors: Float[Array, "k 3"],
        free: Float[np.ndarray, " k"],
        target: Image,
        losses: Sequence[Loss],
        eye: BlurError,
        key: jax.Array,
    ) -> Iterator[Choice]:
        """The palette on a sample of the picture, two passes of half the sweeps over the tiles, then one of rounds."""
        blocks = sample([index], len(colors), self.sampled())
        sampled = jnp.asarray(np.concatenate([block.of(np.asarray(target)) for block in blocks], axis=1))
        chosen = jnp.asarray(np.concatenate([block.of(index) for block in blocks]), jnp.int32)
        grid = polish.grid_of(sampled.shape, eye)
        problem = _prepare(sampled, chosen, colors, eye, grid)
        learning = self.sweeps * sampled.size
        steps = learning + (self.sweeps + self.rounds) * target.size
        for done, found, _ in self._sweep(chosen, colors, free, problem, eye, grid, key):
            colors = found
            yield done * learning / self.sweeps / steps, np.asarray(colors), index
        del problem, sampled, chosen, _  # as large as what a tile takes
        details = [self._detail(done) for done in range(1, self.sweeps + 1)]
        orders = np.random.default_rng([1, *np.asarray(jax.random.key_data(key)).ravel()])
        first, half = index.copy(), -(-self.sweeps // 2)
        for number, part in enumerate(part for part in (details[:half], details[half:]) if part):
            if number:
                colors = tiles.refit(index, first, target, colors, free, eye, self.tile, self.refit_steps)
                colors = _rounded(colors)
            done = learning + number * half * target.size
            for share in tiles.sweep(index, first, target, colors, part, eye, self.tile, orders):
                yield (done + share * len(part) * target.size) / steps, np.asarray(colors), index
        if self.rounds == 0:
            return
        colors = _rounded(colors)
        rounds = tiled_descent.descend(
            index,
            colors,
            target,
            losses,
            eye,
            self.tile,
            self.rounds,
            relative=self.shares,
            tolerance=self.tolerance,
            key=key,
        )
        for share in rounds:
            yield 1 - (1 - share) * self.rounds * target.size / steps, np.asarray(colors), index

    def _sweep(
        self,
        index: Int[Array, "h w"],
        colors: Float[Array, "k 3"],
        free: Float[np.ndarray, " k"],
        problem: polish.Quadratic,
        eye: BlurError,
        grid: Grid,
        key: jax.Array,
    ) -> Iterator[tuple[int, Float[Array, "k 3"], Int[Array, "h w"]]]:
        """After each sweep: sweeps done, palette, indices."""
        indices = _split(index, grid)
        orders = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
        settled = False
        for done in range(1, self.sweeps + 1):
            last = settled or done == self.sweeps
            if last:
                colors = _rounded(colors)
            order = orders.permutation(LATTICE * LATTICE)
            steps = 0 if last else self.refit_steps
            detail = self._detail(done)
            indices, colors, changed = _sweep(indices, colors, free, problem, order, steps, detail, eye, grid)
            yield done, colors, _join(indices, grid)
            settled = settled or (detail == 0 and float(changed) < self.tolerance)
            if last:
                return

    def _detail(self, done: int) -> float:
        """Weight of the unblurred error in sweep `done`, from 1."""
        half = self.sweeps // 2
        return self.detail * 0.01 ** ((done - 1) / max(half - 1, 1)) if done <= half else 0.0


def _rounded(colors: Float[Array, "k 3"]) -> Float[Array, "k 3"]:
    """As the file will hold them."""
    return jnp.asarray(color.linear_from_srgb8(color.srgb8_from_linear(np.asarray(colors))))


@traced_once(static=("eye", "grid"))
def _prepare(
    target: Image, index: Int[Array, "h w"], colors: Float[Array, "k 3"], eye: BlurError, grid: Grid
) -> polish.Quadratic:
    return polish.quadratic(target, jnp.moveaxis(colors[index], -1, 0), eye, grid)


@functools.partial(jax.jit, static_argnums=1)
def _split(indices: Int[Array, "h w"], grid: Grid) -> Int[Array, "p p m n"]:
    return grid.split(indices[None])[:, :, 0].astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=1)
def _join(indices: Int[Array, "p p m n"], grid: Grid) -> Int[Array, "h w"]:
    return grid.join(indices[:, :, None])[0]


@traced_once(static=("eye", "grid"))
def _sweep(
    indices: Int[Array, "p p m n"],
    colors: Float[Array, "k 3"],
    free: Float[Array, " k"],
    problem: polish.Quadratic,
    order: Int[Array, " q"],
    steps: Int[Array, ""] | int,
    detail: Scalar | float,
    eye: BlurError,
    grid: Grid,
) -> tuple[Int[Array, "p p m n"], Float[Array, "k 3"], Float[Array, ""]]:
    """One sweep and `steps` of re-fitting; also the share of pixels that changed."""
    new = polish.sweep(indices, colors, problem, eye, grid, order, detail)
    return new, polish.refit(new, colors, free, problem, eye, grid, steps, detail), jnp.mean(new != indices)


AnyDither = Argmax | Sample | BlueNoise | Polish | ErrorDiffusion | Ordered | Riemersma
