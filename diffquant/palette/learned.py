"""A palette with gradients: free entries in OkLab or linear light, pinned ones as they are."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from diffquant import color

Space = Literal["oklab", "linear"]


class LearnedPalette(nnx.Module):
    """Params: free [f 3] in `space`. Buffers: pinned [p 3], linear light. Entries: the pinned ones, then the free."""

    def __init__(
        self, oklab: Float[np.ndarray, "k 3"], pinned: UInt8[np.ndarray, "p 3"], *, space: Space, rate: float
    ) -> None:
        free = oklab[len(pinned) :].T
        start = free if space == "oklab" else color.linear_from_oklab(free)
        self.free = nnx.Param(jnp.asarray(start.T, jnp.float32), rate=rate)
        self.pinned = nnx.Variable(jnp.asarray(color.linear_from_srgb8(pinned), jnp.float32).reshape(-1, 3))
        self.space = space

    def linear(self) -> Float[Array, "k 3"]:
        """Entries in linear light, clipped to the gamut: what an 8-bit file can hold but for the rounding."""
        free = self.free[...]
        if self.space == "oklab":
            free = color.linear_from_oklab(free.T).T
        return jnp.concatenate([self.pinned[...], color.clip_to_gamut(free)])

    def is_free(self) -> Float[Array, " k"]:
        """1 for entries that may move, 0 for pinned ones."""
        return jnp.concatenate([jnp.zeros(len(self.pinned[...])), jnp.ones(len(self.free[...]))])
