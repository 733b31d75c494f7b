"""CIELAB (1976) from linear-light sRGB, for metrics and losses: NumPy or JAX arrays, as in `diffquant.color`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diffquant.color import Planes, cube_root

XYZ_FROM_LINEAR = np.array(  # sRGB's primaries, unrounded (as in CSS Color 4); white, D65, is the row sums
    [
        [506752 / 1228815, 87881 / 245763, 12673 / 70218],
        [87098 / 409605, 175762 / 245763, 12673 / 175545],
        [7918 / 409605, 87881 / 737289, 1001167 / 1053270],
    ]
)
WHITE = XYZ_FROM_LINEAR.sum(axis=1, keepdims=True)
KNEE = (6 / 29) ** 3  # below it, also below 0, the cube root's tangent goes on


def lab_planes(relative: Planes) -> list[Any]:
    """L*, a*, b* as three planes, from X, Y, Z over those of white. The slope is finite everywhere."""
    x, y, z = (_lightness_root(plane) for plane in relative)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


def _lightness_root(plane: Any) -> Any:
    """CIELAB's f."""
    xp = jnp if isinstance(plane, jax.Array) else np
    return xp.where(plane > KNEE, cube_root(xp.maximum(plane, KNEE)), plane * (841 / 108) + 4 / 29)
