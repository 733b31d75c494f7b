"""A palette with gradients: free entries in OkLab or linear light, pinned ones as they are."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from diffquant import color

Space = Literal["oklab", "linear"]


@functools.partial(jax.jit, static_argnums=2)  # one small program instead of ten when it is asked for by itself
def _linear(free: Float[Array, "f 3"], pinned: Float[Array, "p 3"], space: Space) -> Float[Array, "k 3"]:
    light = color.linear_from_oklab(free.T).T if space == "oklab" else free
    return jnp.concatenate([pinned, color.clip_to_gamut(light)])


class LearnedPalette(nnx.Module):
    """Params: free [f 3] in `space`. Buffers: pinned [p 3], linear light. Entries: the pinned ones, then the free."""

    def __init__(
        self, oklab: Float[np.ndarray, "k 3"], pinned: UInt8[np.ndarray, "p 3"], *, space: Space, rate: float
    ) -> None:
        free = oklab[len(pinned) :].T
        start = free if space == "oklab" else color.linear_from_oklab(free)
        self.free = nnx.Param(jnp.asarray(start.T, jnp.float32), rate=rate)
        self.pinned = nnx.Variable(jnp.asarray(color.linear_from_srgb8(pinned).reshape(-1, 3), jnp.float32))
        self.space = space

    def linear(self) -> Float[Array, "k 3"]:
        """Entries in linear light, clipped to the gamut: what an 8-bit file can hold but for the rounding."""
        return _linear(self.free[...], self.pinned[...], self.space)

    def is_free(self) -> Float[np.ndarray, " k"]:
        """1 for entries that may move, 0 for pinned ones."""
        return np.repeat(np.array([0, 1], np.float32), [len(self.pinned[...]), len(self.free[...])])
