"""Score the palette codec's presets on a folder of pictures, beside other quantizers.

    python scripts/benchmark_quality.py --images photos --peers peers.csv -n 4 16 --preset fast balanced

A row for each picture, number of colours and method goes into OUT/results.csv as soon as it is known, the file it was
measured on into OUT/images. What is there already is not computed again, so an interrupted run goes on where it was;
for a metric that is new since, the kept file is measured. After a change of the codec, take another OUT.

`seconds` is the time of one call in a warm process, from the picture in memory to the bytes of the file. JAX compiles
for each new size of picture, number of colours and preset: that is left out, by running a few steps first. So are
reading and measuring. With --jobs above 1, neighbours slow each other down. `bytes` is the size of the file as our
encoder writes it, for live peers as well. A file of peers may call the two cpu_s and png_bytes_oxipng.
"""

import concurrent.futures.process
import dataclasses
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, NoReturn

import live_peers
from quality_runs import Results, Task, completed, is_complete
from quality_tables import OURS, Row, read_file, scores_of, tables
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import FlagCreatePairsOff, arg

from diffquant.console import INTERRUPTED, UsageError, complain, parse
from diffquant.decoding import format_of
from diffquant.image import HEAD
from diffquant.presets import Preset

PROG = "benchmark_quality"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Score presets on a folder of pictures, beside other quantizers. Markdown tables go to stdout."""

    images: Path
    """Folder of pictures; other files in it do not matter."""
    peers: Path | None = None
    """CSV of other quantizers' scores: columns image (a name without ending), peer, k and metrics."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (16,)
    """Sizes of palette, 1 to 256."""
    preset: tuple[Preset, ...] = ("balanced",)
    """Which of ours."""
    live: bool = False
    """Run Pillow, and pngquant, ImageMagick and FFmpeg (imageio-ffmpeg) if they are installed."""
    out: Path = Path("runs/benchmark")
    """Folder of results; goes on with what is there."""
    jobs: int = 1
    """Processes at a time."""

    def run(self) -> int:
        """Rows, then tables. A picture that fails is reported, and its rows are missing."""
        for k in self.colors:
            if not 1 <= k <= 256:
                raise UsageError(f"--colors: found {k}, expected 1 to 256")
        if self.jobs < 1 or not self.colors or not self.preset:
            raise UsageError("--jobs, --colors, --preset: expected at least one of each")
        pictures = _pictures(self.images)
        peers = _peers(self.peers)
        ours = [OURS + preset for preset in dict.fromkeys(self.preset)]
        colors = list(dict.fromkeys(self.colors))
        live = _live(colors) if self.live else {k: [] for k in colors}
        (self.out / "images").mkdir(parents=True, exist_ok=True)
        with Results(self.out / "results.csv") as results:
            tasks = [
                Task(source, self.out / "images" / f"{name}-{k}-{method}.png", results.known(name, method, k))
                for k in colors
                for method in ours + live[k]
                for name, source in pictures.items()
            ]
            failures = _complete(tasks, results, self.jobs)
        for failure in failures:
            _say(failure)
        for k in colors:
            own = scores_of((row for row in results.rows.values() if row.method in ours), k)
            others = scores_of((*peers, *(row for row in results.rows.values() if row.method in live[k])), k)
            done = [name for name in pictures if all(name in own.get(method, {}) for method in ours)]
            if done:
                print(tables(k, own, others, done))
        return 2 if failures else 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = parse(Benchmark, arguments, prog=PROG, config=(FlagCreatePairsOff,)).run()
    except (UsageError, OSError) as error:
        complain(error, prog=PROG)
        status = 2
    except concurrent.futures.process.BrokenProcessPool:
        _say("a process died, maybe for want of memory; finished rows are kept: run again with fewer --jobs")
        status = 2
    except KeyboardInterrupt:
        _say("interrupted; finished rows are kept: run again to go on")
        status = INTERRUPTED
    sys.exit(status)


def _complete(tasks: Sequence[Task], results: Results, jobs: int) -> list[str]:
    """Run the tasks that are not done; returns a line for each that failed."""
    waiting = [task for task in tasks if not is_complete(task.row)]
    if not waiting:
        return []
    failures = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    options: dict[str, Any] = {
        "transient": True,
        "disable": not console.is_terminal,
        "speed_estimate_period": 1e6,
    }  # seconds: all
    with Progress(*columns, *times, console=console, **options) as bar, closing(completed(waiting, jobs)) as outcomes:
        shown = bar.add_task("rows", total=len(tasks), completed=len(tasks) - len(waiting))
        for outcome in outcomes:
            if isinstance(outcome, Row):
                results.add(outcome)
            else:
                failures.append(outcome)
            bar.advance(shown)
    return failures


def _pictures(folder: Path) -> dict[str, Path]:
    """Picture files by name without ending, in order."""
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


def _peers(path: Path | None) -> Iterable[Row]:
    if path is None:
        return []
    if not path.exists():
        _say(f"--peers: found no file {path}; only ours are shown")
        return []
    return read_file(path, "peer")


def _live(colors: Iterable[int]) -> dict[int, list[str]]:
    names, skipped = live_peers.available(colors)
    for line in skipped:
        _say(line)
    return names


def _say(line: str) -> None:
    print(f"{PROG}: {' '.join(line.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
