"""Relaxation: gradient descent on a soft pipeline. The only optimizer step and the only scan over steps."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from diffquant.interfaces import Image, Refreshable, Scalar
from diffquant.losses.base import Loss
from diffquant.schedules import Schedule, value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to descend. Hashable: one compilation for each plan, kind of pipeline and size of picture.

    Adam with the rate that each parameter names, times `rate`. `every` steps run in one dispatch, between snapshots.
    Stops after `steps`, or, unless `tolerance` is None, when the mean loss of a chunk does not improve on
    the last one's by that share.
    """

    losses: tuple[tuple[str, Loss], ...]
    steps: int
    every: int
    temperature: Schedule
    rate: Schedule
    b1: float
    b2: float
    tolerance: float | None


class StateError(ValueError):
    """A state that is not one of this pipeline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """All that `fit` remembers from one chunk to the next: what has to be saved so that it can continue.

    `arrays` are the pipeline's variables and Adam's moments by name, `mean` is the mean loss of the last chunk. `over`:
    no step is left to do.
    """

    step: int
    mean: float
    over: bool
    arrays: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state after `step` of `steps`, with `pipeline` in it.

    Both are valid until the next snapshot is asked for: buffers are reused. `loss` is the weighted sum, `parts` the
    unweighted losses by name, both at the last step.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    pipeline: Any
    state: State


def objective(
    pipeline: Any, target: Image, plan: Plan, step: Int[Array, ""], key: jax.Array
) -> tuple[Scalar, dict[str, Any]]:
    """Weighted sum of the losses at `step`, and the unweighted losses by name."""
    progress = step / max(plan.steps - 1, 1)
    rendered = pipeline.render(value(plan.temperature, progress), key=jax.random.fold_in(key, step))
    parts = {name: loss(rendered, target) for name, loss in plan.losses}
    total = sum(value(loss.weight, progress) * parts[name] for name, loss in plan.losses)
    return jnp.asarray(total), parts


@functools.partial(jax.jit, static_argnames=("graph", "plan", "length"), donate_argnums=0)
def _advance(
    state: Any, constants: Any, target: Image, key: jax.Array, *, graph: Any, plan: Plan, length: int
) -> tuple[Any, tuple[Float[Array, " s"], dict[str, Array]]]:
    """`length` steps. State: parameters, Adam's moments, step."""

    def update(state: Any, _: None) -> tuple[Any, tuple[Array, dict[str, Array]]]:
        parameters, moments, step = state

        def loss(parameters: Any) -> tuple[Scalar, dict[str, Any]]:
            return objective(nnx.merge(graph, parameters, constants), target, plan, step, key)

        (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
        updates, moments = _adam(plan).update(gradient, moments)
        scale = -value(plan.rate, step / max(plan.steps - 1, 1))
        updates = jax.tree.map(
            lambda u: u.replace(scale * u.get_metadata()["rate"] * u[...]), updates, is_leaf=_is_variable
        )
        return (optax.apply_updates(parameters, updates), moments, step + 1), (total, parts)

    return jax.lax.scan(update, state, length=length)


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)


def _adam(plan: Plan) -> optax.GradientTransformation:
    return optax.scale_by_adam(plan.b1, plan.b2)


def restored(pipeline: Any, state: State) -> Any:
    """`pipeline` with the variables of `state`.

    Raises:
        StateError: the state is that of another pipeline.
    """
    graph, variables = nnx.split(pipeline)
    return nnx.merge(graph, _filled("variables", variables, state.arrays))


def _named(prefix: str, tree: Any) -> dict[str, Array]:
    """The leaves of `tree` by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{prefix}{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def _filled(prefix: str, tree: Any, arrays: dict[str, Any]) -> Any:
    """`tree` with the leaves that `arrays` has under its paths; copies, as buffers are reused."""

    def fill(path: Any, leaf: Any) -> Array:
        name = f"{prefix}{jax.tree_util.keystr(path)}"
        found = arrays.get(name)
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            shown = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise StateError(f"state: found {shown} for {name}, expected {leaf.dtype} {leaf.shape}")
        return jnp.array(found)

    return jax.tree_util.tree_map_with_path(fill, tree)


def _refreshed(graph: Any, state: Any, constants: Any, target: Image) -> tuple[Any, Any]:
    """State and constants as the pipeline wants them for the next chunk."""
    parameters, moments, step = state
    pipeline = nnx.merge(graph, parameters, constants)
    if not isinstance(pipeline, Refreshable) or (change := pipeline.refreshed(target)) is None:
        return state, constants
    pipeline, carry = change
    _, parameters, constants = nnx.split(pipeline, nnx.Param, ...)  # type: ignore[misc]
    moments = moments._replace(mu=carry(moments.mu), nu=carry(moments.nu))
    return (parameters, moments, step), constants


def fit(pipeline: Any, target: Image, plan: Plan, *, key: jax.Array, start: State | None = None) -> Iterator[Snapshot]:
    """Tune `pipeline` on `target`: a snapshot after every chunk. The caller logs, draws, saves or stops.

    Before every chunk but the first a pipeline that is `Refreshable` is refreshed.

    From `start`, the state of a snapshot under the same arguments, follow the snapshots that followed it there, bit for
    bit on the same machine.

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
        StateError: `start` is the state of another pipeline.
    """
    if plan.steps == 0 or (start is not None and start.over):
        return
    if start is not None:
        pipeline = restored(pipeline, start)
    graph, parameters, constants = nnx.split(pipeline, nnx.Param, ...)  # type: ignore[misc]
    begin = jax.jit(_adam(plan).init)
    if start is None:
        moments, step, before = begin(parameters), 0, math.inf
    else:
        moments = _filled("moments", jax.eval_shape(begin, parameters), start.arrays)
        step, before = start.step, start.mean
    state, over = (parameters, moments, jnp.int32(step)), False
    while not over:
        if step > 0:
            state, constants = _refreshed(graph, state, constants, target)
        length = min(plan.every, plan.steps - step)
        state, (totals, parts) = _advance(state, constants, target, key, graph=graph, plan=plan, length=length)
        history = np.asarray(totals)
        if not np.isfinite(history).all():
            first = int(np.argmin(np.isfinite(history)))
            found = ", ".join(f"{name} = {float(part[first]):.4g}" for name, part in parts.items())
            raise FloatingPointError(f"the loss is {history[first]} at step {step + first}: {found}")
        step += length
        mean = float(history.mean())
        settled = plan.tolerance is not None and before - mean < plan.tolerance * abs(before)
        before, over = mean, settled or step == plan.steps
        tuned = nnx.merge(graph, state[0], constants)
        arrays = _named("variables", nnx.state(tuned)) | _named("moments", state[1])
        yield Snapshot(
            step=step,
            steps=plan.steps,
            loss=float(history[-1]),
            parts={name: float(part[-1]) for name, part in parts.items()},
            pipeline=tuned,
            state=State(step=step, mean=mean, over=over, arrays=arrays),
        )
