"""Score animated GIFs of this project and of other encoders, made of the same frames.

    python scripts/benchmark_animation.py street.mp4 phone.avi -n 256 64 16 --frames 24 --width 480 --sheet

Each method gets the first frames of each clip, scaled, all of them for the same time. A row for each clip, number of
colours and method goes into OUT/results.csv as soon as it is known, the file it was measured on into OUT/gifs. What is
there already is not computed again, so an interrupted run goes on where it was. After a change of the codec, take
another OUT.

Measured is what Pillow shows when each frame is due: the mean blurred OkLab error; flicker, the mean squared OkLab
change where two frames of the clip have the same codes; S-CIELAB of every eighth frame. `seconds` are per frame: of
ours after the first one, which waits `start` seconds for the survey, the palette and the compiler; of others' the whole
call. Colours count a transparent one, as FFmpeg does.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from animation_peers import PEERS, reason_against
from animation_runs import COSTS, EIGHTH, EVERY_FRAME, OURS, Case, Task, excerpt, work
from animation_sheet import sheet
from benchmark_rows import Columns, Results, Values, markdown
from benchmarks import complete, say, status_of
from tyro.conf import Positional, arg

from diffquant.console import UsageError
from diffquant.files import open_atomically
from diffquant.metrics import METRICS

PROG = "benchmark_animation"
METHODS = (*OURS, *PEERS)
SHOWN = ("diffquant-balanced", "ffmpeg-sierra2_4a")  # on sheets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Score animated GIFs of several encoders. Markdown tables go to stdout."""

    clips: Positional[tuple[Path, ...]]
    """Videos, GIFs or other animations."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (256, 64, 16)
    """Sizes of colour tables, 4 to 256."""
    frames: int = 48
    """How many of each clip."""
    width: int | None = None
    """Scale to so many pixels."""
    delay: int = 4
    """Hundredths of a second for each frame."""
    methods: tuple[str, ...] = tuple(name for name in METHODS if name != "diffquant-scene")
    """Some of diffquant-balanced, -fast, -dear (price 5e-5), -scene (a palette for each); ffmpeg-sierra2_4a, -bayer3;
    gifski."""
    sheet: bool = False
    """Draw crops of consecutive frames, and what flickers, into OUT/sheets."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path("runs/animation")
    """Folder of results; goes on with what is there."""

    def run(self) -> int:
        """Rows, then tables. A clip that fails is reported, and its rows are missing."""
        self._check()
        clips = {path.stem: path for path in self.clips}
        tried = {(name, k): reason_against(name, k) for name in self.methods if name in PEERS for k in self.colors}
        for line in dict.fromkeys(f"{name}: skipped: {reason}" for (name, _), reason in tried.items() if reason):
            say(PROG, line)
        (self.out / "gifs").mkdir(parents=True, exist_ok=True)
        with Results(self.out / "results.csv", columns()) as results:
            tasks = [
                Task(path, self._file(case), self.delay, case, results.rows.get(case, {}))
                for clip, path in clips.items()
                for k in dict.fromkeys(self.colors)
                for method in dict.fromkeys(self.methods)
                if not tried.get((method, k))
                for case in [Case(clip, self.frames, self.width or 0, method, k)]
            ]
            failures = complete(work, tasks, results, 1)
        for failure in failures:
            say(PROG, failure)
        for clip, path in clips.items():
            for k in dict.fromkeys(self.colors):
                cases = [task.case for task in tasks if (task.case.clip, task.case.k) == (clip, k)]
                rows = {case.method: results.rows[case] for case in cases if case in results.rows}
                if rows:
                    print(f"## {clip}, {k} colours\n\n{table(rows)}\n")
                    self._draw(path, [case for case in cases if case.method in SHOWN and case.method in rows])
        return 2 if failures else 0

    def _check(self) -> None:
        if not self.clips:
            raise UsageError("found no clip, expected at least one")
        for path in self.clips:
            if not path.exists():
                raise UsageError(f"found no file {path}, expected a clip")
        if len({path.stem for path in self.clips}) < len(self.clips):
            raise UsageError("found two clips of one name, expected different names")
        for k in self.colors:
            if not 4 <= k <= 256:
                raise UsageError(f"--colors: found {k}, expected 4 to 256")
        if unknown := set(self.methods) - set(METHODS):
            raise UsageError(f"--methods: found {', '.join(sorted(unknown))}, expected some of {', '.join(METHODS)}")
        if not self.colors or not self.methods:
            raise UsageError("--colors, --methods: expected at least one of each")
        if self.frames < 2:
            raise UsageError(f"--frames: found {self.frames}, expected at least 2")
        if self.width is not None and not 1 <= self.width <= 65535:
            raise UsageError(f"--width: found {self.width}, expected 1 to 65535")
        if not 2 <= self.delay <= 100:
            raise UsageError(f"--delay: found {self.delay}, expected 2 to 100")

    def _file(self, case: Case) -> Path:
        return self.out / "gifs" / f"{'-'.join(map(str, case))}.gif"

    def _draw(self, path: Path, cases: Sequence[Case]) -> None:
        if not self.sheet or not cases:
            return
        (self.out / "sheets").mkdir(exist_ok=True)
        clip = excerpt(path, self.frames, self.width or 0, self.delay)
        with open_atomically(self.out / "sheets" / f"{cases[0].clip}-{cases[0].k}.png") as file:
            sheet(clip, [self._file(case) for case in cases]).save(file, "PNG")


def columns() -> Columns[Case]:
    """Of the CSV."""

    def case(clip: str, frames: str, width: str, method: str, k: str) -> Case:
        return Case(clip, int(frames), int(width), method, int(k))

    return Columns(keys=Case._fields, key=case, names=(*EVERY_FRAME, EIGHTH, *COSTS), costs=COSTS)


def table(rows: dict[str, Values]) -> str:
    """Markdown: a row for each method; errors times 10,000."""

    def cell(values: Values, name: str) -> str:
        if name not in values:
            return "–"
        return {
            "bytes": f"{values[name]:,.0f}",
            "oklab_mse_blur": f"{1e4 * values[name]:.3f}",
            "flicker": f"{1e4 * values[name]:.3f}",
            EIGHTH: f"{values[name]:.3f}",
        }.get(name, f"{values[name]:.2f}")

    names = ("bytes", *EVERY_FRAME, EIGHTH, "seconds", "start")
    titles = {
        "oklab_mse_blur": f"{METRICS['oklab_mse_blur'].label} 1e-4 ↓",
        "flicker": "flicker 1e-4 ↓",
        EIGHTH: f"{METRICS[EIGHTH].label} ↓",
    }
    body = [[method, *(cell(values, name) for name in names)] for method, values in rows.items()]
    return markdown(["method", *(titles.get(name, name) for name in names)], body)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Benchmark, arguments, prog=PROG))


if __name__ == "__main__":
    main()
