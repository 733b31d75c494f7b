"""What is kept of a picture's hues, as seen from afar: both pictures are blurred in linear light first."""

import dataclasses

import numpy as np
import scipy.ndimage
from jaxtyping import Float, UInt8

from diffquant.color import linear_from_srgb8, oklab_from_linear

SIGMA = 2.0  # pixels, a Gaussian: a dither counts as the colour that it mixes
SATURATED = 0.1  # share of the pixels: those of the largest chroma in the original

Codes = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hues:
    """How the OkLab chroma and hue of a result stand to those of the original, both blurred."""

    chroma_kept: float  # mean chroma of all pixels, result over original; above 1: more colourful
    colour_kept: float  # of the saturated pixels: share of their (a, b) that the result has in the same direction
    hue_error: float  # of the saturated pixels: mean angle in degrees, each weighted by both its chromas

    def as_dict(self) -> dict[str, float]:
        """By name."""
        return dataclasses.asdict(self)


def hues_of(original: Codes, result: Codes) -> Hues:
    """Compare two pictures of one size. NaN where the original has no chroma, or the result none to have an angle."""
    first, second = _plane(original), _plane(result)
    chroma, shown = np.abs(first), np.abs(second)
    saturated = chroma >= np.quantile(chroma, 1 - SATURATED)
    first, second = first[saturated], second[saturated]
    weights = np.abs(first) * np.abs(second)
    with np.errstate(invalid="ignore"):
        return Hues(
            chroma_kept=float(shown.mean() / chroma.mean()),
            colour_kept=float((first * second.conj()).real.sum() / (np.abs(first) ** 2).sum()),
            hue_error=float(np.degrees((weights * np.abs(np.angle(first * second.conj()))).sum() / weights.sum())),
        )


def _plane(codes: Codes) -> Float[np.ndarray, "h w"]:
    """OkLab's a + ib of the blurred picture."""
    light = np.moveaxis(linear_from_srgb8(codes).astype(np.float64), -1, 0)
    _, a, b = oklab_from_linear(scipy.ndimage.gaussian_filter(light, (0, SIGMA, SIGMA)))
    return a + 1j * b
