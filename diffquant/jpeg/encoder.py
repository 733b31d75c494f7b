"""The coefficients of a picture before they are quantized. NumPy: compiling would take longer."""

import numpy as np
from jaxtyping import Float, Float32, UInt8

from diffquant.color import LUMA
from diffquant.jpeg.blocks import MIDDLE, blocks_from_plane, dct
from diffquant.jpeg.geometry import BLOCK, Geometry
from diffquant.jpeg.sampling import downsample

# Y, Cb - 128, Cr - 128 from R, G, B: ITU-R BT.601 at full range, as JFIF 1.02 has it.
_RED, _, _BLUE = LUMA
YCBCR_FROM_RGB = np.array(
    [LUMA, (np.array((0, 0, 1)) - LUMA) / (2 - 2 * _BLUE), (np.array((1, 0, 0)) - LUMA) / (2 - 2 * _RED)]
)


def coefficients_from_pixels(
    pixels: UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"],
    geometry: Geometry,
    matrix: Float[np.ndarray, "3 3"] = YCBCR_FROM_RGB,
) -> tuple[Float32[np.ndarray, "_ _ 8 8"], ...]:
    """Orthonormal coefficients of each component of sRGB codes 0 to 255; of the first alone for a grey picture.

    `matrix` takes R, G, B to the components, of which the second and third are around 0. Blocks that reach over the
    border repeat the last row and column.

    Raises:
        ValueError: the pixels are of another size than `geometry` has.
    """
    if pixels.shape != (geometry.height, geometry.width, 3):
        raise ValueError(f"pixels: found {pixels.shape}, expected {(geometry.height, geometry.width, 3)}")
    codes = np.moveaxis(pixels, 2, 0).astype(np.float32)
    planes = np.tensordot(matrix.astype(np.float32)[: geometry.components], codes, 1)
    planes[0] -= MIDDLE
    coefficients = []
    for n, (plane, (rows, columns)) in enumerate(zip(planes, geometry.blocks, strict=True)):
        samples = downsample(plane, geometry.factors) if n else plane
        h, w = samples.shape
        whole = np.pad(samples, ((0, rows * BLOCK - h), (0, columns * BLOCK - w)), mode="edge")
        coefficients.append(np.asarray(dct(blocks_from_plane(whole))))
    return tuple(coefficients)
