"""Phases of a lattice: the blur of an image evaluated at, or spread from, every LATTICE-th pixel only.

Pixels of one phase of a LATTICE x LATTICE grid hardly interact, so they can choose at once. What they need of a blurred
field costs a fraction of the blur: rows first, at the rows of the phase only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from diffquant.signal.filters import Extent, Kernel, band, band_within, weighted_sum

LATTICE = 4


class Grid(NamedTuple):
    """Geometry of the padded frame: `h`, `w` pixels; `margin` before and after, a multiple of LATTICE."""

    h: int
    w: int
    margin: int

    @property
    def sites(self) -> tuple[int, int]:
        """Rows and columns of one phase."""
        return -(-self.h // LATTICE), -(-self.w // LATTICE)

    def frame(self, planes: Float[Array, "c h w"]) -> Float[Array, "c H W"]:
        """The image inside zeros: one window for each phase fits."""
        rows, columns = self.sites
        before = self.margin
        after = [self.margin + LATTICE * (n + 1) - size for n, size in ((rows, self.h), (columns, self.w))]
        return jnp.pad(planes, ((0, 0), (before, after[0]), (before, after[1])))

    def crop(self, frame: Float[Array, "c H W"]) -> Float[Array, "c h w"]:
        """Undo `frame`."""
        return frame[:, self.margin : self.margin + self.h, self.margin : self.margin + self.w]

    def window(self, frame: Float[Array, "c H W"], phase: tuple[Array, Array]) -> Float[Array, "c rows columns"]:
        """The frame shifted so that the sites of the phase lie on multiples of LATTICE."""
        rows, columns = self.sites
        size = [LATTICE * n + 2 * self.margin for n in (rows, columns)]
        return jax.lax.dynamic_slice(frame, (0, phase[0], phase[1]), (frame.shape[0], *size))

    def split(self, planes: Shaped[Array, "c h w"]) -> Shaped[Array, "p p c m n"]:
        """Values of each phase: [row phase, column phase, c, rows, columns]; sites outside the image are 0."""
        rows, columns = self.sites
        padded = jnp.pad(planes, ((0, 0), (0, LATTICE * rows - self.h), (0, LATTICE * columns - self.w)))
        return padded.reshape(-1, rows, LATTICE, columns, LATTICE).transpose(2, 4, 0, 1, 3)

    def join(self, phases: Shaped[Array, "p p c m n"]) -> Shaped[Array, "c h w"]:
        """Undo `split`."""
        rows, columns = self.sites
        planes = phases.transpose(2, 3, 0, 4, 1).reshape(-1, LATTICE * rows, LATTICE * columns)
        return planes[:, : self.h, : self.w]


def bands_of(grid: Grid, kernel: Kernel, extent: Extent | None = None) -> tuple[Array, Array]:
    """Banded blur of each axis, by phase: [phase, site, tap], zero for sites outside the image, or its `extent`."""
    out = []
    lengths = (None, None) if extent is None else extent
    for size, sites, length in zip((grid.h, grid.w), grid.sites, lengths, strict=True):
        weights = band(size, kernel) if length is None else band_within(size, kernel, length)
        padded = jnp.pad(weights, ((0, LATTICE * sites - size), (0, 0)))
        out.append(padded.reshape(sites, LATTICE, -1).transpose(1, 0, 2))
    return out[0], out[1]


def gather(window: Float[Array, "c H W"], bands: tuple[Array, Array], grid: Grid) -> Float[Array, "c m n"]:
    """The blur of the window, at the sites only."""
    (rows, columns), (across, along) = grid.sites, bands
    start = grid.margin - across.shape[1] // 2

    def plane(p: Float[Array, "H W"]) -> Float[Array, "m n"]:
        last = start + LATTICE * (rows - 1) + 1
        strip = weighted_sum(
            (jax.lax.slice_in_dim(p, start + t, last + t, LATTICE, axis=0), across[:, t, None])
            for t in range(across.shape[1])
        )
        last = start + LATTICE * (columns - 1) + 1
        return weighted_sum(
            (jax.lax.slice_in_dim(strip, start + t, last + t, LATTICE, axis=1), along[None, :, t])
            for t in range(along.shape[1])
        )

    return jax.lax.map(plane, window)


def spread(moves: Float[Array, "c m n"], bands: tuple[Array, Array], grid: Grid) -> Float[Array, "c H W"]:
    """The blur of an image that is zero but at the sites, over the whole window: the adjoint of `gather`."""

    def along(plane: Float[Array, "m n"], weights: Float[Array, "n t"], size: int) -> Float[Array, "m L"]:
        """Spread along the last axis, output sample LATTICE * i + residue at a time."""
        radius = weights.shape[1] // 2
        reach = size // LATTICE
        residues = []
        for residue in range(LATTICE):
            total = jnp.zeros((plane.shape[0], reach), plane.dtype)
            for t in range((residue + radius - grid.margin) % LATTICE, weights.shape[1], LATTICE):
                shift = (grid.margin + t - radius - residue) // LATTICE
                term = jax.lax.mul(plane, jax.lax.broadcast_in_dim(weights[:, t], plane.shape, (1,)))
                padding = ((0, 0, 0), (shift, reach - shift - plane.shape[1], 0))
                total = jax.lax.add(total, jax.lax.pad(term, np.float32(0), padding))
            residues.append(total)
        return jnp.stack(residues, axis=-1).reshape(plane.shape[0], size)

    sizes = [LATTICE * n + 2 * grid.margin for n in grid.sites]

    def plane(p: Float[Array, "m n"]) -> Float[Array, "H W"]:
        wide = along(p, bands[1], sizes[1])
        return along(wide.T, bands[0], sizes[0]).T

    return jax.lax.map(plane, moves)
