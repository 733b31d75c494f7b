"""How a JPEG lays out a picture: components, their planes, their blocks. ITU-T T.81, sections A.1 and A.2."""

import dataclasses
from typing import Literal, get_args

import numpy as np

Subsampling = Literal["444", "422", "420"]
SUBSAMPLINGS: tuple[Subsampling, ...] = get_args(Subsampling)
FACTORS: dict[Subsampling, tuple[int, int]] = {"444": (1, 1), "422": (1, 2), "420": (2, 2)}  # rows, columns of chroma
BLOCK = 8
LARGEST = 65_500  # pixels a side: libjpeg's JPEG_MAX_DIMENSION

# Natural index (8 row + column) of the n-th coefficient in a file. T.81, figure 5.
ZIGZAG = np.array(sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8)))


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A picture of `height` x `width` pixels, as one component (grey) or three (Y, Cb, Cr)."""

    height: int
    width: int
    subsampling: Subsampling = "420"
    components: int = 3

    def __post_init__(self) -> None:
        if not (1 <= self.height <= LARGEST and 1 <= self.width <= LARGEST):
            raise ValueError(f"size: found {self.width}x{self.height} pixels, expected 1 to {LARGEST} a side")
        if self.subsampling not in FACTORS or self.components not in (1, 3):
            raise ValueError(f"found {self.subsampling} and {self.components} components, expected 444, 422, 420; 1, 3")

    @property
    def factors(self) -> tuple[int, int]:
        """Rows and columns of pixels that a sample of chroma covers."""
        return FACTORS[self.subsampling] if self.components == 3 else (1, 1)

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each component's samples."""
        down, across = self.factors
        chroma = -(-self.height // down), -(-self.width // across)
        return ((self.height, self.width), chroma, chroma)[: self.components]

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each component's blocks, those at the edges being padded."""
        return tuple((-(-rows // BLOCK), -(-columns // BLOCK)) for rows, columns in self.planes)
