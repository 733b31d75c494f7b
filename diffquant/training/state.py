"""Variables and moments: by name, from names, and one step further."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array

from diffquant.interfaces import Scalar
from diffquant.training.plan import Plan, State, StateError


def is_variable(node: Any) -> bool:
    """A leaf, for `jax.tree.map`."""
    return isinstance(node, nnx.Variable)


def has_place(_: Any, variable: Any) -> bool:
    """A filter: variables whose axes `rows`, `columns`, or one of these, run along the picture's."""
    return not {"rows", "columns"}.isdisjoint(variable.get_metadata())


def parts_of(pipeline: Any, *filters: Any) -> tuple[Any, ...]:
    """Its graph, then its variables by the first filter that lets them pass."""
    return nnx.split(pipeline, *filters)


def adam(plan: Plan) -> optax.GradientTransformation:
    """Directions; the rates come on top of them."""
    return optax.scale_by_adam(plan.b1, plan.b2)


def moved(parameters: Any, directions: Any, rate: Scalar | float) -> Any:
    """The parameters after a step against the directions, each at its own rate times `rate`."""
    updates = jax.tree.map(
        lambda u: u.replace(-rate * u.get_metadata()["rate"] * u[...]), directions, is_leaf=is_variable
    )
    return optax.apply_updates(parameters, updates)


def restored(pipeline: Any, state: State) -> Any:
    """`pipeline` with the variables of `state`.

    Raises:
        StateError: the state is that of another pipeline.
    """
    graph, variables = nnx.split(pipeline)
    return nnx.merge(graph, filled("variables", variables, state.arrays))


def named(prefix: str, tree: Any) -> dict[str, Any]:
    """The leaves of `tree` by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{prefix}{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def filled(prefix: str, tree: Any, arrays: dict[str, Any]) -> Any:
    """`tree` with the leaves that `arrays` has under its paths; copies, as buffers are reused.

    Raises:
        StateError: one is missing, or of another shape or type.
    """

    def fill(path: Any, leaf: Any) -> Array:
        name = f"{prefix}{jax.tree_util.keystr(path)}"
        found = arrays.get(name)
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            shown = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise StateError(f"state: found {shown} for {name}, expected {leaf.dtype} {leaf.shape}")
        return jnp.array(found)

    return jax.tree_util.tree_map_with_path(fill, tree)
