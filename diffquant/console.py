"""What every command does: read arguments, show progress, print a table, say in one line what is wrong.

JAX is imported when a run starts, so that mistakes are answered at once.
"""

import contextlib
import io
import itertools
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from diffquant.image import Picture

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
    with interruptible() as interrupted:
        return _run(picture, config, interrupted, started=started), bool(interrupted)


def _run(picture: Picture, config: "Config", interrupted: list[int], *, started: float) -> "Result":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from diffquant.runner import finish, stages

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    artifact = None
    with progress as bar:
        tasks: dict[str, Any] = {}
        for stage in stages(picture, config, stop=lambda: bool(interrupted)):
            if stage.name not in tasks:
                tasks[stage.name] = bar.add_task(f"{picture.name}: {stage.name}", total=1.0)
            bar.update(tasks[stage.name], completed=stage.share)
            artifact = stage.artifact
    assert artifact is not None  # the last stage holds one
    return finish(picture, artifact, started=started)


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
    """Keep compiled programs in the user's cache folder, unless JAX was told where."""
    import jax
    import platformdirs

    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("diffquant", appauthor=False))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def table(path: Path, report: "Report") -> None:
    """The report, a row for each figure."""
    from rich.console import Console
    from rich.table import Table

    from diffquant.metrics import METRICS

    table = Table(title=str(path), title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_row("colours", str(report.colors))
    table.add_row("bytes", f"{report.size:,}")
    table.add_row("bits per pixel", f"{report.bits_per_pixel:.3f}")
    for name, value in report.metrics.items():
        table.add_row(METRICS[name].label, METRICS[name].format(value))
    if report.seconds is not None:
        table.add_row("seconds", f"{report.seconds:.1f}")
    Console().print(table)
