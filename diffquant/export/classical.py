"""The classical dithers as specs: one pass over the picture with the palette as it is, for comparison and for speed.

They look at no loss and at no assignment; `indices` is the same without them. numba is imported when one of them runs.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int, UInt8

from diffquant import color
from diffquant.export.names import Kernel
from diffquant.interfaces import Image
from diffquant.losses.base import Loss
from diffquant.palette.learned import LearnedPalette

Choice = tuple[float, Float[np.ndarray, "k 3"], Int[np.ndarray, "h w"]]
Indices = UInt8[np.ndarray, "h w"]
Mask = Literal["bayer-2", "bayer-4", "bayer-8", "blue-noise"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ErrorDiffusion:
    """What a pixel's colour lacks goes to the pixels after it: `diffquant.export.diffusion.diffuse`."""

    kernel: Kernel = "floyd-steinberg"
    serpentine: bool = True  # every other row from right to left
    strength: float = 1.0  # share of the error that is passed on, 0 to 1

    def __post_init__(self) -> None:
        _require_share("ErrorDiffusion", self.strength)

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice; only `palette` and `target` are used."""
        yield _chosen(self, palette, target)

    def indices(self, linear: Float[np.ndarray, "h w 3"], palette: Float[np.ndarray, "k 3"]) -> Indices:
        """The entry at each pixel, for a picture and a palette in linear light."""
        from diffquant.export.diffusion import diffuse

        return diffuse(linear, palette, kernel=self.kernel, serpentine=self.serpentine, strength=self.strength)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordered:
    """A tiled mask picks from a small mixture of colours at each pixel: `diffquant.export.ordered.dither_ordered`.

    Unlike `BlueNoise` it needs no learned distribution.
    """

    mask: Mask = "bayer-8"
    parts: int = 8  # colours in a mixture; time is proportional to it
    strength: float = 1.0  # share of the error that counts, 0 to 1

    def __post_init__(self) -> None:
        _require_share("Ordered", self.strength)
        if self.parts < 1:
            raise ValueError(f"Ordered: found {self.parts} parts, expected at least 1")

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice; only `palette` and `target` are used."""
        yield _chosen(self, palette, target)

    def indices(self, linear: Float[np.ndarray, "h w 3"], palette: Float[np.ndarray, "k 3"]) -> Indices:
        """The entry at each pixel, for a picture and a palette in linear light."""
        from diffquant.export.ordered import dither_ordered, mask_of

        return dither_ordered(linear, palette, mask_of(self.mask), parts=self.parts, strength=self.strength)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Riemersma:
    """Errors are carried along a Hilbert curve: `diffquant.export.riemersma.riemersma`."""

    memory: int = 16  # pixels that an error reaches
    strength: float = 1.0  # share of the error that is passed on, 0 to 1

    def __post_init__(self) -> None:
        _require_share("Riemersma", self.strength)
        if self.memory < 1:
            raise ValueError(f"Riemersma: found a memory of {self.memory}, expected at least 1")

    def __call__(
        self, assignment: Any, palette: LearnedPalette, target: Image, losses: Sequence[Loss], *, key: jax.Array
    ) -> Iterator[Choice]:
        """One choice; only `palette` and `target` are used."""
        yield _chosen(self, palette, target)

    def indices(self, linear: Float[np.ndarray, "h w 3"], palette: Float[np.ndarray, "k 3"]) -> Indices:
        """The entry at each pixel, for a picture and a palette in linear light."""
        from diffquant.export.riemersma import riemersma

        return riemersma(linear, palette, memory=self.memory, strength=self.strength)


AnyClassical = ErrorDiffusion | Ordered | Riemersma


def _require_share(name: str, strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"{name}: found a strength of {strength}, expected 0 to 1")


def _chosen(spec: AnyClassical, palette: LearnedPalette, target: Image) -> Choice:
    """Against the entries as a file holds them."""
    colors = color.linear_from_srgb8(color.srgb8_from_linear(np.asarray(palette.linear())))
    return 1.0, colors, spec.indices(np.moveaxis(np.asarray(target), 0, -1), colors).astype(np.int32)
