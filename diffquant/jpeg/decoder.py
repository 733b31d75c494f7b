"""What a decoder makes of coefficients: libjpeg's steps in whole numbers, each with a slope.

Source: libjpeg-turbo 3, src/jidctint.c, src/jdsample.c and src/jdcolor.c. Of a photograph's pixels fewer than one in
20,000 differ, where float32 takes the other side of a tie.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.color import LINEAR_OF_CODE
from diffquant.interfaces import Image
from diffquant.jpeg.blocks import MIDDLE, Blocks, inverse_dct, plane_from_blocks, times
from diffquant.jpeg.geometry import BLOCK, Geometry
from diffquant.jpeg.sampling import upsample

# R, G, B from Y, Cb - 128, Cr - 128: JFIF 1.02, to libjpeg's 16 bits after the point.
RGB_FROM_YCBCR = np.round(np.array([[1, 0, 1.402], [1, -0.34414, -0.71414], [1, 1.772, 0]]) * 2**16) / 2**16
HIGHEST = 255
# sqrt(8) times the inverse DCT as the product of libjpeg's roundings: column k is frequency k and row n is sample n, or
# sample 7 - n with the odd frequencies negated. Entries are sums of constants of 13 bits after the point.
_HALF = [
    [8192, 11363, 10703, 9633, 8192, 6437, 4433, 2260],
    [8192, 9633, 4433, -2259, -8192, -11362, -10704, -6436],
    [8192, 6437, -4433, -11362, -8192, 2261, 10704, 9633],
    [8192, 2260, -10703, -6436, 8192, 9633, -4433, -11363],
]
INVERSE = np.concatenate([_HALF, np.array(_HALF)[::-1] * (-1) ** np.arange(BLOCK)]).T / 2**13  # [frequency sample]
# Along the rows' frequencies first, to whole quarters; then along the columns', and the rest of the scale.
_FIRST = np.kron(4 * INVERSE, np.eye(BLOCK)).astype(np.float32)
_SECOND = np.kron(np.eye(BLOCK), INVERSE / 32).astype(np.float32)
_LINEAR = LINEAR_OF_CODE.astype(np.float32)
_CODES = np.arange(HIGHEST + 1) / HIGHEST
_SLOPE = np.where(_CODES > 0.04045, 2.4 * LINEAR_OF_CODE / (_CODES + 0.055), 1 / 12.92) / HIGHEST  # of IEC 61966-2-1


def decode(
    coefficients: Sequence[Float[Array | np.ndarray, "_ _ 8 8"]],
    geometry: Geometry,
    inverse: Float[Array | np.ndarray, "3 3"] = RGB_FROM_YCBCR,
) -> Float[Array, "3 h w"]:
    """sRGB codes, whole numbers from 0 to 255, of each component's coefficients; a grey picture's are equal.

    `inverse` takes Y, Cb - 128 and Cr - 128 to R, G, B. The slope is that of the steps without their rounding, and 0
    where samples or codes are clipped; also in `inverse`.

    Raises:
        ValueError: the coefficients are of another size than `geometry` has.
    """
    found = tuple(blocks.shape[:2] for blocks in coefficients)
    if found != geometry.blocks:
        raise ValueError(f"coefficients: found {found} blocks, expected {geometry.blocks}")
    planes = []
    for n, (blocks, (rows, columns)) in enumerate(zip(coefficients, geometry.planes, strict=True)):
        samples = _whole(plane_from_blocks(_samples(jnp.asarray(blocks, jnp.float32))) + MIDDLE)
        factors = geometry.factors if n else (1, 1)
        planes.append(upsample(samples[:rows, :columns], factors, (geometry.height, geometry.width)))
    if len(planes) == 1:
        return jnp.stack(planes * 3)
    y, cb, cr = planes[0], planes[1] - MIDDLE, planes[2] - MIDDLE
    matrix = jnp.asarray(inverse, jnp.float32)
    return jnp.stack([_whole(row[0] * y + row[1] * cb + row[2] * cr) for row in matrix])


@jax.custom_jvp
def _samples(coefficients: Blocks) -> Blocks:
    """The inverse DCT, rounded half way as libjpeg does it. The slope is the exact one's."""
    return times(jnp.floor(times(coefficients, _FIRST) + 0.5), _SECOND)


@_samples.defjvp
def _samples_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Blocks, Blocks]:
    return _samples(primals[0]), inverse_dct(tangents[0])


@jax.custom_jvp
def _whole(x: Array) -> Array:
    """The nearest whole numbers, halves up, clipped to 0 and 255: slope 1 where that changes nothing, and 0 where it
    does."""
    return jnp.clip(jnp.floor(x + 0.5), 0, HIGHEST)


@_whole.defjvp
def _whole_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return _whole(x), jnp.where((x >= -0.5) & (x < HIGHEST + 0.5), tangent, 0)


@jax.custom_jvp
def linear_light(codes: Float[Array, "3 h w"]) -> Image:
    """sRGB codes to linear light in [0, 1], for whole numbers from 0 to 255 only, with the slope of the curve.

    From a table: exactly what `linear_from_srgb8` makes of a file, and on a CPU much faster than powers.
    """
    return _looked_up(_LINEAR, codes)


@linear_light.defjvp
def _linear_light_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return linear_light(primals[0]), tangents[0] * _looked_up(_SLOPE, primals[0])


def _looked_up(table: Float[np.ndarray, "256"], codes: Array) -> Array:
    return jnp.asarray(table, jnp.float32).at[codes.astype(jnp.int32)].get(mode="clip")
