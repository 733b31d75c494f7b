"""Descent over tiles: what belongs to pixels stays in the host's memory, and the device sees one window at a time.

The loss is a mean over pixels, and what a pixel adds to it depends on what is rendered within the losses' reach. So how
the loss answers to what is rendered in a tile is known from the pixels within reach of the tile, for which twice the
reach has to be rendered. From there the tile's own parameters have their slope, and what all tiles share has the sum of
theirs. Both are the whole picture's, up to rounding: there are no seams.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from diffquant.interfaces import Image, Refreshable, Rendered, Scalar
from diffquant.losses.base import LocalLoss
from diffquant.schedules import value
from diffquant.signal.windows import Tile, windows
from diffquant.training.cuts import own_part, put, window_of
from diffquant.training.plan import Plan, PlanError, State
from diffquant.training.state import adam, filled, has_place, moved, named, parts_of, restored


class Answer(NamedTuple):
    """What a tile gives: slope in what all share, its own parameters a step further, their moments; loss, losses."""

    slope: Any
    local: Any
    moments: Any
    total: Scalar
    parts: dict[str, Array]


class Tiled:
    """A pipeline, its moments, and the picture: what belongs to pixels on the host."""

    def __init__(self, pipeline: Any, target: Image, plan: Plan, *, key: jax.Array, start: State | None) -> None:
        assert plan.tiles is not None
        if start is not None:
            pipeline = restored(pipeline, start)
        own = nnx.All(nnx.Param, has_place)
        self.graph, local, self.shared, around, self.constants = parts_of(pipeline, own, nnx.Param, has_place, ...)
        self.local, self.around = _hosted(local), jax.tree.map(np.asarray, around)
        self.target, self.plan, self.key = np.asarray(target), plan, key
        self.reach = max((loss.reach() for _, loss in plan.losses if isinstance(loss, LocalLoss)), default=0)
        self.size, self.tiles = windows(self.target.shape[1], self.target.shape[2], plan.tiles.side, 2 * self.reach)
        self.visits = np.zeros(len(self.tiles), np.int32)
        self.step = 0
        self.moments = jax.jit(adam(plan).init)(self.shared)
        self.means, self.squares = (jax.tree.map(np.zeros_like, self.local) for _ in range(2))
        if start is not None:
            self.step = start.step
            kept = {name: filled(name, tree, start.arrays) for name, tree in self._progress().items()}
            self.moments, self.visits = kept["moments"], np.array(kept["visits"])
            self.means, self.squares = _hosted(kept["means"]), _hosted(kept["squares"])

    def advance(self, length: int) -> tuple[Float[np.ndarray, " s"], dict[str, Float[np.ndarray, " s"]]]:
        """So many steps: the weighted sum of losses before each, and the losses by name."""
        history = [self._advance() for _ in range(length)]
        parts = {name: np.array([parts[name] for _, parts in history]) for name in history[0][1]}
        return np.array([total for total, _ in history]), parts

    def _advance(self) -> tuple[float, dict[str, float]]:
        """One step over the tiles that are its turn."""
        numbers = self._turn()
        pending: list[tuple[Any, Tile]] = []  # parameters of tiles
        slope, total, parts = None, 0.0, dict.fromkeys((name for name, _ in self.plan.losses), 0.0)
        for number in numbers:
            tile = self.tiles[number]
            answer = self._answer(number)
            slope = answer.slope if slope is None else jax.tree.map(jnp.add, slope, answer.slope)
            total += float(answer.total)
            for name, part in answer.parts.items():
                parts[name] += float(part)
            pending.append((own_part(answer.local, tile), tile))
            put(self.means, own_part(answer.moments.mu, tile), tile)
            put(self.squares, own_part(answer.moments.nu, tile), tile)
            self.visits[number] = answer.moments.count
            # Written when no window to come holds them: all tiles answer to the picture before the step.
            while pending and _end(pending[0][1]) <= tile.top:
                put(self.local, *pending.pop(0))
        for old in pending:
            put(self.local, *old)
        scale = self._scale(numbers)
        self.shared, self.moments = _shared_step(self.shared, self.moments, slope, self.step, scale, plan=self.plan)
        self.step += 1
        return scale * total, {name: scale * part for name, part in parts.items()}

    def _turn(self) -> list[int]:
        """The step's tiles, from above."""
        count, batch = len(self.tiles), self.plan.tiles.batch if self.plan.tiles else None
        if batch is None or batch >= count:
            return list(range(count))
        random = np.random.default_rng([*np.asarray(jax.random.key_data(self.key)).ravel(), self.step])
        return sorted(random.choice(count, batch, replace=False).tolist())

    def _scale(self, numbers: list[int]) -> float:
        """What the tiles' sums are multiplied by to stand for the whole picture's."""
        return self.target[0].size / sum(_area(self.tiles[number]) for number in numbers)

    def _answer(self, number: int) -> Answer:
        tile = self.tiles[number]
        cut = functools.partial(window_of, tile=tile, size=self.size)
        here = np.s_[:, tile.top : tile.top + self.size[0], tile.left : tile.left + self.size[1]]
        moments = optax.ScaleByAdamState(jnp.int32(self.visits[number]), cut(self.means), cut(self.squares))
        return _answer(
            self.shared,
            (cut(self.local), moments),
            (cut(self.around), self.constants),
            self.target[here],
            np.array([tile.top, tile.left, *tile.rows, *tile.columns], np.int32),
            self.step,
            jax.random.fold_in(jax.random.fold_in(self.key, self.step), number),
            graph=self.graph,
            plan=self.plan,
            picture=self.target.shape[1:],
            reach=self.reach,
        )

    def refresh(self) -> None:
        """Pipelines may not change here: what they look at is the whole picture."""
        pipeline = self.tuned()
        if isinstance(pipeline, Refreshable) and pipeline.refreshed(jnp.asarray(self.target)) is not None:
            raise PlanError("tiles: found candidates that are refreshed, expected fixed ones")

    def tuned(self) -> Any:
        """The pipeline as it stands."""
        return nnx.merge(self.graph, self.local, self.shared, self.around, self.constants)

    def _progress(self) -> dict[str, Any]:
        return {"moments": self.moments, "means": self.means, "squares": self.squares, "visits": self.visits}

    def arrays(self) -> dict[str, Any]:
        """What has to be saved."""
        arrays = named("variables", nnx.state(self.tuned()))
        for name, tree in self._progress().items():
            arrays |= named(name, tree)
        return arrays


def _hosted(tree: Any) -> Any:
    """With the values on the host, to be written in place; those on the device are given up."""

    def host(array: Array) -> np.ndarray:
        copy = np.array(array)
        array.delete()
        return copy

    return jax.tree.map(host, tree)


def _area(tile: Tile) -> int:
    return (tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0])


def _end(tile: Tile) -> int:
    """The row after its last."""
    return tile.top + tile.rows[1]


@functools.partial(jax.jit, static_argnames=("graph", "plan", "picture", "reach"))
def _answer(
    shared: Any,
    own: tuple[Any, Any],
    fixed: tuple[Any, Any],
    target: Image,
    place: Int[Array, "6"],
    step: Int[Array, ""],
    key: jax.Array,
    *,
    graph: Any,
    plan: Plan,
    picture: tuple[int, int],
    reach: int,
) -> Answer:
    """`place`: the window's top and left, the rows and columns in it that are the tile's own."""
    (local, moments), (around, constants) = own, fixed
    (h, w), (top, left, *edges) = target.shape[1:], place
    progress = step / max(plan.steps - 1, 1)

    def inside(rows: tuple[Any, Any], columns: tuple[Any, Any]) -> Bool[Array, "h w"]:
        y, x = jnp.arange(h)[:, None], jnp.arange(w)[None]
        return (y >= rows[0]) & (y < rows[1]) & (x >= columns[0]) & (x < columns[1])

    mine = inside((edges[0], edges[1]), (edges[2], edges[3]))
    near = inside((edges[0] - reach, edges[1] + reach), (edges[2] - reach, edges[3] + reach))

    def render(shared: Any, local: Any) -> Rendered:
        rendered = nnx.merge(graph, local, shared, around, constants).render(value(plan.temperature, progress), key=key)
        if rendered.image.shape != target.shape:
            raise PlanError("tiles: found a pipeline that renders whole pictures only, expected one of pixels")
        return rendered

    def judge(rendered: Rendered) -> tuple[Array, dict[str, Array]]:
        """What each pixel adds to the whole picture's loss; and its own pixels to each, unweighted."""
        total, parts = jnp.zeros((h, w)), {}
        for name, loss in plan.losses:
            assert isinstance(loss, LocalLoss)
            rows, columns = (loss.border(n) for n in picture)
            counts = inside((rows - top, picture[0] - rows - top), (columns - left, picture[1] - columns - left))
            shares = loss.map(rendered, target) * counts / ((picture[0] - 2 * rows) * (picture[1] - 2 * columns))
            total += value(loss.weight, progress) * shares
            parts[name] = jnp.sum(shares, where=mine)
        return total, parts

    rendered, of_parameters = jax.vjp(render, shared, local)
    total, of_rendered, parts = jax.vjp(judge, rendered, has_aux=True)
    (wanted,) = of_rendered(near.astype(total.dtype))
    # The slope in what is rendered, exact for the tile's own pixels; the others are another tile's.
    own_slope = jax.tree.map(lambda plane: jnp.where(mine, plane, 0) if plane.ndim > 1 else plane, wanted)
    slope, steepness = of_parameters(own_slope)
    directions, moments = adam(plan).update(steepness, moments)
    return Answer(
        slope, moved(local, directions, value(plan.rate, progress)), moments, jnp.sum(total, where=mine), parts
    )


@functools.partial(jax.jit, static_argnames="plan")
def _shared_step(
    shared: Any, moments: Any, slope: Any, step: Int[Array, ""], scale: Scalar, *, plan: Plan
) -> tuple[Any, Any]:
    directions, moments = adam(plan).update(jax.tree.map(lambda each: scale * each, slope), moments)
    return moved(shared, directions, value(plan.rate, step / max(plan.steps - 1, 1))), moments
