"""Phases of a lattice: the blur of an image evaluated at, or spread from, every LATTICE-th pixel only.

Pixels of one phase of a LATTICE x LATTICE grid hardly interact, so they can choose at once. What they need of a blurred
field costs a fraction of the blur: rows first, at the rows of the phase only.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
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

    @property
    def windowed(self) -> tuple[int, int]:
        """Rows and columns of a window: the sites, what is between them, and the margins."""
        rows, columns = self.sites
        return LATTICE * rows + 2 * self.margin, LATTICE * columns + 2 * self.margin

    def frame(self, planes: Float[Array, "c h w"]) -> Float[Array, "c H W"]:
        """The image inside zeros: one window for each phase fits.

        The loop over planes keeps XLA from fusing what made them into it, which would be done again for every plane
        (measured on a CPU: 160 ms instead of 45 for the metrics of three scales).
        """
        rows, columns = self.sites
        before = self.margin
        after = [self.margin + LATTICE * (n + 1) - size for n, size in ((rows, self.h), (columns, self.w))]
        return jax.lax.map(lambda plane: jnp.pad(plane, [(before, end) for end in after]), planes)

    def crop(self, frame: Float[Array, "c H W"]) -> Float[Array, "c h w"]:
        """Undo `frame`."""
        return frame[:, self.margin : self.margin + self.h, self.margin : self.margin + self.w]

    def window(self, frame: Float[Array, "c H W"], phase: tuple[Array, Array]) -> Float[Array, "c rows columns"]:
        """The frame shifted so that the sites of the phase lie on multiples of LATTICE."""
        return jax.lax.dynamic_slice(frame, (0, phase[0], phase[1]), (frame.shape[0], *self.windowed))

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


def gather(window: Float[Array, "H W"], bands: tuple[Array, Array], grid: Grid) -> Float[Array, "m n"]:
    """The blur of a plane's window, at the sites only."""
    (rows, columns), (across, along) = grid.sites, bands
    start = grid.margin - across.shape[1] // 2
    last = start + LATTICE * (rows - 1) + 1
    strip = weighted_sum(
        (jax.lax.slice_in_dim(window, start + t, last + t, LATTICE, axis=0), across[:, t, None])
        for t in range(across.shape[1])
    )
    last = start + LATTICE * (columns - 1) + 1
    return weighted_sum(
        (jax.lax.slice_in_dim(strip, start + t, last + t, LATTICE, axis=1), along[None, :, t])
        for t in range(along.shape[1])
    )


def spread(moves: Float[Array, "c m n"], bands: tuple[Array, Array], grid: Grid) -> Float[Array, "c H W"]:
    """The blur of an image that is zero but at the sites, over the whole window: the adjoint of `gather`."""

    def plane(p: Float[Array, "m n"]) -> Float[Array, "H W"]:
        return _spread_along(_spread_along(p, bands[1], grid.margin, 1), bands[0], grid.margin, 0)

    return jax.lax.map(plane, moves)


def _spread_along(plane: Float[Array, "m n"], weights: Float[Array, "sites t"], margin: int, axis: int) -> Array:
    """Along one axis: sample LATTICE * i + residue is a sum over the sites i - shift.

    What is outside is padded once, so that all that is summed are slices.
    """
    sites, taps = weights.shape
    around = 2 * margin // LATTICE
    reach = sites + around
    plane = jnp.pad(plane, [(around, around) if a == axis else (0, 0) for a in (0, 1)])
    weights = jnp.pad(weights, ((around, around), (0, 0)))
    nothing = jnp.zeros([reach if a == axis else n for a, n in enumerate(plane.shape)], plane.dtype)
    totals: list[Array] = [nothing] * LATTICE
    for t in range(taps):
        shift, residue = divmod(margin + t - taps // 2, LATTICE)
        seen = jax.lax.slice_in_dim(plane, around - shift, around - shift + reach, axis=axis)
        column = jax.lax.slice(weights, (around - shift, t), (around - shift + reach, t + 1))
        factor = jax.lax.broadcast_in_dim(column.reshape(-1), seen.shape, (axis,))
        totals[residue] = jax.lax.add(totals[residue], jax.lax.mul(seen, factor))
    shape = [LATTICE * n if a == axis else n for a, n in enumerate(nothing.shape)]
    return jnp.stack(totals, axis=axis + 1).reshape(shape)
