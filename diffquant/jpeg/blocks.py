"""Planes as blocks of 8x8, and their cosine transform."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.jpeg.geometry import BLOCK

MIDDLE = 128  # what is subtracted from samples before the transform. T.81, A.3.1

Plane = Float[Array | np.ndarray, "h w"]
Blocks = Float[Array | np.ndarray, "rows columns 8 8"]

# Orthonormal DCT-II: row k holds the cosine of frequency k at the eight samples. T.81, A.3.3.
_FREQUENCY, _SAMPLE = np.mgrid[:BLOCK, :BLOCK]
DCT = np.where(_FREQUENCY, 0.5, 8**-0.5) * np.cos(np.pi / 16 * _FREQUENCY * (2 * _SAMPLE + 1))  # float64 [8 8]
# Of a whole block at once, flattened: one product with a matrix of 64 is faster than two with a matrix of 8.
DCT_2D = np.kron(DCT, DCT).astype(np.float32)  # [frequency sample]


def blocks_from_plane(plane: Plane) -> Blocks:
    """Whole blocks, whose samples stay in order: rows first. Sides are multiples of 8."""
    h, w = plane.shape
    return plane.reshape(h // BLOCK, BLOCK, w // BLOCK, BLOCK).swapaxes(1, 2)


def plane_from_blocks(blocks: Blocks) -> Plane:
    """The inverse of `blocks_from_plane`."""
    rows, columns = blocks.shape[:2]
    return blocks.swapaxes(1, 2).reshape(rows * BLOCK, columns * BLOCK)


def times(blocks: Blocks, matrix: Float[np.ndarray, "64 64"]) -> Blocks:
    """Each flattened block times a matrix."""
    flat = blocks.reshape(-1, BLOCK * BLOCK)
    if isinstance(flat, np.ndarray):
        return (flat @ matrix).reshape(blocks.shape)
    # On accelerators the default precision is too coarse for what will be rounded.
    return jnp.matmul(flat, matrix, precision=jax.lax.Precision.HIGHEST).reshape(blocks.shape)


def dct(samples: Blocks) -> Blocks:
    """Orthonormal coefficients of blocks of samples; row frequency first."""
    return times(samples, DCT_2D.T)


def inverse_dct(coefficients: Blocks) -> Blocks:
    """Samples of blocks of coefficients: the inverse, and the transpose, of `dct`."""
    return times(coefficients, DCT_2D)
