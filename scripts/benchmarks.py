"""What benchmarks share: pictures of a folder, processes, one clear line."""

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from benchmark_rows import Key, Results, Values
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import FlagCreatePairsOff

from diffquant.console import INTERRUPTED, UsageError, complain, parse
from diffquant.decoding import format_of
from diffquant.image import HEAD

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

KEPT = "finished rows are kept"


class Row(Protocol):
    """A row to complete."""

    @property
    def is_complete(self) -> bool:
        """Nothing is left to do."""


Waiting = TypeVar("Waiting", bound=Row)


class Command(Protocol):
    """What a command line asks for."""

    def run(self) -> int:
        """Do it; 0 if all went well."""


def pictures(folder: Path) -> dict[str, Path]:
    """Picture files by name without ending, in order.

    Raises:
        UsageError: there are none, or two of one name.
        OSError: the folder cannot be read.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not _is_picture(path):
            continue
        if path.stem in found:
            raise UsageError(f"--images: found {found[path.stem].name} and {path.name}, expected different names")
        found[path.stem] = path
    if not found:
        raise UsageError(f"--images: found no picture in {folder}, expected at least one")
    return found


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return format_of(file.read(HEAD)) is not None


def complete(
    work: Callable[[Waiting], tuple[Key, Values] | str], tasks: Sequence[Waiting], results: Results[Key], jobs: int
) -> list[str]:
    """Add to `results` the rows that are not complete, each as soon as it is known.

    `work` makes a row of a task, or a line that says why there is none: not every error survives the way back from a
    process. Returns those lines.
    """
    waiting = [task for task in tasks if not task.is_complete]
    failures = []
    with closing(completed(work, waiting, jobs, before=len(tasks) - len(waiting))) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, str):
                failures.append(outcome)
            else:
                results.add(*outcome)
    return failures


def completed(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], jobs: int, *, before: int = 0
) -> Generator[Outcome, None, None]:
    """What `work` makes of each task, as soon as it is known, under a progress bar if there is a terminal.

    Several processes at a time if `jobs` is above 1; they end when the generator is closed. The bar counts further
    tasks that were done `before`.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    everything = 1e6  # seconds that the estimate of speed looks back
    options: dict[str, Any] = {"transient": True, "disable": not console.is_terminal}
    outcomes = _in_processes(work, tasks, jobs) if jobs > 1 else (work(task) for task in tasks)
    with Progress(*columns, *times, console=console, speed_estimate_period=everything, **options) as bar:
        shown = bar.add_task("rows", total=before + len(tasks), completed=before)
        with closing(outcomes):
            for outcome in outcomes:
                bar.advance(shown)
                yield outcome


def _in_processes(work: Callable[[Task], Outcome], tasks: Sequence[Task], jobs: int) -> Generator[Outcome, None, None]:
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process: children inherit deafness
        futures = [pool.submit(work, task) for task in tasks]
        signal.signal(signal.SIGINT, before)
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def say(prog: str, line: str) -> None:
    """One line, to stderr."""
    print(f"{prog}: {' '.join(line.split())}", file=sys.stderr)


def status_of(kind: type[Command], arguments: Sequence[str] | None, *, prog: str, lost: str = "") -> int:
    """Run a command line to its end: 0 if all went well, 2 after one clear line if not, 130 if interrupted.

    `lost` says what becomes of work that was cut short, where the next run does not go on with it.
    """
    try:
        chosen: Command = parse(
            kind, list(sys.argv[1:] if arguments is None else arguments), prog=prog, config=(FlagCreatePairsOff,)
        )
        return chosen.run()
    except (UsageError, OSError) as error:
        complain(error, prog=prog)
        return 2
    except concurrent.futures.process.BrokenProcessPool:
        say(prog, f"a process died, maybe for want of memory; {lost or KEPT}: run again with fewer --jobs")
        return 2
    except KeyboardInterrupt:
        say(prog, f"interrupted; {lost or f'{KEPT}: run again to go on'}")
        return INTERRUPTED
