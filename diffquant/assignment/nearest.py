"""No freedom at all: every pixel has the entry nearest to its own colour."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from diffquant import color
from diffquant.interfaces import Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest:
    """The nearest entry in OkLab, fixed from the start: only the palette is tuned. Memory does not grow with it."""

    def build(self, target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]) -> "NearestAssignment":
        """Indices for a `target` in linear light and a `palette` in OkLab."""
        return NearestAssignment(nnx.Variable(nearest(target, palette), rows=0, columns=1), palette.shape[0])


@jax.jit
def nearest(target: Float[Array, "3 h w"], palette: Float[Array, "k 3"]) -> Int[Array, "h w"]:
    """Index of the entry of `palette`, in OkLab, that is nearest to each pixel of `target`, in linear light."""
    planes = color.oklab_planes(target)

    def closer(best: tuple[Array, Array, Array], entry: Array) -> tuple[tuple[Array, Array, Array], None]:
        distance, index, k = best
        here = (planes[0] - entry[0]) ** 2 + (planes[1] - entry[1]) ** 2 + (planes[2] - entry[2]) ** 2
        return (jnp.minimum(distance, here), jnp.where(here < distance, k, index), k + 1), None

    shape = target.shape[1:]
    start = (jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32), jnp.int32(0))
    return jax.lax.scan(closer, start, palette)[0][1]


class NearestAssignment(nnx.Module):
    """Buffers: indices [h w]. A distribution that is certain at every pixel."""

    def __init__(self, indices: nnx.Variable, entries: int) -> None:
        self.indices = indices
        self.entries = entries

    def expect(
        self, values: Float[Array, "k d"], temperature: Scalar, *, key: jax.Array
    ) -> tuple[Float[Array, "d h w"], Float[Array, "h w"], Float[Array, " k"]]:
        """The `values` of the chosen entries; no entropy; share of each entry in the whole image."""
        indices = self.indices[...]
        usage = jnp.bincount(indices.reshape(-1), length=self.entries) / indices.size
        return jnp.moveaxis(values[indices], -1, 0), jnp.zeros(indices.shape), usage

    def mode(self) -> Int[Array, "h w"]:
        """The entry."""
        return self.indices[...]

    def sample(self, temperature: Scalar, *, key: jax.Array) -> Int[Array, "h w"]:
        """The entry: nothing is left to chance."""
        return self.indices[...]

    def threshold(self, temperature: Scalar, mask: Float[Array, "h w"]) -> Int[Array, "h w"]:
        """The entry, whatever the mask."""
        return self.indices[...]
