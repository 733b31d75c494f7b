"""What the eye makes of a picture, as Butteraugli has it: three responses, split by fineness into four bands.

libjxl 0.11, lib/jxl/butteraugli/butteraugli.cc; constants with nine digits. X is red-green, Y brightness, B blue, in
units of the response. Sigmas are in pixels. Differentiable, with a finite slope everywhere.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.interfaces import Image
from diffquant.signal.filters import Kernel, blur, gaussian_kernel

Plane = Float[Array, "h w"]
Planes = Float[Array, "n h w"]

NITS = 80.0  # of linear light 1

# Light (nits) that three pigments absorb, over a bias, times a logarithm's gain at the light around the pixel.
ABSORBANCE = (
    (0.299565503, 0.633730878, 0.0777056178),
    (0.221586911, 0.69391388, 0.0987313588),
    (0.02, 0.02, 0.20480129),
)
BIAS = (1.75574836, 1.75574836, 12.2264547)
SURROUNDINGS_SIGMA = 1.2
LOG_GAIN, LOG_OFFSET, LOG_SHIFT = 19.2450133, 9.97106358, 23.1604624

# Each blur takes a band; what it leaves of the picture is for the next.
LOW_SIGMA, MIDDLE_SIGMA, HIGH_SIGMA = 7.15593339, 3.22489901, 1.56416328
X_BESIDE_Y, Y_BESIDE_X = 0.653020556, 46.0  # share of X that is left beside strong Y; the square of Y that hides half
MIDDLE_X_DROPPED, HIGH_X_DROPPED, ULTRA_X_DROPPED = 0.29, 1.5, 0.04  # what is this near 0 is not seen
MIDDLE_Y_DOUBLED, HIGH_Y_DOUBLED = 0.1, 0.132  # what is this near 0 is seen twice as strong
HIGH_Y_LIMIT, ULTRA_Y_LIMIT, SLOPE_PAST_LIMIT = 28.4691807, 5.19175295, 0.724216146
HIGH_Y_GAIN, ULTRA_Y_GAIN = 2.155, 2.69313764


class Bands(NamedTuple):
    """A picture's planes X, Y and, of the coarser two bands, B."""

    low: tuple[Plane, ...]
    middle: tuple[Plane, ...]
    high: tuple[Plane, ...]
    ultra: tuple[Plane, ...]


def bands(linear: Image) -> Bands:
    """The four bands of linear light, of which 1 is 80 nits; negative light is none."""
    response = _response(linear)
    low = smoothed(response, LOW_SIGMA)
    rest = response - low
    middle = smoothed(rest, MIDDLE_SIGMA)
    x, y, _ = _apart(rest - middle)
    x = x * (X_BESIDE_Y + (1 - X_BESIDE_Y) * Y_BESIDE_X / (y * y + Y_BESIDE_X))
    middle_x, middle_y, middle_b = _apart(middle)
    high_x, high_y = _apart(smoothed(jnp.stack([x, y]), HIGH_SIGMA))
    ultra_x, high_y = x - high_x, _limited(high_y, HIGH_Y_LIMIT)
    ultra_y = _limited(y - high_y, ULTRA_Y_LIMIT)
    return Bands(
        low=_apart(low),
        middle=(_dropped(middle_x, MIDDLE_X_DROPPED), _doubled(middle_y, MIDDLE_Y_DOUBLED), middle_b),
        high=(_dropped(high_x, HIGH_X_DROPPED), _doubled(HIGH_Y_GAIN * high_y, HIGH_Y_DOUBLED)),
        ultra=(_dropped(ultra_x, ULTRA_X_DROPPED), ULTRA_Y_GAIN * ultra_y),
    )


def smoothed(planes: Planes, sigma: float) -> Planes:
    """Blurred with a Gaussian; near the border the mean is over what is inside."""
    kernel = _kernel(sigma)
    inside = [np.convolve(np.ones(side), kernel)[len(kernel) // 2 :][:side] for side in planes.shape[1:]]
    return blur(planes, kernel, "zero") * (1 / np.outer(*inside)[None]).astype(planes.dtype)


def _kernel(sigma: float) -> Kernel:
    """A Gaussian cut at 2.25 sigmas, rounded down to whole pixels."""
    return gaussian_kernel(sigma, 2.25 - 0.5 / sigma)


def _response(linear: Image) -> Image:
    """X, Y and B."""
    light, around = (_apart(NITS * planes) for planes in (linear, blur(linear, _kernel(SURROUNDINGS_SIGMA))))
    responses = []
    for (r, g, b), bias in zip(ABSORBANCE, BIAS, strict=True):
        absorbed, ambient = (r * planes[0] + g * planes[1] + b * planes[2] for planes in (light, around))
        adapted = jnp.where(ambient < 0, 0, ambient) + bias
        gain = (LOG_GAIN * jnp.log(adapted + LOG_OFFSET) - LOG_SHIFT) / adapted
        responses.append(jnp.maximum((absorbed + bias) * gain, bias))
    red, green, blue = responses
    return jnp.stack([red - green, red + green, blue])


def _dropped(plane: Plane, limit: float) -> Plane:
    return plane - jnp.clip(plane, -limit, limit)


def _doubled(plane: Plane, limit: float) -> Plane:
    return plane + jnp.clip(plane, -limit, limit)


def _limited(plane: Plane, limit: float) -> Plane:
    within = jnp.clip(plane, -limit, limit)
    return within + SLOPE_PAST_LIMIT * (plane - within)


@jax.custom_vjp
def _apart(planes: Planes) -> tuple[Plane, ...]:
    """One by one. JAX would pull slices back as sums of padded planes, which is slow."""
    return tuple(planes)


_apart.defvjp(lambda planes: (tuple(planes), None), lambda _, gradients: (jnp.stack(gradients),))
