"""What a place looks like to a network: waves, or learned grids."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from diffquant.interfaces import Scalar

PRIME = 2654435761  # of the hash's second coordinate; the first one's is 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fourier:
    """Sines and cosines of a place along fixed random directions.

    Frequencies are normal, with `deviation` in periods along the picture's longer side. Source: Tancik et al., "Fourier
    features let networks learn high frequency functions in low dimensional domains" (2020), section 3.
    """

    frequencies: int = 32
    deviation: float = 8.0

    def __post_init__(self) -> None:
        if self.frequencies < 1:
            raise ValueError(f"Fourier: found {self.frequencies} frequencies, expected at least 1")

    def build(self, random: np.random.Generator, rate: float) -> "FourierFeatures":
        """Frequencies drawn by `random`; there is nothing to learn at a `rate`."""
        drawn = self.deviation * random.normal(size=(2, self.frequencies))
        return FourierFeatures(nnx.Variable(jnp.asarray(drawn, jnp.float32)))


class FourierFeatures(nnx.Module):
    """Buffers: frequencies [2 m]."""

    def __init__(self, frequencies: nnx.Variable) -> None:
        self.frequencies = frequencies
        self.size = 2 * frequencies.shape[1]

    def __call__(self, x: Float[Array, " w"], y: Scalar) -> Float[Array, "w f"]:
        """Sines, then cosines, of each place in a row."""
        along, across = 2 * math.pi * self.frequencies[...]
        column, row = x[:, None] * along[None], (y * across)[None]
        # Sums of angles: the columns' sines are the same in all rows of a strip.
        sine = jnp.sin(column) * jnp.cos(row) + jnp.cos(column) * jnp.sin(row)
        cosine = jnp.cos(column) * jnp.cos(row) - jnp.sin(column) * jnp.sin(row)
        return jnp.concatenate([sine, cosine], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HashGrid:
    """Learned features on grids of several widths, bilinear in between.

    `levels` grids, from `coarsest` to `finest` cells along the picture's longer side in equal ratios, each with at most
    `entries` vectors of `channels` numbers: corners of a finer grid share them by a hash. Source: Mueller et al.,
    "Instant neural graphics primitives with a multiresolution hash encoding" (2022), section 3.
    """

    levels: int = 8
    entries: int = 4096
    channels: int = 2
    coarsest: int = 8
    finest: int = 128

    def __post_init__(self) -> None:
        if min(self.levels, self.entries, self.channels) < 1:
            found = f"{self.levels} levels, {self.entries} entries and {self.channels} channels"
            raise ValueError(f"HashGrid: found {found}, expected at least 1 of each")
        if not 1 <= self.coarsest <= self.finest:
            raise ValueError(f"HashGrid: found {self.coarsest} to {self.finest} cells, expected from 1 upward")

    def cells(self) -> tuple[int, ...]:
        """Along the longer side, at each level."""
        return tuple(math.floor(cells + 0.5) for cells in np.geomspace(self.coarsest, self.finest, self.levels))

    def build(self, random: np.random.Generator, rate: float) -> "GridFeatures":
        """Tables near 0 by `random`, as in the source."""
        start = random.uniform(-1e-4, 1e-4, (self.levels, self.entries, self.channels))
        return GridFeatures(nnx.Param(jnp.asarray(start, jnp.float32), rate=rate), self)


class GridFeatures(nnx.Module):
    """Params: tables [levels entries channels]."""

    def __init__(self, tables: nnx.Param, spec: HashGrid) -> None:
        self.tables = tables
        self.spec = spec
        self.size = spec.levels * spec.channels

    def __call__(self, x: Float[Array, " w"], y: Scalar) -> Float[Array, "w f"]:
        """The levels' features of each place in a row, one level after another."""
        levels = zip(self.tables[...], self.spec.cells(), strict=True)
        return jnp.concatenate([self._bilinear(table, cells, x, y) for table, cells in levels], axis=1)

    def _bilinear(self, table: Float[Array, "t c"], cells: int, x: Float[Array, " w"], y: Scalar) -> Array:
        column, row = jnp.floor(x * cells), jnp.floor(y * cells)
        right, down = x * cells - column, y * cells - row

        def corner(i: int, j: int) -> Array:
            share = (right if j else 1 - right) * (down if i else 1 - down)
            place = self.place(row.astype(jnp.uint32) + i, column.astype(jnp.uint32) + j, cells)
            return share[:, None] * table[place]

        return corner(0, 0) + corner(0, 1) + corner(1, 0) + corner(1, 1)

    def place(self, row: Array, column: Array, cells: int) -> Array:
        """Of a grid's corner in its table: row by row if there is room for all, else hashed."""
        if (cells + 1) ** 2 <= self.spec.entries:
            return row * (cells + 1) + column
        return (column ^ (row * jnp.uint32(PRIME))) % self.spec.entries


AnyFeatures = Fourier | HashGrid
