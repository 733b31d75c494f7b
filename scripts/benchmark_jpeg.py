"""Rate and quality of the JPEG codec's presets on a folder of pictures, beside other encoders.

    python scripts/benchmark_jpeg.py --images photos --peers peers.csv --preset balanced --quality 30 45 60 75 85

A row for each encoder, picture and setting goes into OUT/results.csv as soon as it is known, the file it was measured
on into OUT/images. What is there already is not computed again, so an interrupted run goes on where it was. After a
change of the codec, take another OUT.

Metrics are those of the decoded file, the four of a file of peers. Two builds of a metric may differ by what encoders
do: with --peer-files or --live a peer's files are measured here, by the same code as ours. Of an encoder measured here
nothing is taken from --peers. Markdown tables of the rate at equal quality (BD-rate) go to stdout, drawings of quality
over rate to OUT: rate-distortion.png of the means, rate-distortion-IMAGE.png of each picture.

`seconds` is the time from the picture in memory to the bytes of the file, in a warm process: JAX compiles for each new
size of picture and preset, and that is left out. With --jobs above 1, neighbours slow each other down.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jpeg_plots
import live_jpeg_peers
from benchmark_rows import Results, read_file
from benchmarks import complete, pictures, say, status_of
from jpeg_runs import Task, encodings, kept_files, work
from jpeg_tables import CSV, OURS, Curves, Sizes, Table, curves_of, mean_curve, tables

from diffquant import presets
from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.image import read

PROG = "benchmark_jpeg"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Rate and quality of presets on a folder of pictures, beside other JPEG encoders."""

    images: Path
    """Folder of pictures; other files in it do not matter."""
    peers: Path | None = None
    """CSV of other encoders' files: columns encoder, image (a name without ending), setting, bytes and metrics."""
    peer_files: Path | None = None
    """Folder of other encoders' files, called ENCODER_IMAGE_SETTING.jpg; they are measured here."""
    preset: tuple[presets.Preset, ...] = ("balanced",)
    """Which of ours; none, if only others are compared."""
    quality: tuple[float, ...] = (30, 45, 60, 75, 85)
    """Of ours."""
    live: bool = False
    """Run libjpeg-turbo (Pillow's), and pyjpegli and MozJPEG's cjpeg if they are installed."""
    compare: tuple[str, ...] = ()
    """Encoders to set against the others as ours are."""
    out: Path = Path("runs/jpeg")
    """Folder of results; goes on with what is there."""
    jobs: int = 1
    """Processes at a time."""

    def run(self) -> int:
        """Rows, then tables and drawings. A file that fails is reported, and its row is missing."""
        found = pictures(self.images)
        ours = self._ours()
        peers = self._peers()
        live = self._live()
        (self.out / "images").mkdir(parents=True, exist_ok=True)
        with Results(self.out / "results.csv", CSV) as results:
            tasks = encodings(self.out / "images", found, ours | live, results.rows)
            if self.peer_files is not None:
                tasks += kept_files(self.peer_files, found, results.rows)
            _require_one_source(tasks)
            failures = complete(work, tasks, results, self.jobs)
        for failure in failures:
            say(PROG, failure)
        measured = {task.point: results.rows[task.point] for task in tasks if task.point in results.rows}
        here = {task.point.encoder for task in tasks}
        elsewhere = {point: values for point, values in peers.items() if point.encoder not in here}
        self._show(curves_of(elsewhere | measured, found), found)
        return 2 if failures else 0

    def _ours(self) -> dict[str, list[str]]:
        """Settings of each of our encoders."""
        if self.jobs < 1:
            raise UsageError(f"--jobs: found {self.jobs}, expected at least 1")
        if not self.quality or not (self.preset or self.compare):
            raise UsageError("--preset, --quality: found none, expected at least one of each")
        try:
            for preset in self.preset:
                for quality in self.quality:
                    presets.jpeg_config(preset, quality=quality)
        except ValueError as error:
            raise UsageError(f"--quality: {error}") from None
        settings = list(dict.fromkeys(f"{quality:g}" for quality in self.quality))
        return {OURS + preset: settings for preset in self.preset}

    def _peers(self) -> Table:
        if self.peers is None:
            return {}
        if not self.peers.exists():
            say(PROG, f"--peers: found no file {self.peers}; it is left out")
            return {}
        return read_file(self.peers, CSV)

    def _live(self) -> dict[str, list[str]]:
        """Settings of each encoder that runs here."""
        if not self.live:
            return {}
        names, skipped = live_jpeg_peers.available()
        for line in skipped:
            say(PROG, line)
        return {name: [str(quality) for quality in live_jpeg_peers.QUALITIES] for name in names}

    def _show(self, curves: Curves, found: dict[str, Path]) -> None:
        """Tables to stdout, drawings to the folder."""
        if unknown := [name for name in self.compare if name not in curves]:
            raise UsageError(f"--compare: found {', '.join(unknown)}, expected some of {', '.join(sorted(curves))}")
        own = [OURS + preset for preset in dict.fromkeys(self.preset)]
        tests = [encoder for encoder in dict.fromkeys([*own, *self.compare]) if encoder in curves]
        if not tests:
            return
        sizes = {image: _pixels(path) for image, path in found.items() if any(image in curves[test] for test in tests)}
        references = sorted(encoder for encoder in curves if encoder not in own)
        print(tables(curves, tests, references, sizes))
        _draw(curves, sizes, self.out)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Benchmark, arguments, prog=PROG))


def _require_one_source(tasks: Sequence[Task]) -> None:
    """An encoder's files are either made here or kept from elsewhere."""
    sources = {kept: {task.point.encoder for task in tasks if task.kept is kept} for kept in (False, True)}
    if both := sources[False] & sources[True]:
        raise UsageError(f"--peer-files: found files of {', '.join(sorted(both))}, which is also run here")


def _pixels(path: Path) -> int:
    height, width = read(path).srgb8.shape[:2]
    return height * width


def _draw(curves: Curves, sizes: Sizes, folder: Path) -> None:
    """The means over all pictures of the encoders that have all, then each picture."""
    groups = {"rate-distortion.png": list(sizes)} | {f"rate-distortion-{image}.png": [image] for image in sizes}
    for name, images in groups.items():
        complete = {encoder: on for encoder, on in curves.items() if all(image in on for image in images)}
        lines = {encoder: mean_curve(complete[encoder], images, sizes) for encoder in sorted(complete)}
        headline = images[0] if name != "rate-distortion.png" else f"Mean of {len(images)} pictures"
        write_atomically(folder / name, jpeg_plots.draw(lines, headline))


if __name__ == "__main__":
    main()
