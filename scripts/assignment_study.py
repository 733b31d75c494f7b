"""Dense and top-k logits compared: `python scripts/assignment_study.py photos/*.png -n 16 64 256`.

Each picture is relaxed with logits for every palette entry (`PixelSoftmax`), and for the nearest ones only (`TopK`),
in a process of its own, one after another. To --out:

    results.csv  a row for each picture, number of colours and assignment
    tables.md    means over the pictures, also on stdout

State is what training keeps: parameters, candidates, Adam's moments. Peak memory is the process's, after relaxing, and
after the polish. A step is the fastest chunk's, compiled beforehand, its share of a refresh included; a refresh is also
timed by itself. Figures of the pictures are of the likeliest entries, and of those after three sweeps of polish.
"""

import csv
import dataclasses
import io
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
from benchmark_rows import markdown
from benchmarks import completed, status_of
from processes import apart, peak_mib
from tyro.conf import Positional, arg

from diffquant.assignment import PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.console import UsageError
from diffquant.export.dither import Argmax, Polish
from diffquant.files import write_atomically
from diffquant.image import ImageError, read
from diffquant.interfaces import Refreshable
from diffquant.metrics import METRICS, measure
from diffquant.pipelines.palette import Palette
from diffquant.training import fit

PROG = "assignment_study"
DITHERS = {"none": Argmax(), "polish": Polish(sweeps=3, detail=0.0)}
SHOWN = ("oklab_mse_blur", "ssimulacra2", "scielab")
COSTS = {
    "state_mib": ("state, MiB", 1),
    "peak_mib": ("peak, MiB", 0),
    "polished_mib": ("with polish", 0),
    "compile_s": ("compile, s", 1),
    "refresh_ms": ("refresh, ms", 0),
    "step_ms": ("step, ms", 1),
}
Row = dict[str, str | float]


class Task(NamedTuple):
    """A row to measure."""

    source: Path
    k: int
    method: str
    assignment: PixelSoftmax | TopK
    steps: int
    every: int


def row_of(task: Task) -> Row:
    """Relax, harden, measure. Peaks are those of this process: one row for each."""
    picture = read(task.source)
    target, config = jnp.asarray(picture.linear()), Config(steps=task.steps, every=task.every)
    pipeline: Any = Palette(colors=task.k, assignment=task.assignment).build(picture.srgb8, target)
    chunks, started = [], time.perf_counter()
    for snapshot in fit(pipeline, target, config.plan(), key=jax.random.key(0)):
        chunks.append(time.perf_counter() - started)
        pipeline, started = snapshot.pipeline, time.perf_counter()
        state = sum(array.nbytes for array in snapshot.state.arrays.values())
    fastest = min(chunks[2:])  # the first compiles, and the second what refreshes
    row: Row = {"image": task.source.stem, "k": task.k, "method": task.method}
    row |= {"state_mib": state / 2**20, "peak_mib": peak_mib(), "compile_s": chunks[0] - fastest}
    row |= {"step_ms": 1e3 * fastest / task.every, "refresh_ms": 1e3 * _seconds_to_refresh(pipeline, target)}
    shown = {}
    for name, pipeline.dither in DITHERS.items():
        *_, (_, shown[name]) = pipeline.harden(target, tuple(config.losses.values()), key=jax.random.key(1))
    row["polished_mib"] = peak_mib()
    for name, artifact in shown.items():
        measured = measure(picture.srgb8, artifact.decode(), SHOWN)
        row |= {f"{name}_{metric}": value for metric, value in measured.items()}
    return row


def _seconds_to_refresh(pipeline: Any, target: jax.Array) -> float:
    """The least of three calls; 0 for what does not refresh."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        if not isinstance(pipeline, Refreshable) or (change := pipeline.refreshed(target)) is None:
            return 0.0
        jax.block_until_ready(change[0].assignment.logits[...])
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _row_apart(task: Task) -> Row:
    return apart(row_of, task)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Compare dense and top-k logits. Markdown tables go to stdout."""

    images: Positional[tuple[Path, ...]]
    """Pictures, of different names."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (16, 64, 256)
    """Sizes of palette, 1 to 256."""
    candidates: tuple[int, ...] = (4, 8, 16)
    """Candidates at each pixel."""
    steps: int = 100
    """Steps of gradient descent."""
    every: int = 10
    """Steps in a chunk; there must be three chunks."""
    out: Path = Path("runs/assignments")
    """Folder of results."""

    def run(self) -> int:
        """Rows, then tables. A picture that cannot be read ends it before it starts."""
        self._check()
        methods: dict[str, PixelSoftmax | TopK] = {"dense": PixelSoftmax()}
        for n in self.candidates:
            methods[f"top {n}"] = TopK(n=n)
            methods[f"top {n}, refreshed"] = TopK(n=n, refresh=True)
        colors = list(dict.fromkeys(self.colors))
        tasks = [
            Task(path, k, name, assignment, self.steps, self.every)
            for k in colors
            for path in self.images
            for name, assignment in methods.items()
        ]
        self.out.mkdir(parents=True, exist_ok=True)
        rows = list(completed(_row_apart, tasks, 1))
        report = "\n\n".join(table(rows, list(methods), k) for k in colors)
        print(report)
        write_atomically(self.out / "results.csv", _csv(rows))
        write_atomically(self.out / "tables.md", f"{report}\n".encode())
        return 0

    def _check(self) -> None:
        if not self.images:
            raise UsageError("found no picture, expected at least one")
        if not self.colors or not all(1 <= k <= 256 for k in self.colors):
            raise UsageError(f"--colors: found {self.colors}, expected numbers from 1 to 256")
        if not all(n >= 1 for n in self.candidates):
            raise UsageError(f"--candidates: found {self.candidates}, expected numbers from 1")
        if self.every < 1 or self.steps <= 2 * self.every:
            raise UsageError(f"--steps, --every: found {self.steps} and {self.every}, expected at least three chunks")
        if len({path.stem for path in self.images}) < len(self.images):
            raise UsageError("found two pictures of one name, expected different names")
        try:
            for path in self.images:
                read(path)
        except ImageError as error:
            raise UsageError(str(error)) from None


def _csv(rows: Sequence[Row]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def table(rows: Sequence[Row], methods: Sequence[str], k: int) -> str:
    """Markdown: means over the pictures, a row for each assignment."""
    figures = [(f"{dither}_{name}", dither, METRICS[name]) for dither in DITHERS for name in SHOWN]
    lines = []
    for method in methods:
        mine = [row for row in rows if (row["k"], row["method"]) == (k, method)]
        cells = [f"{_mean(mine, name):,.{digits}f}" for name, (_, digits) in COSTS.items()]
        lines.append([method, *cells, *(metric.format(_mean(mine, name)) for name, _, metric in figures)])
    labels = [label for label, _ in COSTS.values()] + [f"{metric.label}, {dither}" for _, dither, metric in figures]
    images = len({row["image"] for row in rows})
    return f"## {k} colours, {images} image{'s' * (images > 1)}\n\n{markdown(['assignment', *labels], lines)}"


def _mean(rows: Sequence[Row], name: str) -> float:
    return statistics.fmean(float(row[name]) for row in rows)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG, lost="nothing is written"))


if __name__ == "__main__":
    main()
