"""What is measured on the bytes of a finished file."""

import dataclasses
import io
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image

from diffquant.icc import srgb_from_profile
from diffquant.interfaces import Pixels
from diffquant.metrics import METRICS, bits_per_pixel, count_colors, measure

BRIEF = ("psnr", "ssim", "ssimulacra2", "oklab_mse_blur", "scielab")  # metrics that take no longer than to make a file
# What is shown of a new file: metrics, and the number of colours where it was chosen.
INDEXED = ("colors", *BRIEF)
JPEG = ("ssimulacra2", "psnr", "ssim")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """Measured on the decoded file, against the picture as it was read."""

    size: int  # bytes
    bits_per_pixel: float
    metrics: dict[str, float]
    colors: int | None = None  # of the decoded file, if wanted
    seconds: float | None = None  # from the picture to the bytes, if they were made here

    def as_dict(self) -> dict[str, float]:
        """Flat, for JSON and tables."""
        colors = {} if self.colors is None else {"colors": self.colors}
        size = {"bytes": self.size, "bits_per_pixel": self.bits_per_pixel}
        last = {} if self.seconds is None else {"seconds": self.seconds}
        return colors | size | self.metrics | last


def to_json(figures: Any) -> str:
    """Standard JSON: what is not a number (a metric that a small picture does not have) is null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        return value if not isinstance(value, float) or math.isfinite(value) else None

    return json.dumps(plain(figures), indent=2, allow_nan=False)


def decode(data: bytes, *, managed: bool = True) -> Pixels:
    """A file's pixels, by an independent decoder: uint8 [h w 3].

    `managed` ones are sRGB, as viewers show them that heed an embedded profile; others are the file's own codes.
    """
    with PIL.Image.open(io.BytesIO(data)) as image:
        plain = image if image.mode in ("L", "RGB") else image.convert("RGB")
        shown, _ = srgb_from_profile(plain, image.info.get("icc_profile") if managed else None)
        return np.asarray(shown.convert("RGB"))


def report_of(
    reference: Pixels,
    decoded: Pixels,
    size: int,
    *,
    names: Iterable[str] | None = None,
    seconds: float | None = None,
) -> Report:
    """Measure `decoded`, which a file of `size` bytes shows, against `reference`.

    `names` are those of metrics, and "colors" for their number: by default all.
    """
    wanted = ("colors", *METRICS) if names is None else tuple(names)
    return Report(
        colors=count_colors(decoded) if "colors" in wanted else None,
        size=size,
        bits_per_pixel=bits_per_pixel(size, decoded),
        metrics=measure(reference, decoded, [name for name in wanted if name != "colors"]),
        seconds=seconds,
    )
