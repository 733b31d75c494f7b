"""What is measured on the bytes of a finished file."""

import dataclasses
import io

import numpy as np
import PIL.Image

from diffquant.interfaces import Pixels
from diffquant.metrics import count_colors, measure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Measured on the decoded file, against the picture as it was read."""

    colors: int
    size: int  # bytes
    bits_per_pixel: float
    metrics: dict[str, float]
    seconds: float | None = None  # of the whole run, if there was one

    def as_dict(self) -> dict[str, float]:
        """Flat, for JSON and tables."""
        first = {"colors": self.colors, "bytes": self.size, "bits_per_pixel": self.bits_per_pixel}
        last = {} if self.seconds is None else {"seconds": self.seconds}
        return first | self.metrics | last


def decode(data: bytes) -> Pixels:
    """A file's pixels, by an independent decoder: uint8 sRGB [h w 3]."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def report_of(reference: Pixels, decoded: Pixels, size: int, *, seconds: float | None = None) -> Report:
    """Measure `decoded`, which a file of `size` bytes shows, against `reference`."""
    return Report(
        colors=count_colors(decoded),
        size=size,
        bits_per_pixel=8 * size / (decoded.shape[0] * decoded.shape[1]),
        metrics=measure(reference, decoded),
        seconds=seconds,
    )
