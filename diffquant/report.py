"""What is measured on the bytes of a finished file."""

import dataclasses
import io
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image

from diffquant.interfaces import Pixels
from diffquant.metrics import bits_per_pixel, count_colors, measure

BRIEF = ("psnr", "ssim", "ssimulacra2", "oklab_mse_blur", "scielab")  # metrics that take no longer than to make a file


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Measured on the decoded file, against the picture as it was read."""

    colors: int
    size: int  # bytes
    bits_per_pixel: float
    metrics: dict[str, float]
    seconds: float | None = None  # from the picture to the bytes, if they were made here

    def as_dict(self) -> dict[str, float]:
        """Flat, for JSON and tables."""
        first = {"colors": self.colors, "bytes": self.size, "bits_per_pixel": self.bits_per_pixel}
        last = {} if self.seconds is None else {"seconds": self.seconds}
        return first | self.metrics | last


def to_json(figures: Any) -> str:
    """Standard JSON: what is not a number (a metric that a small picture does not have) is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return value if not isinstance(value, float) or math.isfinite(value) else None

    return json.dumps(plain(figures), indent=2, allow_nan=False)


def decode(data: bytes) -> Pixels:
    """A file's pixels, by an independent decoder: uint8 sRGB [h w 3]."""
    with PIL.Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def report_of(
    reference: Pixels,
    decoded: Pixels,
    size: int,
    *,
    names: Iterable[str] | None = None,
    seconds: float | None = None,
) -> Report:
    """Measure `decoded`, which a file of `size` bytes shows, against `reference`: metrics `names`, by default all."""
    return Report(
        colors=count_colors(decoded),
        size=size,
        bits_per_pixel=bits_per_pixel(size, decoded),
        metrics=measure(reference, decoded, names),
        seconds=seconds,
    )
