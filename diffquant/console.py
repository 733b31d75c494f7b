"""What every command does: read arguments, take one picture after another, show progress, print a table, say in one
line what is wrong.

JAX is imported when a run starts, so that mistakes are answered at once.
"""

import contextlib
import importlib
import io
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from diffquant.files import write_atomically
from diffquant.image import ImageError, Picture

if TYPE_CHECKING:
    from diffquant.config import Config
    from diffquant.report import Report
    from diffquant.runner import Result

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class UsageError(ValueError):
    """What the user asked for cannot be done: one line."""


def parse(kind: Any, arguments: Sequence[str], *, prog: str, **options: Any) -> Any:
    """The `kind` that the arguments ask for, by tyro with its `options`. Mistakes become one line instead of a box."""
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, prog=prog, args=arguments, **options)
    except ValueError as error:  # of a spec's own checks, where tyro lets it through
        raise UsageError(f"{error}; see {prog} --help") from None
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(f"{_first_section(box.getvalue())}; see {prog} --help") from None


def _first_section(box: str) -> str:
    """The message in tyro's box: a title, a rule, the message, a rule, help. Terminals without UTF-8 get no frame."""
    lines = [line.strip("│| ") for line in box.splitlines()]
    sections = [
        " ".join(group).strip()
        for is_rule, group in itertools.groupby(lines, lambda line: line.startswith(("╭", "╰", "──", "--")))
        if not is_rule
    ]
    framed = "╭" in box  # the title is in the frame
    return next(iter(sections[0 if framed else 1 :]), " ".join(sections))


def complain(error: Exception, *, prog: str = "diffquant") -> None:
    """One line, whatever the error."""
    if isinstance(error, OSError) and error.filename is not None:
        line = f"{error.filename}: {error.strerror}"
    else:
        line = str(error) or type(error).__name__
    print(f"{prog}: {' '.join(line.split())}", file=sys.stderr)


def run(picture: Picture, config: "Config", *, started: float) -> tuple["Result", bool]:
    """The result, and whether it was cut short. A first Ctrl-C ends the run with the best so far, a second at once."""
    from diffquant.runner import finish

    threading.Thread(target=importlib.import_module, args=("scipy.fft",), daemon=True).start()  # metrics will use it
    with interruptible() as interrupted:
        artifact = _run(picture, config, interrupted)
        return finish(picture, artifact, started=started, names=config.pipeline.figures), bool(interrupted)


def _run(picture: Picture, config: "Config", interrupted: list[int]) -> Any:
    from diffquant.runner import stages

    artifact = None
    with progress(picture.name) as show:
        for stage in stages(picture, config, stop=lambda: bool(interrupted)):
            show(stage.name, stage.share)
            artifact = stage.artifact
    assert artifact is not None  # the last stage holds one
    return artifact


@contextlib.contextmanager
def progress(name: str) -> Iterator[Callable[[str, float], None]]:
    """A bar for each task, by its name and the share done, with the time that is left; on terminals only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    on, shared = console.is_terminal, sys.stdout.isatty()  # a file that takes the output is not redirected to the bar
    with Progress(*columns, console=console, transient=True, disable=not on, redirect_stdout=shared) as bar:
        tasks: dict[str, Any] = {}

        def show(task: str, share: float) -> None:
            if task not in tasks:
                tasks[task] = bar.add_task(f"{name}: {task}", total=1.0)
            bar.update(tasks[task], completed=share)

        yield show


@contextlib.contextmanager
def interruptible() -> Iterator[list[int]]:
    """Collects the first SIGINT instead of raising; the second one raises as usual."""
    received: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, _: Any) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, before)


def use_compilation_cache() -> None:
    """Keep compiled programs in the user's cache folder, unless JAX was told where; and not what compiling left."""
    import jax
    import platformdirs

    from diffquant import programs
    from diffquant.memory.heap import keep_heap_small

    keep_heap_small()

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("diffquant", appauthor=False))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    place, used = jax.config.jax_compilation_cache_dir, jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    programs.keep_in(Path(place) / "traced" if used and place and "://" not in place else None)


def table(path: Path, report: "Report") -> None:
    """The report, a row for each figure."""
    from diffquant.metrics import METRICS

    colors = {} if report.colors is None else {"colours": str(report.colors)}
    size = {"bytes": f"{report.size:,}", "bits per pixel": f"{report.bits_per_pixel:.3f}"}
    metrics = {METRICS[name].label: METRICS[name].format(value) for name, value in report.metrics.items()}
    seconds = {} if report.seconds is None else {"seconds": f"{report.seconds:.1f}"}
    rows(path, colors | size | metrics | seconds)


def rows(path: Path, figures: dict[str, str]) -> None:
    """Print a table of two columns, what and how much, titled by the file."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(path), title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    for label, figure in figures.items():
        table.add_row(label, figure)
    Console().print(table)


def jobs_of(
    inputs: Sequence[Path], output: Path, suffixes: Sequence[str], *, folder: bool = False
) -> list[tuple[Path, Path]]:
    """What is written where, checked before anything is computed. Names made here end in the first of `suffixes`.

    `folder`: the output is one, to be made if need be, however few the inputs.
    """
    if not inputs:
        raise UsageError("found no input; expected at least one picture; see diffquant --help")
    folder = folder or output.is_dir() or len(inputs) > 1
    if folder:
        if output.exists() and not output.is_dir():
            count = "1 input" if len(inputs) == 1 else f"{len(inputs)} inputs"
            raise UsageError(f"--output: found the file {output}, expected a folder for {count}")
        jobs = [(source, output / f"{source.stem}{suffixes[0]}") for source in inputs]
    else:
        jobs = [(inputs[0], output)]
    taken: set[Path] = set()
    for source, target in jobs:
        if target.suffix.lower() not in suffixes:
            raise UsageError(f"--output: found {target}, expected a name ending in {' or '.join(suffixes)}")
        if target.exists() and source.exists() and os.path.samefile(source, target):
            raise UsageError(f"--output: found the input {source} itself, expected another file")
        if target in taken:
            raise UsageError(f"--output: found two inputs for {target}, expected inputs of different names")
        taken.add(target)
    if not folder and not jobs[0][1].parent.is_dir():
        raise UsageError(f"--output: found no folder {jobs[0][1].parent}, expected one that exists")
    return jobs


def batch(
    jobs: Sequence[tuple[Path, Path]],
    load: Callable[[Path], Picture],
    make: Callable[[Picture, float], tuple["Result", bool]],
    *,
    as_json: bool,
) -> int:
    """Run every job, and report each file as it is written. Bad pictures are named, and the next one taken.

    `make` gets a picture and when its job started, by `time.perf_counter()`; it returns what `run` does. The status is
    0 if all went well, 2 if some did not, 130 if interrupted.
    """
    reports: list[dict[str, Any]] = []
    status = 0
    for source, target in jobs:
        try:
            started = time.perf_counter()
            picture = load(source)
            for notice in picture.notices:
                print(f"diffquant: {notice}", file=sys.stderr)
            use_compilation_cache()
            result, interrupted = make(picture, started)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, result.data)
        except (ImageError, UsageError, OSError, FloatingPointError) as error:
            complain(error)
            status = 2
            continue
        reports.append({"input": str(source), "output": str(target)} | result.report.as_dict())
        if not as_json:
            table(target, result.report)
        if interrupted:
            print(f"diffquant: interrupted; {target} is the best so far", file=sys.stderr)
            status = INTERRUPTED
            break
    if as_json and (reports or len(jobs) > 1):
        from diffquant.report import to_json

        print(to_json(reports if len(jobs) > 1 else reports[0]))
    return status
