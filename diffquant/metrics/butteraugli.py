"""Butteraugli: the distance at which a model of the eye puts two pictures.

Alakuijala et al., libjxl 0.11, lib/jxl/butteraugli/butteraugli.cc. The model is `diffquant.signal.butteraugli`,
compiled anew for each size of picture.
"""

import jax
import jax.numpy as jnp

from diffquant.interfaces import Image, Scalar
from diffquant.metrics.pair import Picture, linear_planes, require_pair
from diffquant.signal.butteraugli import distance_map, three_norm


def butteraugli(reference: Picture, decoded: Picture) -> float:
    """The 3-norm of the distance map at 80 nits; 0 for identical pictures, about 1 where differences begin to be seen.

    Not symmetric. Where a side is below 8 pixels the picture is extended to 8, and the value means little. libjxl's own
    values differ by up to 1e-4 of the value.
    """
    require_pair(reference, decoded)
    return float(_distance(jnp.asarray(linear_planes(reference)), jnp.asarray(linear_planes(decoded))))


@jax.jit
def _distance(reference: Image, decoded: Image) -> Scalar:
    return three_norm(distance_map(reference, decoded))
