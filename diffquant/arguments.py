"""What options mean that are more than a word or a number. Mistakes become one line that names the option."""

import math
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from diffquant.console import UsageError
from diffquant.image import Picture, parse_color
from diffquant.memory.size import budget_from, bytes_from
from diffquant.palette.files import WRITABLE, read_palette

if TYPE_CHECKING:
    from diffquant.config import Config

METRIC_NAMES = (  # of `diffquant.metrics`, whose import waits for JAX
    *("psnr", "ssim", "ms_ssim", "ssimulacra2", "butteraugli_3norm"),
    *("oklab_mse", "oklab_mse_blur", "scielab", "flip"),
)
LAUNCHERS = (  # where a process's number and their count stand, the innermost first: SLURM's are inherited
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH and its kin
    ("RANK", "WORLD_SIZE"),  # torchrun, or by hand
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  # of what srun has started; a batch script by itself is no share
)
Codes = tuple[tuple[int, int, int], ...]


def check_seed(seed: int) -> None:
    """As `Config` wants it."""
    if not 0 <= seed < 2**32:
        raise UsageError(f"--seed: found {seed}, expected 0 to {2**32 - 1}")


def check_memory(text: str) -> None:
    """As `fitted` wants it, before any picture is looked at. Empty: no budget."""
    try:
        if text:
            bytes_from(text)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None


def share_from(text: str) -> tuple[int, int]:
    """Which of how many shares, the first being 1; all of one, if there is no text; auto: as the launcher has it."""
    if not text:
        return 1, 1
    if text == "auto":
        return _share_by_launcher()
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    number, shares = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= shares:
        raise UsageError(f"--share: found {text!r}, expected auto, or such as 2/8: the second of eight")
    return number, shares


def _share_by_launcher() -> tuple[int, int]:
    for names in LAUNCHERS:
        words = [os.environ.get(name, "") for name in names]
        if not all(words):
            continue
        rank, shares = (int(word) if re.fullmatch(r"\d{1,9}", word, re.ASCII) else -1 for word in words)
        if not 0 <= rank < shares:
            found = " and ".join(f"{name}={word}" for name, word in zip(names, words, strict=True))
            raise UsageError(f"--share auto: found {found}, expected a number from 0 and a larger count")
        return rank + 1, shares
    pairs = ", ".join("/".join(names) for names in LAUNCHERS)
    raise UsageError(f"--share auto: found no launcher's variables, expected one of {pairs}, or --share such as 2/8")


def fitted(config: "Config", picture: Picture, memory: str, *, prog: str = "diffquant") -> "Config":
    """The config changed so that it keeps within `memory`, the plan being printed; without a budget, as it is."""
    if not memory:
        return config
    import jax

    from diffquant.memory.plan import BudgetError, fit_to

    try:
        h, w, _ = picture.srgb8.shape
        plan = fit_to(config, h, w, budget_from(memory), host=jax.default_backend() == "cpu")
    except BudgetError as error:
        raise UsageError(f"{picture.name}: --memory: {error}") from None
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
    print(f"{prog}: {plan}", file=sys.stderr)
    return plan.config


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
