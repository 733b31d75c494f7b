"""Free logits at every pixel."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from diffquant import color
from diffquant.assignment.relaxation import AnyRelaxation, Expectation, expectation
from diffquant.interfaces import Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelSoftmax:
    """A softmax over all palette entries at each pixel.

    `rate` is its learning rate under Adam, in logits. `sharpness` sets the start: logits are -d^2 / (sharpness * m),
    d the OkLab distance to the entry and m the mean squared distance to the nearest one.
    """

    rate: float = 1.0
    sharpness: float = 4.0
    relaxation: AnyRelaxation = Expectation()

    def build(self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]) -> "PixelSoftmaxAssignment":
        """Logits from the OkLab distances of the `target`'s pixels, in linear light, to the `palette`, in OkLab."""
        logits = _logits_by_distance(target, palette, self.sharpness)
        return PixelSoftmaxAssignment(nnx.Param(logits, rate=self.rate, rows=0, columns=1), self.relaxation)


@jax.jit
def _logits_by_distance(
    target: Float[Array, "3 h w"], palette: Float[Array, "k 3"], sharpness: Scalar | float
) -> Float[Array, "h w k"]:
    """`target` is linear light, `palette` OkLab."""
    distance = sum(
        (plane[..., None] - palette[None, None, :, i]) ** 2 for i, plane in enumerate(color.oklab_planes(target))
    )
    return -distance / jnp.maximum(sharpness * jnp.mean(jnp.min(distance, axis=-1)), 1e-8)


class PixelSoftmaxAssignment(nnx.Module):
    """Params: logits [h w k]. A distribution over the palette at each pixel."""

    def __init__(self, logits: nnx.Param, relaxation: AnyRelaxation) -> None:
        self.logits = logits
        self.relaxation = relaxation

    def weights(self, temperature: Scalar, *, key: jax.Array) -> Float[Array, "h w k"]:
        """What the relaxation makes of the logits."""
        return self.relaxation(self.logits[...], temperature, key=key)

    def expect(
        self, values: Float[Array, "k d"], temperature: Scalar, *, key: jax.Array
    ) -> tuple[Float[Array, "d h w"], Float[Array, "h w"], Float[Array, " k"]]:
        """Expected `values` at each pixel; entropy at each pixel, in bits; share of each entry in the whole image."""
        weights = self.weights(temperature, key=key)
        entropy = -jnp.sum(weights * jnp.log2(jnp.maximum(weights, 1e-12)), axis=-1)
        return expectation(weights, values), entropy, jnp.mean(weights, axis=(0, 1))

    def mode(self) -> Int[Array, "h w"]:
        """The likeliest entry: the cold limit."""
        return jnp.argmax(self.logits[...], axis=-1)

    def sample(self, temperature: Scalar, *, key: jax.Array) -> Int[Array, "h w"]:
        """One independent draw at each pixel."""
        return jax.random.categorical(key, self.logits[...] / temperature, axis=-1)

    def threshold(self, temperature: Scalar, mask: Float[Array, "h w"]) -> Int[Array, "h w"]:
        """The entry at which the cumulative distribution passes the `mask`'s threshold in (0, 1)."""
        cumulative = jnp.cumsum(jax.nn.softmax(self.logits[...] / temperature, axis=-1), axis=-1)
        return jnp.minimum(jnp.sum(cumulative < mask[..., None], axis=-1), cumulative.shape[-1] - 1)
