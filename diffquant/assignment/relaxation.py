"""How a choice among k is relaxed: logits in, weights that sum to one out."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.interfaces import Scalar


@jax.custom_vjp
def softmax(logits: Float[Array, "*n k"]) -> Float[Array, "*n k"]:
    """Softmax over the last axis. Its own gradient rule keeps only the result, and fuses on a CPU."""
    return jax.nn.softmax(logits, axis=-1)


def _softmax_forward(logits: Array) -> tuple[Array, Array]:
    weights = jax.nn.softmax(logits, axis=-1)
    return weights, weights


def _softmax_backward(weights: Array, gradient: Array) -> tuple[Array]:
    return (weights * (gradient - jnp.sum(weights * gradient, axis=-1, keepdims=True)),)


softmax.defvjp(_softmax_forward, _softmax_backward)


@jax.custom_vjp
def expectation(weights: Float[Array, "h w k"], values: Float[Array, "k d"]) -> Float[Array, "d h w"]:
    """Weighted sums of the rows of `values`, as planes."""
    h, w, k = weights.shape
    return (weights.reshape(-1, k) @ values).T.reshape(-1, h, w)


def _expectation_forward(weights: Array, values: Array) -> tuple[Array, tuple[Array, Array]]:
    return expectation(weights, values), (weights, values)


def _expectation_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    weights, values = saved
    flat = gradient.reshape(gradient.shape[0], -1).T
    return (flat @ values.T).reshape(weights.shape), weights.reshape(-1, weights.shape[-1]).T @ flat


expectation.defvjp(_expectation_forward, _expectation_backward)


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The distribution itself: softmax(logits / temperature). Deterministic."""

    def __call__(self, logits: Float[Array, "h w k"], temperature: Scalar, *, key: jax.Array) -> Float[Array, "h w k"]:
        """Weights; their gradient is exact for the expected image."""
        return softmax(logits / temperature)


@dataclasses.dataclass(frozen=True)
class GumbelSoftmax:
    """A relaxed sample: softmax((logits + Gumbel noise) / temperature); one-hot as the temperature falls to 0.

    Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax" (2017), equation 2. With `hard` the
    sample is one-hot, with the relaxed sample's gradient.
    """

    hard: bool = False

    def __call__(self, logits: Float[Array, "h w k"], temperature: Scalar, *, key: jax.Array) -> Float[Array, "h w k"]:
        """Weights drawn with `key`; the gradient is biased unless the temperature is low."""
        soft = softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / temperature)
        return _straight_through(soft) if self.hard else soft


@dataclasses.dataclass(frozen=True)
class StraightThrough:
    """The most likely entry, with the gradient of the softmax. Source: Bengio, Leonard and Courville (2013)."""

    def __call__(self, logits: Float[Array, "h w k"], temperature: Scalar, *, key: jax.Array) -> Float[Array, "h w k"]:
        """One-hot weights: the loss sees exactly the picture that argmax would export."""
        return _straight_through(softmax(logits / temperature))


def _straight_through(soft: Array) -> Array:
    hard = jax.nn.one_hot(jnp.argmax(soft, axis=-1), soft.shape[-1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(hard - soft)


AnyRelaxation = Expectation | GumbelSoftmax | StraightThrough
