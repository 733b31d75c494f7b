"""Hues at few colours, by chroma weight: `python scripts/hue_study.py photos/*.png`.

The middle of each picture in few colours, by three ways: every pixel the nearest colour, Floyd-Steinberg, and the
preset `balanced`. A chroma weight c stretches the colours from which the first palette is chosen; in the preset the
eye's errors of a and b weigh its root as well. `auto` looks at the picture and the number of colours.

    results.csv  a row for each picture, way, weight and number of colours, as soon as it is known
    tables.md    means over the pictures, also on stdout
    sheet.png    a row for each picture, a column for each weight, for the first of --colors and of --outputs from last
    images/      every result

What is in results.csv already is not computed again: after a change take another folder.
"""

import dataclasses
import io
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from benchmark_rows import Results, Values, markdown
from benchmarks import complete, say, status_of
from hue_measures import SATURATED, SIGMA
from hue_runs import AUTO, COLUMNS, HUES, METRICS, OUTPUTS, Case, Task, middle, work
from PIL import Image, ImageDraw, ImageFont
from tyro.conf import Positional, arg

from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.image import ImageError, read
from diffquant.metrics import METRICS as KNOWN

PROG = "hue_study"
GAP, LINE = 6, 22  # pixels
NOTE = (
    f"Hues of pictures blurred in linear light by {SIGMA:g} pixels: mean chroma, result over original; of the "
    f"{SATURATED:.0%} of pixels with the largest chroma the share of their colour that is there, and the angle in "
    "degrees by which it is off."
)
TITLES = {"chroma_kept": "chroma kept", "colour_kept": "saturated colour kept", "hue_error": "its hue error °"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """What a chroma weight keeps of hues at few colours, and what it costs. Markdown tables go to stdout."""

    images: Positional[tuple[Path, ...]]
    """Pictures, of different names."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (4, 8, 12, 16)
    """Sizes of palette, 1 to 256."""
    chroma: tuple[str, ...] = ("1", "2", "4", AUTO)
    """Weights: numbers from 1, or auto."""
    outputs: tuple[str, ...] = OUTPUTS
    """Some of nearest, diffusion and polish."""
    size: tuple[int, int] = (384, 256)
    """Width and height of the middle that is taken."""
    out: Path = Path("runs/hues")
    """Folder of results; goes on with what is there."""

    def run(self) -> int:
        """Rows, then tables and the sheet. A picture that fails is reported, and its rows are missing."""
        names = self._check()
        (self.out / "images").mkdir(parents=True, exist_ok=True)
        with Results(self.out / "results.csv", COLUMNS) as results:
            tasks = [
                Task(source, self.size, self._file(case), case, results.rows.get(case, {}))
                for k in self.colors
                for output in self.outputs
                for chroma in self.chroma
                for source in self.images
                for case in [Case(source.stem, output, chroma, k)]
            ]
            failures = complete(work, tasks, results, 1)
            rows = dict(results.rows)
        for failure in failures:
            say(PROG, failure)
        if done := [name for name in names if all(task.case in rows for task in tasks if task.case.image == name)]:
            text = "\n".join([f"{NOTE}\n", *(self._table(rows, done, k) for k in dict.fromkeys(self.colors))])
            write_atomically(self.out / "tables.md", text.encode())
            print(text)
            self._sheet([source for source in self.images if source.stem in done])
        return 2 if failures else 0

    def _check(self) -> list[str]:
        """The names of the pictures; a UsageError if this cannot be done."""
        names = [path.stem for path in self.images]
        if not names or not self.colors or not self.chroma or not self.outputs:
            raise UsageError("images, --colors, --chroma, --outputs: expected at least one of each")
        if len(set(names)) < len(names):
            raise UsageError(f"images: found {', '.join(names)}, expected different names")
        for k in self.colors:
            if not 1 <= k <= 256:
                raise UsageError(f"--colors: found {k}, expected 1 to 256")
        for chroma in self.chroma:
            if chroma != AUTO and not _is_weight(chroma):
                raise UsageError(f"--chroma: found {chroma}, expected a number from 1 to 100, or {AUTO}")
        for output in self.outputs:
            if output not in OUTPUTS:
                raise UsageError(f"--outputs: found {output}, expected some of {', '.join(OUTPUTS)}")
        if min(self.size) < 1:
            raise UsageError(f"--size: found {self.size[0]} {self.size[1]}, expected at least 1 each")
        for path in self.images:
            try:
                read(path)
            except ImageError as error:
                raise UsageError(str(error)) from None
        return names

    def _file(self, case: Case) -> Path:
        return self.out / "images" / f"{case.image}-{case.k}-{case.output}-{case.chroma}.png"

    def _table(self, rows: dict[Case, Values], images: Sequence[str], k: int) -> str:
        """Markdown: means over the pictures, for each way and weight."""
        lines = []
        for output in self.outputs:
            for chroma in self.chroma:
                own = [rows[Case(image, output, chroma, k)] for image in images]
                means = {name: statistics.fmean(values[name] for values in own) for name in own[0]}
                lines.append([output, chroma, *(_cell(name, means.get(name, math.nan)) for name in _columns())])
        header = ["output", "chroma", *map(_title, _columns())]
        return f"## {k} colours, {len(images)} images\n\n{markdown(header, lines, 2)}\n"

    def _sheet(self, sources: Sequence[Path]) -> None:
        """Originals, then the results of every weight."""
        k, output = self.colors[0], self.outputs[-1]
        labels = ["original", *(f"{output}, {k} colours, chroma {chroma}" for chroma in self.chroma)]
        table = []
        for source in sources:
            tiles = [Image.fromarray(middle(source, self.size))]
            for chroma in self.chroma:
                with Image.open(self._file(Case(source.stem, output, chroma, k))) as image:
                    tiles.append(image.convert("RGB"))
            table.append(tiles)
        width = max(tiles[0].width for tiles in table) + GAP
        height = LINE + sum(tiles[0].height + GAP for tiles in table)
        sheet = Image.new("RGB", (width * len(labels) - GAP, height), "white")
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
        for i, label in enumerate(labels):
            draw.text((i * width, 2), label, fill="black", font=font)
        top = LINE
        for tiles in table:
            for i, tile in enumerate(tiles):
                sheet.paste(tile, (i * width, top))
            top += tiles[0].height + GAP
        data = io.BytesIO()
        sheet.save(data, "PNG", optimize=True)
        write_atomically(self.out / "sheet.png", data.getvalue())


def _is_weight(text: str) -> bool:
    try:
        return 1 <= float(text) <= 100
    except ValueError:
        return False


def _columns() -> tuple[str, ...]:
    return *HUES, *METRICS, "weight"


def _title(name: str) -> str:
    if name in KNOWN:
        return f"{KNOWN[name].label} {'↑' if KNOWN[name].higher_is_better else '↓'}"
    return TITLES.get(name, name)


def _cell(name: str, value: float) -> str:
    return KNOWN[name].format(value) if name in KNOWN else f"{value:.{1 if name == 'hue_error' else 3}f}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG))


if __name__ == "__main__":
    main()
