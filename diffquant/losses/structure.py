"""Structural similarity as a loss, at one scale and at several.

Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004);
Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003). Both judge the
gamma-encoded expected image, and are blind to its variance. One minus the loss is `diffquant.metrics`' value.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.color import LUMA, srgb_from_linear
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import LocalLoss, Loss
from diffquant.signal.filters import Extent, blur_within, gaussian_kernel

WINDOW = gaussian_kernel(1.5, truncate=3.5)
RADIUS = len(WINDOW) // 2
LUMINANCE_FLOOR = 0.01**2  # the paper's C1, for codes in [0, 1]
CONTRAST_FLOOR = 0.03**2  # C2
LEAST_FACTOR = 0.01


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ssim(LocalLoss):
    """1 - SSIM, the mean of R, G and B's, in [0, 2].

    Windows (11x11 Gaussian of 1.5 pixels) lie inside the picture. Along an axis of fewer than 11 pixels none does:
    there all count, and the picture is mirrored at its borders.
    """

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Float[Array, "h w"]:
        """Of the window around each pixel; zero for equal images, where the gradient is finite too."""
        similarity, _ = _similarity(srgb_from_linear(rendered.image), srgb_from_linear(target), extent)
        return 1 - jnp.mean(similarity, axis=0)

    def border(self, size: Any) -> Any:
        """Where windows would reach over it."""
        return _border(size)

    def reach(self) -> int:
        """That of a window."""
        return RADIUS


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiScaleSsim(Loss):
    """1 - MS-SSIM of the BT.601 luma, in [0, 1].

    Where the shorter side has no whole window at the coarsest scales (five need 176 pixels) they are left out, and the
    other weights are scaled to the same sum; the metric is undefined there. A mean contrast c below 0.01 counts as
    0.01^2 / (0.02 - c): a little more than in the metric, which is 0 for c below 0, so that some gradient leads back.
    """

    scale_weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first

    def __post_init__(self) -> None:
        if not self.scale_weights or min(self.scale_weights) <= 0:
            raise ValueError(f"MultiScaleSsim: found scale weights {self.scale_weights}, expected positive numbers")

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """Zero for equal images, where the gradient is finite too."""
        x, y = _luma(rendered.image), _luma(target)
        weights = self.scale_weights[: _whole_scales(min(target.shape[1:]))]
        logarithm = jnp.zeros(())
        for scale, weight in enumerate(weights, start=1):
            similarity, contrast = _similarity(x, y)
            factor = similarity if scale == len(weights) else contrast
            logarithm += weight * _log(jnp.mean(_whole_windows(factor)))
            x, y = _halved(x), _halved(y)
        return 1 - jnp.exp(logarithm * (sum(self.scale_weights) / sum(weights)))


def _luma(linear: Image) -> Float[Array, "1 h w"]:
    return jnp.einsum("c,chw->hw", jnp.array(LUMA), srgb_from_linear(linear))[None]


def _whole_scales(side: int) -> int:
    """Number of scales at which a side of so many pixels holds a window: at least 1."""
    return max(1, (side // len(WINDOW)).bit_length())


def _halved(planes: Float[Array, "c h w"]) -> Float[Array, "c h//2 w//2"]:
    """Means of 2x2; an odd last row or column is dropped."""
    c, h, w = planes.shape
    even = planes[:, : h // 2 * 2, : w // 2 * 2]
    return even.reshape(c, h // 2, 2, w // 2, 2).mean(axis=(2, 4))


def _log(factor: Scalar) -> Scalar:
    """Natural logarithm, below `LEAST_FACTOR` that of the hyperbola with the same value and slope there."""
    hyperbola = 2 * math.log(LEAST_FACTOR) - jnp.log(2 * LEAST_FACTOR - jnp.minimum(factor, LEAST_FACTOR))
    return jnp.where(factor < LEAST_FACTOR, hyperbola, jnp.log(jnp.maximum(factor, LEAST_FACTOR)))


def _similarity(
    x: Float[Array, "c h w"], y: Float[Array, "c h w"], extent: Extent | None = None
) -> tuple[Float[Array, "c h w"], Float[Array, "c h w"]]:
    """Similarity of the window around each pixel, and its contrast-structure factor, for codes in [0, 1].

    Second moments are taken around mid-grey, which keeps them exact in float32. `y` is blurred by itself: it is
    constant, and has no gradient to carry.
    """
    x, y = x - 0.5, y - 0.5
    moments = blur_within(jnp.concatenate([x, x * x + y * y, x * y]), WINDOW, extent)
    mean_x, squares, product = jnp.split(moments, 3)
    mean_y = blur_within(y, WINDOW, extent)
    contrast = 2 * (product - mean_x * mean_y) + CONTRAST_FLOOR
    contrast = contrast / (squares - (mean_x * mean_x + mean_y * mean_y) + CONTRAST_FLOOR)
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + LUMINANCE_FLOOR) / (mean_x * mean_x + mean_y * mean_y + LUMINANCE_FLOOR)
    return luminance * contrast, contrast


def _whole_windows(planes: Float[Array, "c h w"]) -> Float[Array, "c rows columns"]:
    h, w = planes.shape[1:]
    rows, columns = _border(h), _border(w)
    return planes[:, rows : h - rows, columns : w - columns]


def _border(size: Any) -> Any:
    """Pixels at both ends of an axis around which there is no whole window; none if no window fits at all."""
    return RADIUS * (size >= len(WINDOW))
