"""The eye: light is averaged over several widths, then judged perceptually."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant import color
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import Loss
from diffquant.losses.reconstruction import Space, squared_difference
from diffquant.signal.filters import Kernel, blur, energy, gaussian_kernel

TRUNCATE = 3.0  # sigmas; the rest of a Gaussian weighs 0.3 %


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlurError(Loss):
    """Expected error of the random image after the eye's blur: sum over scales of weight * E || H x - H Y ||^2.

    Blurred in linear light, judged in `space`, per pixel. The expectation is the blurred error of the expected image
    plus the variance that the blur lets pass; exact for independent pixels in linear light, to first order in OkLab
    (metric at the blurred target). `variance` multiplies that second term: 1 is the derived value.
    """

    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0)  # pixels
    weights: tuple[float, ...] = (0.2, 0.4, 1.0)
    variance: float = 1.0
    space: Space = "oklab"

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.weights) or not self.sigmas:
            raise ValueError(
                f"BlurError: found {len(self.sigmas)} sigmas and {len(self.weights)} weights, expected one weight each"
            )
        if min(self.sigmas) < 0 or min(self.weights) < 0:
            raise ValueError(f"BlurError: found {self.sigmas} with weights {self.weights}, expected none below 0")

    def scales(self) -> list[tuple[float, Kernel]]:
        """Weight and kernel of each scale."""
        kernels = [gaussian_kernel(sigma, TRUNCATE) for sigma in self.sigmas]
        return list(zip(self.weights, kernels, strict=True))

    def metric(self, blurred: Image) -> Float[Array, "6 h w"]:
        """Quadratic form that turns a small error of blurred light into a squared error in `space`."""
        if self.space == "oklab":
            return color.oklab_metric(blurred)
        identity = jnp.array([float(i == j) for i, j in color.UPPER], blurred.dtype)
        return jnp.broadcast_to(identity[:, None, None], (6, *blurred.shape[1:]))

    def curvature(self, target: Image) -> Float[Array, "6 h w"]:
        """What a unit change of one pixel's light costs, by itself: a quadratic form at every pixel."""
        terms = [weight * energy(self.metric(blur(target, kernel)), kernel) for weight, kernel in self.scales()]
        return sum(terms[1:], terms[0])

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """Blind to detail finer than the smallest sigma."""
        bias = sum(
            weight * squared_difference(blur(rendered.image, kernel), blur(target, kernel), self.space)
            for weight, kernel in self.scales()
        )
        if self.variance == 0:
            return jnp.asarray(bias)
        return bias + self.variance * jnp.mean(color.symmetric_inner(self.curvature(target), rendered.covariance))
