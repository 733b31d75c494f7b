"""What options mean that are more than a word or a number. Mistakes become one line that names the option."""

import math
from pathlib import Path

from diffquant.console import UsageError
from diffquant.image import parse_color

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
    """Colours separated by commas, or one on each line of a file."""
    if not text:
        return ()
    words = [(option, word) for word in text.split(",")]
    if option == "--palette" and Path(text).is_file():
        try:
            lines = Path(text).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UsageError(f"{text}: found no text; expected a colour on each line") from None
        words = [(f"{text}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]
    codes = tuple(color_from(word, where) for where, word in words)
    twice = next((word for i, (_, word) in enumerate(words) if codes[i] in codes[:i]), None)
    if twice is not None:
        raise UsageError(f"{option}: found {twice.strip()} twice; expected each colour once")
    return codes
