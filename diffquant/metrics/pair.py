"""What every metric compares: a reference and a decoded picture, the same size."""

import numpy as np
from jaxtyping import Float32, UInt8

from diffquant.color import linear_from_srgb8

Picture = UInt8[np.ndarray, "_ _ 3"]  # sRGB codes; that two of them agree in size is checked below, at run time


def require_pair(reference: Picture, decoded: Picture) -> None:
    """Two pictures of one size, at least 1x1.

    Raises:
        ValueError: they differ in size, or are not uint8 `[h w 3]`.
    """
    pictures = (reference, decoded)
    fit = all(p.dtype == np.uint8 and p.ndim == 3 and p.shape[2] == 3 and p.size for p in pictures)
    if not fit or reference.shape != decoded.shape:
        found = " and ".join(f"{p.dtype} {list(p.shape)}" for p in pictures)
        raise ValueError(f"reference, decoded: found {found}, expected two uint8 [h w 3] pictures of one size")


def linear_planes(picture: Picture) -> Float32[np.ndarray, "3 h w"]:
    """Linear light in [0, 1], planar."""
    return linear_from_srgb8(np.ascontiguousarray(np.moveaxis(picture, 2, 0)))
