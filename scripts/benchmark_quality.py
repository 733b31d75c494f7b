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

import dataclasses
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import live_peers
from benchmark_rows import Results, read_file
from benchmarks import complete, pictures, say, status_of
from quality_runs import Task, work
from quality_tables import OURS, Case, Table, columns, scores_of, tables
from tyro.conf import arg

from diffquant.console import UsageError
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
        found = pictures(self.images)
        peers = _peers(self.peers)
        ours = [OURS + preset for preset in dict.fromkeys(self.preset)]
        colors = list(dict.fromkeys(self.colors))
        live = _live(colors) if self.live else {k: [] for k in colors}
        (self.out / "images").mkdir(parents=True, exist_ok=True)
        with Results(self.out / "results.csv", columns()) as results:
            tasks = [
                Task(source, self.out / "images" / f"{image}-{k}-{method}.png", case, results.rows.get(case, {}))
                for k in colors
                for method in ours + live[k]
                for image, source in found.items()
                for case in [Case(image, method, k)]
            ]
            failures = complete(work, tasks, results, self.jobs)
        for failure in failures:
            say(PROG, failure)
        for k in colors:
            own = scores_of(_by(ours, results.rows), k)
            others = scores_of(peers | _by(live[k], results.rows), k)
            done = [image for image in found if all(image in own.get(method, {}) for method in ours)]
            if done:
                print(tables(k, own, others, done))
        return 2 if failures else 0


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Benchmark, arguments, prog=PROG))


def _by(methods: Container[str], table: Table) -> Table:
    return {case: values for case, values in table.items() if case.method in methods}


def _peers(path: Path | None) -> Table:
    if path is None:
        return {}
    if not path.exists():
        say(PROG, f"--peers: found no file {path}; only ours are shown")
        return {}
    return read_file(path, columns("peer"))


def _live(colors: Iterable[int]) -> dict[int, list[str]]:
    names, skipped = live_peers.available(colors)
    for line in skipped:
        say(PROG, line)
    return names


if __name__ == "__main__":
    main()
