"""Butteraugli as a loss.

Alakuijala et al., libjxl 0.11, lib/jxl/butteraugli/butteraugli.cc. It judges the expected image and is blind to its
variance.
"""

import dataclasses
from typing import Any

from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import Loss
from diffquant.signal.butteraugli import distance_from, seen_in, three_norm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Butteraugli(Loss):
    """The 3-norm that libjxl's tool prints, at 80 nits: about 1 where differences begin to be seen.

    The value is that of `diffquant.metrics`. A picture of 16 colours has 4 to 6.
    """

    def prepare(self, target: Image) -> Any:
        """Its bands, and what they mask."""
        return seen_in(target)

    def judge(self, rendered: Rendered, prepared: Any) -> Scalar:
        """Zero for equal images, where the gradient is zero too."""
        return three_norm(distance_from(prepared, rendered.image))
