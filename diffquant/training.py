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

from diffquant.interfaces import Image, Scalar
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state after `step` of `steps`. `pipeline` is valid until the next snapshot is asked for: buffers are reused.

    `loss` is the weighted sum, `parts` the unweighted losses by name, both at the last step.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    pipeline: Any


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


def fit(pipeline: Any, target: Image, plan: Plan, *, key: jax.Array) -> Iterator[Snapshot]:
    """Tune `pipeline` on `target`: a snapshot after every chunk. The caller logs, draws, saves or stops.

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
    """
    if plan.steps == 0:
        return
    graph, parameters, constants = nnx.split(pipeline, nnx.Param, ...)  # type: ignore[misc]
    state = (parameters, jax.jit(_adam(plan).init)(parameters), jnp.int32(0))
    before, step = math.inf, 0
    while step < plan.steps:
        length = min(plan.every, plan.steps - step)
        state, (totals, parts) = _advance(state, constants, target, key, graph=graph, plan=plan, length=length)
        history = np.asarray(totals)
        if not np.isfinite(history).all():
            first = int(np.argmin(np.isfinite(history)))
            found = ", ".join(f"{name} = {float(part[first]):.4g}" for name, part in parts.items())
            raise FloatingPointError(f"the loss is {history[first]} at step {step + first}: {found}")
        step += length
        yield Snapshot(
            step=step,
            steps=plan.steps,
            loss=float(history[-1]),
            parts={name: float(part[-1]) for name, part in parts.items()},
            pipeline=nnx.merge(graph, state[0], constants),
        )
        mean = float(history.mean())
        if plan.tolerance is not None and before - mean < plan.tolerance * abs(before):
            return
        before = mean
