"""What measurements of time and memory share: a process of its own for each, and its peak memory."""

import concurrent.futures
import multiprocessing
import resource
import sys
from collections.abc import Callable
from typing import TypeVar

KIB = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def apart(work: Callable[[Task], Outcome], task: Task) -> Outcome:
    """What `work` makes of a task in a process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, task).result()


def peak_mib() -> float:
    """The most memory that this process has held at a time; not that of an accelerator."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 2**20
