"""Memory that was freed goes back to the system, where the C library is glibc; elsewhere nothing happens.

Left to itself it keeps what compiling took, hundreds of MiB, and the holes that planes of up to 32 MiB leave.
"""

import ctypes
import functools
from typing import Any

COMPILED = "/jax/core/compile/backend_compile_duration"  # as JAX names it
LONG = 0.1  # seconds that compiling took: what a shorter one leaves is not worth a walk through the heap
LARGE, SPARE = 2**23, 2**25  # bytes of an array that is mapped by itself; of what is kept at the heap's end
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def trim() -> None:
    """Give back what the heap does not use."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@functools.cache  # a second listener would trim a second time
def keep_heap_small() -> None:
    """From now on: large arrays leave no holes, and the heap is trimmed after every compilation that took `LONG`, so
    before the program's own arrays are made."""
    import jax

    def compiled(event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILED and duration_secs > LONG:
            trim()

    jax.monitoring.register_event_duration_secs_listener(compiled)
    if (library := _glibc()) is not None:
        library.mallopt(MMAP_THRESHOLD, LARGE)
        library.mallopt(TRIM_THRESHOLD, SPARE)


def _glibc() -> Any | None:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "malloc_trim") else None
    except (OSError, TypeError):  # Windows wants a name
        return None
