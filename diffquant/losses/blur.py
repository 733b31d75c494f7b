"""The eye: light is averaged over several widths, then judged perceptually."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant import color
from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.losses.base import LocalLoss
from diffquant.losses.reconstruction import Space
from diffquant.signal.filters import Extent, Kernel, blur_within, energy, gaussian_kernel

TRUNCATE = 3.0  # sigmas; the rest of a Gaussian weighs 0.3 %
NEAR = gaussian_kernel(1.5)  # pixels: where contrast hides an error

Form = Float[Array, "6 h w"]  # a quadratic form at every pixel: upper triangle


class Seen(NamedTuple):
    """What an eye makes of a picture."""

    planes: list[list[Float[Array, "h w"]]]  # of each width
    contrast: Float[Array, "..."]  # squared; a scalar where nothing masks
    curvature: Form | None  # of light, where variance counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlurError(LocalLoss):
    """Expected error of the random image after the eye's blur: sum over scales of weight * E || H x - H Y ||^2.

    Blurred in linear light, judged in `space`, per pixel. The expectation is the blurred error of the expected image
    plus the variance that the blur lets pass; exact for independent pixels in linear light, to first order in OkLab
    (metric at the blurred target). `variance` multiplies that second term: 1 is the derived value.

    An eye sees fine detail of lightness far better than of hue, and neither where the picture is busy. At each scale
    `chroma` multiplies the error of OkLab's a and b; `masking` is the contrast (standard deviation of the target's
    lightness within about 1.5 pixels) at which an error counts half. None: 1 everywhere, and no masking.
    """

    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0)  # pixels
    weights: tuple[float, ...] = (0.2, 0.4, 1.0)
    chroma: tuple[float, ...] | None = None
    masking: tuple[float, ...] | None = None  # OkLab lightness; 0: none
    variance: float = 1.0
    space: Space = "oklab"

    def __post_init__(self) -> None:
        lists = {"weights": self.weights, "chroma": self.chroma, "masking": self.masking}
        for name, values in lists.items():
            if values is None:
                continue
            if len(self.sigmas) != len(values) or not self.sigmas:
                raise ValueError(
                    f"BlurError: found {len(self.sigmas)} sigmas and {len(values)} {name}, expected one {name} each"
                )
            if min(self.sigmas) < 0 or min(values) < 0:
                raise ValueError(f"BlurError: found {self.sigmas} with {name} {values}, expected none below 0")
        if self.space != "oklab" and self.chroma is not None:
            raise ValueError(f"BlurError: found chroma {self.chroma} in linear light, expected it in OkLab only")

    def scales(self) -> list[tuple[Kernel, float, float, float]]:
        """Kernel, weight, factor of chroma and masking contrast of each scale."""
        kernels = [gaussian_kernel(sigma, TRUNCATE) for sigma in self.sigmas]
        ones, zeros = (1.0,) * len(kernels), (0.0,) * len(kernels)
        return list(zip(kernels, self.weights, self.chroma or ones, self.masking or zeros, strict=True))

    def reach(self) -> int:
        """That of the widest blur, or of the contrast that masks."""
        kernels = [kernel for kernel, *_ in self.scales()] + ([NEAR] if any(self.masking or ()) else [])
        return max(len(kernel) // 2 for kernel in kernels)

    def forms(
        self, target: Image, shown: Image | None = None, extent: Extent | None = None
    ) -> list[tuple[Kernel, Form]]:
        """Kernels, and what turns an error of light so blurred into a weighted squared error, at each pixel.

        To first order; but exactly for the error of the picture `shown`, if there is one. With an `extent` both are
        that part of their arrays, and forms beyond it mean nothing.
        """
        contrast = self._squared_contrast(target, extent)
        forms = []
        for kernel, weight, chroma, masking in self.scales():
            if self.space == "oklab":
                seen = None if shown is None else blur_within(shown, kernel, extent)
                form = weight * color.oklab_metric(blur_within(target, kernel, extent), chroma, seen)
            else:
                identity = jnp.array([weight * (i == j) for i, j in color.UPPER], target.dtype)
                form = jnp.broadcast_to(identity[:, None, None], (6, *target.shape[1:]))
            forms.append((kernel, form * _visible(contrast, masking)[None] if masking else form))
        return forms

    def curvature(self, target: Image, extent: Extent | None = None) -> Form:
        """What a unit change of one pixel's light costs, by itself: a quadratic form at every pixel."""
        terms = [energy(form, kernel, extent) for kernel, form in self.forms(target, extent=extent)]
        return sum(terms[1:], terms[0])

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Float[Array, "h w"]:
        """Blind to detail finer than the smallest sigma."""
        return self._map(rendered, self._seen(target, extent), extent)

    def prepare(self, target: Image) -> Seen:
        """Its planes at every width, what masks them, and what variance costs."""
        return self._seen(target, None)

    def judge(self, rendered: Rendered, prepared: Seen) -> Scalar:
        """The mean of the map."""
        return jnp.mean(self._map(rendered, prepared, None))

    def _seen(self, target: Image, extent: Extent | None) -> Seen:
        planes = [self._split(blur_within(target, kernel, extent)) for kernel, *_ in self.scales()]
        curvature = self.curvature(target, extent) if self.variance else None
        return Seen(planes, self._squared_contrast(target, extent), curvature)

    def _split(self, light: Image) -> list[Float[Array, "h w"]]:
        return list(color.oklab_planes(light) if self.space == "oklab" else light)

    def _map(self, rendered: Rendered, seen: Seen, extent: Extent | None) -> Float[Array, "h w"]:
        total = jnp.zeros(rendered.image.shape[1:])
        for planes, (kernel, weight, chroma, masking) in zip(seen.planes, self.scales(), strict=True):
            shown = self._split(blur_within(rendered.image, kernel, extent))
            first, *others = (jnp.square(p - q) for p, q in zip(shown, planes, strict=True))
            error = first + chroma * (others[0] + others[1])
            total += weight * (error * _visible(seen.contrast, masking) if masking else error)
        if seen.curvature is None:
            return total
        return total + self.variance * color.symmetric_inner(seen.curvature, rendered.covariance)

    def _squared_contrast(self, target: Image, extent: Extent | None = None) -> Float[Array, "..."]:
        """Variance of the target's lightness near each pixel; nothing where no scale is masked."""
        if not any(self.masking or ()):
            return jnp.zeros(())
        lightness = color.oklab_planes(target)[0]
        mean, square = blur_within(jnp.stack([lightness, jnp.square(lightness)]), NEAR, extent)
        return jnp.maximum(square - jnp.square(mean), 0)


def _visible(squared_contrast: Float[Array, "h w"], masking: float) -> Float[Array, "h w"]:
    """Weight of an error near such contrast: 1 on a flat field, half at contrast `masking`."""
    return 1 / (1 + squared_contrast / masking**2)
