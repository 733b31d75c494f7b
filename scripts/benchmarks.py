"""What benchmarks share: pictures of a folder, rows in a CSV that survives interruptions, processes, one clear line."""

import concurrent.futures
import concurrent.futures.process
import csv
import io
import multiprocessing
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import FlagCreatePairsOff

from diffquant.console import INTERRUPTED, UsageError, complain, parse
from diffquant.decoding import format_of
from diffquant.export.files import write_atomically
from diffquant.image import HEAD

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

Key = tuple[str, ...]  # what a row is about
Values = dict[str, float]  # what was measured: what is missing in the file is missing here
Table = dict[Key, Values]


class Command(Protocol):
    """What a command line asks for."""

    def run(self) -> int:
        """Do it; 0 if all went well."""


class Results:
    """A CSV of rows, the columns `keys` and then numbers called `names`: read, brought up to date, then appended to.

    A last line without an end was cut short, and is forgotten. Of rows for the same thing the last one counts.

    Raises:
        UsageError: what is there is no such CSV.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path, keys: Sequence[str], names: Sequence[str]) -> None:
        self._names = names
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        self.rows = read_table(path, whole, keys, names) if whole else {}
        today = _text([[*keys, *names], *(self._cells(key, values) for key, values in self.rows.items())])
        if today != text:
            write_atomically(path, today.encode())
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, key: Key, values: Values) -> None:
        """To the file, at once."""
        self.rows[key] = values
        self._file.write(_text([self._cells(key, values)]))
        self._file.flush()

    def _cells(self, key: Key, values: Values) -> list[str]:
        return [*key, *(f"{values[name]:.8g}" if name in values else "" for name in self._names)]


def _text(cells: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue()


def read_table(path: Path, text: str, keys: Sequence[str], names: Sequence[str]) -> Table:
    """Rows of a CSV that has the columns `keys` and some of `names`. Other columns are left out.

    Raises:
        UsageError: a column is missing, or a cell is no number; names the file and the line.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    table: Table = {}
    try:
        header = reader.fieldnames or ()
        missing = [column for column in keys if column not in header]
        if missing or not set(names) & set(header):
            found = f"no column {', '.join(missing)}" if missing else "no number"
            raise UsageError(f"{path}: found {found}, expected {', '.join(keys)} and some of {', '.join(names)}")
        for cells in reader:
            table[tuple(cells[column] or "" for column in keys)] = {
                name: float(cells[name]) for name in names if cells.get(name)
            }
    except UsageError:
        raise
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}; expected numbers") from None
    return table


def read_file(path: Path, keys: Sequence[str], names: Sequence[str]) -> Table:
    """Rows of a file of that kind.

    Raises:
        UsageError: it is no such CSV.
        OSError: it cannot be read.
    """
    try:
        return read_table(path, path.read_text(encoding="utf-8"), keys, names)
    except UnicodeDecodeError:
        raise UsageError(f"{path}: found no text, expected a CSV") from None


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


def completed(work: Callable[[Task], Outcome], tasks: Sequence[Task], jobs: int) -> Generator[Outcome, None, None]:
    """What `work` makes of each task, as soon as it is known, under a progress bar if there is a terminal.

    Several processes at a time if `jobs` is above 1; they end when the generator is closed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    everything = 1e6  # seconds that the estimate of speed looks back
    options: dict[str, Any] = {"transient": True, "disable": not console.is_terminal}
    outcomes = _in_processes(work, tasks, jobs) if jobs > 1 else (work(task) for task in tasks)
    with Progress(*columns, *times, console=console, speed_estimate_period=everything, **options) as bar:
        shown = bar.add_task("rows", total=len(tasks))
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


def status_of(kind: type[Command], arguments: Sequence[str] | None, *, prog: str) -> int:
    """Run a command line to its end: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    try:
        chosen: Command = parse(
            kind, list(sys.argv[1:] if arguments is None else arguments), prog=prog, config=(FlagCreatePairsOff,)
        )
        return chosen.run()
    except (UsageError, OSError) as error:
        complain(error, prog=prog)
        return 2
    except concurrent.futures.process.BrokenProcessPool:
        say(prog, "a process died, maybe for want of memory; finished rows are kept: run again with fewer --jobs")
        return 2
    except KeyboardInterrupt:
        say(prog, "interrupted; finished rows are kept: run again to go on")
        return INTERRUPTED
