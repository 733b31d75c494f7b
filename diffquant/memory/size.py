"""Sizes of memory in words: "2GiB", "700MiB", "50%"."""

import math
import os
import re

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
EXPECTED = "expected such as 2GiB, 700MiB, 1.5GB, a number of bytes, or 50% of the device's memory"


def bytes_from(text: str) -> int | float:
    """A number of bytes; of a percentage the share of the device's memory, a float above 0 and at most 1.

    Raises:
        ValueError: it is neither, or none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|[KMG]?I?B?)", text.strip(), re.IGNORECASE)
    number, unit = (float(found[1]), found[2].upper()) if found else (0.0, "")
    if unit == "%" and 0 < number <= 100:
        return number / 100
    if unit in UNITS and number * UNITS[unit] >= 1:
        return int(number * UNITS[unit])
    raise ValueError(f"found {text!r}, {EXPECTED}")


def budget_from(text: str) -> int:
    """A number of bytes. A percentage is that of a GPU's memory as far as JAX may use it, or else of the machine's.

    Raises:
        ValueError: `bytes_from`, or the system does not say how much there is.
    """
    size = bytes_from(text)
    return size if isinstance(size, int) else int(size * _of_device())


def _of_device() -> int:
    import jax

    found = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if found is not None:
        return int(found)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        raise ValueError("found a share, but not how much memory there is; expected a size such as 2GiB") from None


def in_words(size: float) -> str:
    """Rounded up: in GiB with two digits from one on, in MiB below."""
    return f"{math.ceil(100 * size / 2**30) / 100:.2f} GiB" if size >= 2**30 else f"{math.ceil(size / 2**20)} MiB"
