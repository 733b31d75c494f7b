"""Time and memory of relaxation and polish: `python scripts/benchmark_speed.py --sizes 768x512`.

Each case runs in a process of its own, one after another; with --rounds they all run again, in turn, and the round with
the fastest step counts. The yardstick, `plain`, is what one writes first: softmax, einsum, the same loss, its gradient
and Adam, jitted, called from Python step by step. To --out:

    results.json  every measurement, and the machine
    tables.md     the table, also on stdout

A step is the fastest chunk's, compiled beforehand. Its share of the bandwidth is what it has to move at least (logits,
two moments and gradient, each read once and written once) against what a triad moves in the same process; where all of
them fit in a cache it may pass 100 %. Peak memory is the process's. A sweep of polish is the difference between a few
sweeps and more of them, divided by their number. `--presets balanced` times whole runs, the faster of two.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import jax
from benchmark_rows import markdown
from benchmarks import completed, say, status_of
from processes import apart
from speed_runs import CHUNK, SPECS, Assignment, Row, Task, Work, row_of
from tyro.conf import arg

from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.presets import Preset

PROG = "benchmark_speed"
RUNS = 2  # of a preset; the first one compiles
SMALLEST = 16  # pixels of a side: enough for 256 colours
COLUMNS = {
    "compile_s": ("compile, s", "{:.1f}"),
    "step_ms": ("ms a step, sweep or picture", "{:,.1f}"),
    "pixel_us": ("µs a pixel", "{:.3g}"),
    "steps_per_s": ("a second", "{:,.1f}"),
    "pixel_colors_per_s": ("pixel-colours a second", "{:.2e}"),
    "bandwidth_share": ("of the bandwidth", "{:.0%}"),
    "bandwidth_gb_per_s": ("triad, GB/s", "{:.0f}"),
    "peak_mib": ("peak, MiB", "{:,.0f}"),
}


def _row_apart(task: Task) -> Row | str:
    return apart(row_of, task)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Time relaxation, against a plain one, and polish. A Markdown table goes to stdout."""

    sizes: tuple[str, ...] = ("384x256", "768x512")
    """Pictures' widths and heights."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (16, 256)
    """Sizes of palette, 1 to 256."""
    assignments: tuple[Assignment, ...] = ("plain", "dense", "top-8")
    """Logits for every entry, in the yardstick and here, and for the nearest eight."""
    steps: int = 50
    """Steps of each, in chunks of 10; the first chunk compiles."""
    sweeps: int = 6
    """Sweeps of polish to time; 0: none."""
    presets: tuple[Preset, ...] = ()
    """Whole runs to time, from the picture in memory to the measured file: fast, balanced, best."""
    rounds: int = 1
    """How often everything is measured."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path("runs/speed")
    """Folder of results."""

    def run(self) -> int:
        """Rows, then a table. A case that the device cannot hold is reported, and its row is missing."""
        sizes = [self._size(size) for size in dict.fromkeys(self.sizes)]
        self._check()
        works: list[tuple[Work, int]] = [(name, self.steps) for name in dict.fromkeys(self.assignments)]
        works += [("polish", self.sweeps)] if self.sweeps else []
        works += [(preset, RUNS) for preset in dict.fromkeys(self.presets)]
        cases = [Task(*size, k, *work) for size in sizes for k in dict.fromkeys(self.colors) for work in works]
        self.out.mkdir(parents=True, exist_ok=True)
        outcomes = list(completed(_row_apart, cases * self.rounds, 1))
        for failure in dict.fromkeys(outcome for outcome in outcomes if isinstance(outcome, str)):
            say(PROG, failure)
        rows = [outcome for outcome in outcomes if not isinstance(outcome, str)]
        report = table(rows)
        print(report)
        whole = {"jax": jax.__version__, "steps": self.steps, "sweeps": self.sweeps, "rows": rows}
        write_atomically(self.out / "results.json", f"{json.dumps(whole, indent=1)}\n".encode())
        write_atomically(self.out / "tables.md", f"{report}\n".encode())
        return 2 if len(rows) < len(outcomes) else 0

    def _size(self, text: str) -> tuple[int, int]:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text, re.ASCII)
        width, height = map(int, found.groups()) if found else (0, 0)
        if min(width, height) < SMALLEST:
            raise UsageError(f"--sizes: found {text!r}, expected a width and a height from {SMALLEST}, such as 768x512")
        return width, height

    def _check(self) -> None:
        if not self.colors or not all(1 <= k <= 256 for k in self.colors):
            raise UsageError(f"--colors: found {self.colors}, expected numbers from 1 to 256")
        if not self.sizes or not (self.assignments or self.sweeps or self.presets):
            raise UsageError("--sizes, --assignments: found none, expected at least one of each")
        if self.steps < 2 * CHUNK or self.steps % CHUNK:
            raise UsageError(f"--steps: found {self.steps}, expected a multiple of {CHUNK}, from {2 * CHUNK}")
        if self.sweeps < 0 or self.rounds < 1:
            raise UsageError(
                f"--sweeps, --rounds: found {self.sweeps} and {self.rounds}, expected at least 0 and at least 1"
            )


def fastest(rows: Sequence[Row]) -> dict[tuple[Any, ...], Row]:
    """By size, colours and work, the row of the round with the fastest step."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        case = (row["size"], row["k"], row["work"])
        best[case] = min(best.get(case, row), row, key=lambda each: float(each["step_ms"]))
    return best


def table(rows: Sequence[Row]) -> str:
    """Markdown: a row for each case; how often its step fits into one of the yardstick."""
    best, lines = fastest(rows), []
    for (size, k, work), row in best.items():
        cells = [form.format(row[name]) if name in row else "" for name, (_, form) in COLUMNS.items()]
        yardstick = best.get((size, k, "plain")) if work in SPECS else None
        ratio = "" if yardstick is None else f"{float(yardstick['step_ms']) / float(row['step_ms']):.2f}"
        lines.append([f"{row['device']}, {row['cores']} cores", size, str(k), work, ratio, *cells])
    labels = [label for label, _ in COLUMNS.values()]
    return markdown(["device", "size", "colours", "work", "times plain", *labels], lines, left=4)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Benchmark, arguments, prog=PROG, lost="nothing is written"))


if __name__ == "__main__":
    main()
