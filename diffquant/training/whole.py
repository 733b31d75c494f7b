"""Descent on the whole picture at once: many steps in one dispatch."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from diffquant.interfaces import Image, Refreshable, Rendered, Scalar
from diffquant.losses.base import Loss
from diffquant.schedules import value
from diffquant.training.mesh import placed, shared, shared_image
from diffquant.training.plan import Plan, State
from diffquant.training.state import adam, filled, moved, named, parts_of, restored

Parts = dict[str, Array]


def judged(loss: Loss, rendered: Rendered, target: Image) -> Scalar:
    """The loss of the whole."""
    return loss(rendered, target)


def objective(
    pipeline: Any,
    target: Image,
    plan: Plan,
    step: Int[Array, ""],
    key: jax.Array,
    judge: Callable[[Loss, Rendered, Image], Scalar] = judged,
) -> tuple[Scalar, dict[str, Any]]:
    """Weighted sum of the losses at `step`, and the unweighted losses by name."""
    progress = step / max(plan.steps - 1, 1)
    rendered = pipeline.render(value(plan.temperature, progress), key=jax.random.fold_in(key, step))
    parts = {name: judge(loss, rendered, target) for name, loss in plan.losses}
    total = sum(value(loss.weight, progress) * parts[name] for name, loss in plan.losses)
    return jnp.asarray(total), parts


@functools.partial(jax.jit, static_argnames=("graph", "plan", "length"), donate_argnums=0)
def _advance(
    state: Any,
    constants: Any,
    target: Image,
    key: jax.Array,
    bound: Int[Array, ""] | None,
    *,
    graph: Any,
    plan: Plan,
    length: int,
) -> tuple[Any, tuple[Float[Array, " s"], Parts]]:
    """`length` steps; `bound` says so once more on several devices. State: parameters, Adam's moments, step."""

    def update(state: Any, _: None) -> tuple[Any, tuple[Array, Parts]]:
        parameters, moments, step = state

        def loss(parameters: Any) -> tuple[Scalar, dict[str, Any]]:
            return objective(nnx.merge(graph, parameters, constants), target, plan, step, key)

        (total, parts), gradient = jax.value_and_grad(loss, has_aux=True)(parameters)
        directions, moments = adam(plan).update(gradient, moments)
        parameters = moved(parameters, directions, value(plan.rate, step / max(plan.steps - 1, 1)))
        return (parameters, moments, step + 1), (total, parts)

    if bound is None:
        return jax.lax.scan(update, state, length=length)

    # XLA must not unroll a single step: on CPUs of several processes exchanges outside of a loop overtake each other.
    def at(number: Array, carry: Any) -> Any:
        state, history = carry
        state, seen = update(state, None)
        return state, jax.tree.map(lambda values, value: values.at[number].set(value), history, seen)

    shapes = jax.eval_shape(update, state, None)[1]
    history = jax.tree.map(lambda shape: jnp.zeros((length, *shape.shape), shape.dtype), shapes)
    return jax.lax.fori_loop(0, bound, at, (state, history))


class Whole:
    """A pipeline, its moments, and the picture, all on the device; or shared out among the devices of a `mesh`."""

    def __init__(
        self, pipeline: Any, target: Image, plan: Plan, *, key: jax.Array, start: State | None, mesh: Mesh | None = None
    ) -> None:
        if start is not None:
            pipeline = restored(pipeline, start)
        self.target, self.plan, self.key = target, plan, key
        self.graph, parameters, self.constants = parts_of(pipeline, nnx.Param, ...)
        shapes = jax.eval_shape(adam(plan).init, parameters)
        if start is None:
            moments = jax.jit(adam(plan).init, out_shardings=mesh and placed(shapes, mesh))(parameters)
        else:
            moments = filled("moments", shapes, start.arrays)
        self.state = (parameters, moments, jnp.int32(0 if start is None else start.step))
        self.mesh = mesh
        if mesh is not None:
            self.state, self.constants, self.key = shared((self.state, self.constants, key), mesh)
            self.target = shared_image(target, mesh)

    def advance(self, length: int) -> tuple[Float[Array, " s"], Parts]:
        """So many steps: the weighted sum of losses before each, and the losses by name."""
        with contextlib.nullcontext() if self.mesh is None else jax.set_mesh(self.mesh):
            self.state, history = _advance(
                self.state,
                self.constants,
                self.target,
                self.key,
                None if self.mesh is None else jnp.int32(length),
                graph=self.graph,
                plan=self.plan,
                length=length,
            )
        return history

    def refresh(self) -> None:
        """What a `Refreshable` pipeline wants between two chunks."""
        pipeline = self.tuned()
        if not isinstance(pipeline, Refreshable) or (change := pipeline.refreshed(self.target)) is None:
            return
        pipeline, carry = change
        _, moments, step = self.state
        _, parameters, self.constants = parts_of(pipeline, nnx.Param, ...)
        self.state = (parameters, moments._replace(mu=carry(moments.mu), nu=carry(moments.nu)), step)

    def tuned(self) -> Any:
        """The pipeline as it stands."""
        return nnx.merge(self.graph, self.state[0], self.constants)

    def arrays(self) -> dict[str, Any]:
        """What has to be saved."""
        return named("variables", nnx.state(self.tuned())) | named("moments", self.state[1])
