"""What measurements of time and memory share: a process of its own for each, and its peak memory."""

import concurrent.futures
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

KIB = 1 if sys.platform == "darwin" else 1024  # bytes in the unit of ru_maxrss

# Starts a command and writes down its status and peak. A small process has to do that: a new one's peak begins with the
# memory of whoever has started it.
STARTER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
print(process.returncode, usage.ru_maxrss)
"""

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


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, float, str]:
    """Exit status of a command, the most memory in MiB that it has held at a time, and what it said on stderr."""
    with tempfile.TemporaryFile("w+") as said:
        starter = [sys.executable, "-S", "-c", STARTER, *command]
        environment = os.environ if environment is None else environment
        done = subprocess.run(starter, stdout=subprocess.PIPE, stderr=said, env=environment, text=True, check=True)
        said.seek(0)
        status, peak = map(int, done.stdout.split())
        return status, peak * KIB / 2**20, said.read()
