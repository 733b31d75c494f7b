"""S-CIELAB as a loss: colour difference after the eye's pattern-colour-separable blur.

Zhang, Wandell, "A spatial extension of CIELAB for digital color image reproduction" (1997), seen at 60 pixels a degree.
It judges the expected image, and is blind to its variance. The loss is `diffquant.metrics`' value.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.color import mix
from diffquant.interfaces import Image, Rendered
from diffquant.losses.base import LocalLoss
from diffquant.signal.bank import Separable, filter_bank
from diffquant.signal.cielab import lab_planes
from diffquant.signal.filters import Extent
from diffquant.signal.scielab import KERNELS, OPPONENT_FROM_LINEAR, RELATIVE_XYZ_FROM_OPPONENT

INVISIBLE = 0.01  # of CIELAB's unit: below it the distance is rounded off, so that its slope is finite
BANK = tuple(
    Separable(channel, channel, tuple(weight * tap for tap in taps), taps)
    for channel, kernel in enumerate(KERNELS)
    for weight, taps in kernel
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scielab(LocalLoss):
    """Mean CIELAB difference (1976) of the filtered pictures, mirrored outside; 1 is just visible.

    A pixel's distance d below t = 0.01 counts as (3 (d/t)^2 - (d/t)^4) t / 2, which has the same value and slope at t
    and no slope at 0.
    """

    fills: ClassVar[bool] = True

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Float[Array, "h w"]:
        """Zero up to rounding for equal images, where the gradient is 0 too."""
        if extent is not None:
            raise ValueError("extent: found one, expected none: the filters do not know where a picture ends")
        pairs = zip(_filtered_lab(rendered.image), _filtered_lab(target), strict=True)
        square = sum(jnp.square(x - y) for x, y in pairs)
        ratio = square / INVISIBLE**2
        root = jnp.sqrt(jnp.maximum(square, INVISIBLE**2))
        return jnp.where(ratio < 1, INVISIBLE / 2 * ratio * (3 - ratio), root)

    def reach(self) -> int:
        """That of the widest filter."""
        return max(len(taps) // 2 for kernel in KERNELS for _, taps in kernel)


def _filtered_lab(linear: Image) -> list[jax.Array]:
    opponent = tuple(mix(OPPONENT_FROM_LINEAR, linear))
    filtered = jnp.stack(filter_bank(BANK, opponent, "symmetric"))
    return lab_planes(mix(RELATIVE_XYZ_FROM_OPPONENT, filtered))
