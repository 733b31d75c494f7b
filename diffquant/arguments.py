"""What options mean that are more than a word or a number. Mistakes become one line that names the option."""

import math
import os
from pathlib import Path

from diffquant.console import UsageError
from diffquant.image import parse_color
from diffquant.palette.files import WRITABLE, read_palette

METRIC_NAMES = (  # of `diffquant.metrics`, whose import waits for JAX
    *("psnr", "ssim", "ms_ssim", "ssimulacra2", "butteraugli_3norm"),
    *("oklab_mse", "oklab_mse_blur", "scielab", "flip"),
)
Codes = tuple[tuple[int, int, int], ...]


def check_seed(seed: int) -> None:
    """As `Config` wants it."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed: found {seed}, expected 0 to {2**32 - 1}")


def target_from(text: str) -> tuple[str, float]:
    """A metric's name and value."""
    name, equals, number = (part.strip() for part in text.partition("="))
    if not equals:
        raise UsageError(f"--target: found {text!r}, expected METRIC=VALUE, such as ssimulacra2=70")
    if name not in METRIC_NAMES:
        raise UsageError(f"--target: found the metric {name!r}, expected one of {', '.join(METRIC_NAMES)}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--target: found {number!r}, expected a number")
    return name, value


def color_from(text: str, option: str) -> tuple[int, int, int]:
    """sRGB codes."""
    try:
        return parse_color(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def colors_from(text: str, option: str) -> Codes:
    """Colours separated by commas, each once; or a palette file, or a picture of few colours."""
    if not text:
        return ()
    if os.path.isfile(text):
        return tuple((red, green, blue) for red, green, blue in read_palette(text).tolist())
    words = text.split(",")
    if len(words) == 1 and Path(text).suffix.lower() in WRITABLE:
        raise UsageError(f"{option}: found no file {text}, expected one that exists, or colours")
    codes = tuple(color_from(word, option) for word in words)
    twice = next((word for i, word in enumerate(words) if codes[i] in codes[:i]), None)
    if twice is not None:
        raise UsageError(f"{option}: found {twice.strip()} twice; expected each colour once")
    return codes
