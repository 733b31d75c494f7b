"""Errors of the expected image, pixel by pixel, and what they cannot see."""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant import color
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import LocalLoss, Loss
from diffquant.signal.filters import Extent, gaussian_kernel, noise_gain

DARK = 0.01  # linear light: nearer to black the cube root is so bent that its slope says nothing of a colour's distance
Space = Literal["oklab", "linear", "srgb"]
Map = Float[Array, "h w"]


def squared_difference(a: Image, b: Image, space: Space) -> Map:
    """Squared distance of two linear-light images in `space`, summed over channels."""
    red, green, blue = ((p - q) ** 2 for p, q in zip(_planes(a, space), _planes(b, space), strict=True))
    return red + green + blue


def _planes(image: Image, space: Space) -> list[Any]:
    if space == "oklab":
        return color.oklab_planes(image)
    return list(color.srgb_from_linear(image) if space == "srgb" else image)


def variance_in(rendered: Rendered, target: Image, space: Space) -> Map:
    """Variance of the random pixel in `space`, summed over channels.

    In OkLab to first order: the covariance under the metric at the target's colour, no darker than `DARK`.
    """
    covariance = rendered.covariance
    if space == "oklab":
        return color.symmetric_inner(color.oklab_metric(jnp.maximum(target, DARK)), covariance)
    return covariance[0] + covariance[3] + covariance[5]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedImageError(LocalLoss):
    """|| x - E[Y] ||^2 per pixel: the squared error of the expected image.

    Source: "Differentiable dithering", equation 1. Blind to noise: black and white mixed are a perfect grey.
    """

    space: Space = "oklab"

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Map:
        """Zero if every pixel is right on average."""
        return squared_difference(rendered.image, target, self.space)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpectedSquaredError(LocalLoss):
    """E || x - Y ||^2 per pixel: the counter-example. It cannot prefer a dither.

    On 50 % grey (in linear light) black, white and any mixture of both score 0.25 a channel. In OkLab the variance is
    taken to first order.
    """

    space: Space = "oklab"

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Map:
        """Bias squared plus variance."""
        bias = squared_difference(rendered.image, target, self.space)
        return bias + variance_in(rendered, target, self.space)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variance(LocalLoss):
    """Variance of the random pixel, times the share of it that an eye of blur `sigma` (pixels) lets pass.

    That share, the sum of the squared kernel, is about 1 / (4 pi sigma^2): with it "blur the expected image, plus
    variance" is the exact expected blurred error in linear light. `coefficient`, if given, is used instead: the article
    found 0.25 by hand, which is what sigma = 0.56 gives in the continuum.
    """

    space: Space = "oklab"
    sigma: float = 1.0
    coefficient: float | None = None

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Map:
        """Zero if every pixel is certain."""
        share = noise_gain(gaussian_kernel(self.sigma)) if self.coefficient is None else self.coefficient
        return share * variance_in(rendered, target, self.space)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entropy(LocalLoss):
    """Mean entropy of the choice at each pixel, in bits: pushes towards decisions."""

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Map:
        """Zero if every pixel is certain."""
        return rendered.entropy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rate(Loss):
    """Estimated size of the file, in bits per pixel."""

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """The pipeline's own estimate; its gradient is the pipeline's too."""
        return rendered.bits / (target.shape[1] * target.shape[2])
