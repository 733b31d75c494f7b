"""Rounding with a slope: what a gradient may see of a choice of whole numbers.

Each is a spec that is called with numbers, a temperature and a key, and ignores what it has no use for.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.interfaces import Scalar

COLDEST = 0.02  # temperature below which float32 would lose the slope at whole numbers


@jax.custom_jvp
def straight_through(x: Float[Array, "..."], hard: Float[Array, "..."]) -> Float[Array, "..."]:
    """Exactly `hard`, with the slope of `x`: `hard` counts as a constant."""
    return hard


straight_through.defjvps(lambda tangent, _, x, hard: tangent, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StraightThrough:
    """Rounds, with a slope of 1 everywhere. Bengio et al., "Estimating or Propagating Gradients" (2013)."""

    def __call__(self, x: Float[Array, "..."], temperature: Scalar | float, *, key: jax.Array) -> Float[Array, "..."]:
        """The nearest whole numbers; of two the even one."""
        return straight_through(x, jnp.round(x))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftRound:
    """Steps as steep as 1 / temperature, which join smoothly at the whole numbers: these it leaves as they are.

    Rounds as the temperature falls, and changes nothing at a high one. The slope is finite and above 0 everywhere:
    below a temperature of 0.02 nothing changes any more. Source: Agustsson and Theis, "Universally Quantized Neural
    Compression" (2020), whose alpha is 1 / temperature.
    """

    def __call__(self, x: Float[Array, "..."], temperature: Scalar | float, *, key: jax.Array) -> Float[Array, "..."]:
        """Between floor(x) and floor(x) + 1, and rising."""
        steepness = 1 / jnp.maximum(temperature, COLDEST)
        middle = jnp.floor(x) + 0.5
        return middle + _tanh(steepness * (x - middle)) / (2 * _tanh(steepness / 2))


@jax.custom_jvp
def _tanh(x: Array) -> Array:
    """`jnp.tanh`, with a slope that does not vanish where the value is 1 to within float32."""
    return jnp.tanh(x)


@_tanh.defjvp
def _tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    shrink = jnp.exp(-2 * jnp.abs(primals[0]))
    return _tanh(primals[0]), tangents[0] * 4 * shrink / jnp.square(1 + shrink)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdditiveNoise:
    """Adds what rounding might: uniform noise of one step, with a slope of 1.

    Ballé, Laparra and Simoncelli, "End-to-end Optimized Image Compression" (2017).
    """

    def __call__(self, x: Float[Array, "..."], temperature: Scalar | float, *, key: jax.Array) -> Float[Array, "..."]:
        """Within half a step of `x`, and on average `x`."""
        return x + jax.random.uniform(key, x.shape, x.dtype, -0.5, 0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cubic:
    """Rounds, and adds the cube of what is rounded off, at most 1/8.

    The slope is 3/4 half way between whole numbers and exactly 0 at them: a number that has arrived there stays.
    Source: Shin and Song, "JPEG-resistant Adversarial Images" (2017).
    """

    def __call__(self, x: Float[Array, "..."], temperature: Scalar | float, *, key: jax.Array) -> Float[Array, "..."]:
        """Within 1/8 of the nearest whole numbers."""
        whole = jax.lax.stop_gradient(jnp.round(x))
        return whole + (x - whole) ** 3


AnyRounding = StraightThrough | SoftRound | AdditiveNoise | Cubic
