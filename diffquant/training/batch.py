"""Descent on many pictures in one program: side by side, each as if alone.

Their pipelines' variables are stacked. Pictures of several sizes stand at the top left of arrays of one size, with
zeros beyond, and losses are told where each ends.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import LocalLoss
from diffquant.schedules import value
from diffquant.signal.filters import Extent
from diffquant.training.descent import Snapshot, finite
from diffquant.training.mesh import gathered, over_pictures
from diffquant.training.plan import Plan, PlanError, State
from diffquant.training.state import adam, is_variable, moved, named, parts_of
from diffquant.training.whole import Parts, objective


def fit_batch(
    pipelines: Sequence[Any],
    targets: Sequence[Float[Array, "3 _ _"]],
    plan: Plan,
    *,
    keys: Sequence[jax.Array],
    size: tuple[int, int] | None = None,
    devices: Sequence[jax.Device] = (),
) -> Iterator[tuple[Snapshot, ...]]:
    """`fit` of each pipeline on its target, with its key: after every chunk a snapshot for each.

    They are of one kind, and take the same steps as by themselves, up to rounding; how well one does is nothing to the
    others. With a `size`, at least theirs, arrays have that height and width: so few programs serve many sizes. Several
    `devices` share out the pictures.

    Raises:
        FloatingPointError: a loss is not finite; the message names picture and step.
        PlanError: sizes differ and a loss looks at the whole picture, or the plan asks for tiles, or for a tolerance.
        ValueError: the pipelines are not of one kind.
    """
    if plan.tiles is not None or plan.tolerance is not None:
        raise PlanError("tiles, tolerance: found one, expected none for many pictures at once")
    shapes = [target.shape[1:] for target in targets]
    if size is None:
        size = max(h for h, _ in shapes), max(w for _, w in shapes)
    padded = any(shape != size for shape in shapes)
    for name, loss in plan.losses:
        if padded and (not isinstance(loss, LocalLoss) or loss.fills):
            found = f"the loss {name!r}, {type(loss).__name__}, which looks at whole arrays"
            raise PlanError(f"sizes: found several and {found}, expected losses that are told where a picture ends")
    graphs, *trees = zip(*(parts_of(pipeline, nnx.Param, ...) for pipeline in pipelines), strict=True)
    if any(graph != graphs[0] for graph in graphs):
        raise ValueError("pipelines: found several kinds, expected one")
    graph, (parameters, constants) = graphs[0], (_stacked(variables, size) for variables in trees)
    rows, columns = np.array(shapes, np.int32).T
    extents = Extent(jnp.asarray(rows), jnp.asarray(columns)) if padded else None
    pictures = jnp.stack([_padded(target, {"rows": 1, "columns": 2}, size) for target in targets])
    given = (parameters, constants, pictures, jnp.stack(keys), extents)
    parameters, constants, pictures, chances, extents = over_pictures(given, len(targets), devices)
    state = (parameters, jax.jit(adam(plan).init)(parameters), jnp.int32(0))
    step = 0
    while step < plan.steps:
        length = min(plan.every, plan.steps - step)
        state, (totals, parts) = _advance(
            state, constants, pictures, chances, extents, graph=graph, plan=plan, length=length
        )
        step += length
        yield tuple(
            _snapshot(
                gathered(nnx.merge(graph, _one(state[0], i, shape), _one(constants, i, shape))),
                optax.ScaleByAdamState(state[1].count, _one(state[1].mu, i, shape), _one(state[1].nu, i, shape)),
                np.asarray(totals[:, i]),
                {name: np.asarray(part[:, i]) for name, part in parts.items()},
                f"picture {i}: ",
                step,
                plan,
            )
            for i, shape in enumerate(shapes)
        )


def _snapshot(
    pipeline: Any,
    moments: Any,
    totals: Float[np.ndarray, " s"],
    parts: dict[str, Any],
    what: str,
    step: int,
    plan: Plan,
) -> Snapshot:
    history = finite(totals, parts, step - len(totals), what)
    arrays = named("variables", nnx.state(pipeline)) | named("moments", moments)
    return Snapshot(
        step=step,
        steps=plan.steps,
        loss=float(history[-1]),
        parts={name: float(part[-1]) for name, part in parts.items()},
        pipeline=pipeline,
        state=State(step=step, mean=float(history.mean()), over=step == plan.steps, arrays=arrays),
    )


def _padded(array: Any, where: dict[str, Any], size: tuple[int, int]) -> Array:
    """With zeros after it along the axes that are the picture's rows and columns."""
    margins = [(0, 0)] * array.ndim
    for name, whole in zip(("rows", "columns"), size, strict=True):
        if name in where:
            margins[where[name]] = (0, whole - array.shape[where[name]])
    return jnp.pad(array, margins) if margins else jnp.asarray(array)


def _stacked(trees: Sequence[Any], size: tuple[int, int]) -> Any:
    """Variables with one more axis, the first."""

    def stack(*variables: Any) -> Any:
        return variables[0].replace(jnp.stack([_padded(v[...], v.get_metadata(), size) for v in variables]))

    return jax.tree.map(stack, *trees, is_leaf=is_variable)


def _one(tree: Any, i: int, shape: tuple[int, ...]) -> Any:
    """What is the picture's own."""

    def one(variable: Any) -> Any:
        array, where = variable[...][i], variable.get_metadata()
        for name, length in zip(("rows", "columns"), shape, strict=True):
            if name in where:
                array = jax.lax.slice_in_dim(array, 0, length, axis=where[name])
        return variable.replace(array)

    return jax.tree.map(one, tree, is_leaf=is_variable)


def _within(loss: LocalLoss, rendered: Rendered, target: Image, extent: Extent) -> Scalar:
    """The loss of the part of the arrays that is the picture."""
    h, w = target.shape[1:]
    counts = jnp.ones((h, w), bool)
    for axis, (length, size) in enumerate(zip(extent, (h, w), strict=True)):
        border = loss.border(length)
        place = jnp.arange(size).reshape((-1, 1) if axis == 0 else (1, -1))
        counts &= (place >= border) & (place < length - border)
    return jnp.sum(loss.map(rendered, target, extent), where=counts) / jnp.sum(counts)


@functools.partial(jax.jit, static_argnames=("graph", "plan", "length"), donate_argnums=0)
def _advance(
    state: Any,
    constants: Any,
    targets: Float[Array, "b 3 h w"],
    keys: jax.Array,
    extents: Extent | None,
    *,
    graph: Any,
    plan: Plan,
    length: int,
) -> tuple[Any, tuple[Float[Array, "s b"], Parts]]:
    """`length` steps of all. State: parameters, Adam's moments, step."""

    def update(state: Any, _: None) -> tuple[Any, tuple[Array, Parts]]:
        parameters, moments, step = state

        def one(
            parameters: Any, constants: Any, target: Image, key: jax.Array, extent: Extent | None
        ) -> tuple[Scalar, Parts]:
            def judge(loss: Any, rendered: Rendered, target: Image) -> Scalar:
                return loss(rendered, target) if extent is None else _within(loss, rendered, target, extent)

            return objective(nnx.merge(graph, parameters, constants), target, plan, step, key, judge)

        def loss(parameters: Any) -> tuple[Scalar, tuple[Array, Parts]]:
            totals, parts = jax.vmap(one)(parameters, constants, targets, keys, extents)
            return jnp.sum(totals), (totals, parts)  # they share nothing: the slope of the sum is that of each

        gradient, history = jax.grad(loss, has_aux=True)(parameters)
        directions, moments = adam(plan).update(gradient, moments)
        parameters = moved(parameters, directions, value(plan.rate, step / max(plan.steps - 1, 1)))
        return (parameters, moments, step + 1), history

    return jax.lax.scan(update, state, length=length)
