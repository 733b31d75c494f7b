"""Conjugate gradients for a palette's move, step by step: whoever calls knows how a direction bends.

Preconditioned by each entry's own curvature. Hestenes and Stiefel, "Methods of conjugate gradients for solving linear
systems" (1952).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.interfaces import Scalar


class Conjugate(NamedTuple):
    """Where conjugate gradients stand: the move so far, what is left to answer, and the way to try next."""

    move: Float[Array, "k 3"]
    residual: Float[Array, "k 3"]
    direction: Float[Array, "k 3"]
    power: Scalar  # residual . inverse residual


def preconditioner(own: Float[Array, "k 6"]) -> Float[Array, "k 3 3"]:
    """Inverses of the entries' own curvatures [k 6]; those of entries without pixels are finite."""
    blocks = jnp.stack([own[:, [0, 1, 2]], own[:, [1, 3, 4]], own[:, [2, 4, 5]]], axis=1)
    scale = jnp.maximum(jnp.trace(blocks, axis1=1, axis2=2), 1e-12)
    return jnp.linalg.inv(blocks + 1e-3 * scale[:, None, None] * jnp.eye(3)[None])


def begin(pull: Float[Array, "k 3"], inverse: Float[Array, "k 3 3"]) -> Conjugate:
    """The search for the move that answers to `pull`."""
    conditioned = jnp.einsum("kij,kj->ki", inverse, pull)
    return Conjugate(jnp.zeros_like(pull), pull, conditioned, jnp.vdot(pull, conditioned))


def advance(search: Conjugate, bent: Float[Array, "k 3"], inverse: Float[Array, "k 3 3"]) -> Conjugate:
    """One step along the direction, whose image under the curvature is `bent`."""
    length = search.power / jnp.maximum(jnp.vdot(search.direction, bent), 1e-30)
    residual = search.residual - length * bent
    conditioned = jnp.einsum("kij,kj->ki", inverse, residual)
    remaining = jnp.vdot(residual, conditioned)
    turned = conditioned + remaining / jnp.maximum(search.power, 1e-30) * search.direction
    return Conjugate(search.move + length * search.direction, residual, turned, remaining)
