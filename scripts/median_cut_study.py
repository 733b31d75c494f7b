"""Which box to halve, and where: all heuristics of the median cut, on pictures of your own.

    python scripts/median_cut_study.py photos --colors 8 16 64 255

Each pixel takes the nearest colour of the palette in OkLab, without a dither. The palette is in 8-bit sRGB, as a file
would hold it, and the mean squared error in OkLab that of the 8-bit picture. A figure of the table is the geometric
mean over the pictures of the error's ratio to the least of all heuristics on that picture. Into OUT go results.csv, a
row for each picture, heuristic and number of colours, and chart.png.

Source: "Improving color quantization heuristics",
https://blog.pkh.me/p/39-improving-color-quantization-heuristics.html, where the same heuristics are compared.
"""

import csv
import dataclasses
import io
import statistics
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, NoReturn

import median_cut_plots
import numpy as np
import scipy.spatial
from benchmark_rows import markdown
from benchmarks import completed, pictures, status_of
from jaxtyping import Float64, UInt8
from tyro.conf import Positional, arg

from diffquant import color
from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.image import ImageError, read
from diffquant.palette.histogram import histogram, oklab_from_colors
from diffquant.palette.median_cut import HEURISTICS, steps

PROG = "median_cut_study"
MOST_COLORS = 256

Space = Literal["oklab", "linear", "srgb"]


class Result(NamedTuple):
    """A row of the CSV."""

    image: str
    heuristic: str
    space: Space
    colors: int
    oklab_mse: float


@dataclasses.dataclass(frozen=True)
class Colors:
    """A picture's unique colours, the shares of its pixels that have them, and where they are in OkLab."""

    image: str
    srgb8: UInt8[np.ndarray, "n 3"]
    shares: Float64[np.ndarray, " n"]
    oklab: Float64[np.ndarray, "n 3"]

    def points(self, space: Space) -> Float64[np.ndarray, "n 3"]:
        """Where they are cut: sRGB and linear light are in [0, 1]."""
        if space == "oklab":
            return self.oklab
        return self.srgb8 / 255 if space == "srgb" else color.LINEAR_OF_CODE[self.srgb8]

    def error(self, palette: UInt8[np.ndarray, "k 3"]) -> float:
        """OkLab MSE of the picture in which every pixel has the nearest colour of the palette."""
        distance, _ = scipy.spatial.KDTree(oklab_from_colors(palette)).query(self.oklab)
        return float(self.shares @ distance**2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Compare the heuristics of the median cut. A Markdown table, the best first, goes to stdout."""

    images: Positional[tuple[Path, ...]]
    """Pictures, or folders of them."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (8, 16, 64, 255)
    """Sizes of palette, 1 to 256."""
    space: Space = "oklab"
    """Where colours are boxed and averaged. Pixels and errors are always judged in OkLab."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path("runs/median_cut")
    """Folder of the results."""
    chart: bool = True
    """Draw the table."""

    def run(self) -> int:
        """Everything is measured, then written."""
        if not self.colors:
            raise UsageError(f"--colors: found none, expected some of 1 to {MOST_COLORS}")
        for k in self.colors:
            if not 1 <= k <= MOST_COLORS:
                raise UsageError(f"--colors: found {k}, expected 1 to {MOST_COLORS}")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"--out: found the file {self.out}, expected a folder")
        found = _colors(_files(self.images))
        sizes = sorted(set(self.colors))
        tasks = [(colors, name) for colors in found for name in HEURISTICS]

        def work(task: tuple[Colors, str]) -> list[Result]:
            return measure(*task, self.space, sizes)

        with closing(completed(work, tasks, jobs=1)) as outcomes:
            results = [result for outcome in outcomes for result in outcome]
        ratios = ratios_of(results)
        ranked = sorted(ratios, key=lambda name: overall(ratios[name]))
        print(table(ratios, ranked))
        chart = median_cut_plots.draw(ratios, ranked, self._headline(len(found))) if self.chart else None
        self.out.mkdir(parents=True, exist_ok=True)
        write_atomically(self.out / "results.csv", _csv(results))
        if chart is not None:
            write_atomically(self.out / "chart.png", chart)
        return 0

    def _headline(self, n: int) -> str:
        return f"Median cut in {self.space}: error over the best heuristic's, {n} picture{'s' if n > 1 else ''}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG, lost="nothing is written"))


def _files(images: Sequence[Path]) -> dict[str, Path]:
    """Pictures by name without ending."""
    if not images:
        raise UsageError("IMAGES: found none, expected pictures or a folder of them")
    found: dict[str, Path] = {}
    for path in images:
        for name, file in (_in_folder(path) if path.is_dir() else {path.stem: path}).items():
            if name in found:
                raise UsageError(f"IMAGES: found {found[name]} and {file}, expected different names")
            found[name] = file
    return found


def _in_folder(folder: Path) -> dict[str, Path]:
    try:
        return pictures(folder)
    except UsageError as error:  # begins with the option by which other scripts get their folder
        raise UsageError(f"IMAGES: {str(error).removeprefix('--images: ')}") from None


def _colors(files: dict[str, Path]) -> list[Colors]:
    found = []
    for name, path in files.items():
        try:
            srgb8, shares = histogram(read(path).srgb8)
        except ImageError as error:
            raise UsageError(str(error)) from None
        found.append(Colors(name, srgb8, shares, oklab_from_colors(srgb8)))
    return found


def measure(colors: Colors, name: str, space: Space, sizes: Sequence[int]) -> list[Result]:
    """A heuristic on a picture: a palette of each size, all from one cut."""
    number = {k: min(k, len(colors.srgb8)) for k in sizes}
    errors = {}
    for boxes in steps(colors.points(space), colors.shares, max(sizes), HEURISTICS[name]):
        if len(boxes) in number.values():
            means = np.stack([box.mean for box in boxes])
            errors[len(boxes)] = colors.error(_srgb8(means, space))
    return [Result(colors.image, name, space, k, errors[number[k]]) for k in sizes]


def _srgb8(means: Float64[np.ndarray, "k 3"], space: Space) -> UInt8[np.ndarray, "k 3"]:
    if space == "srgb":
        return np.rint(means * 255).astype(np.uint8)
    return color.srgb8_from_linear(color.linear_from_oklab(means.T).T if space == "oklab" else means)


def ratios_of(results: Sequence[Result]) -> median_cut_plots.Ratios:
    """Errors over the least of all heuristics for the picture and the number of colours; 1 where that is 0."""
    least: dict[tuple[str, int], float] = {}
    for result in results:
        key = result.image, result.colors
        least[key] = min(result.oklab_mse, least.get(key, np.inf))
    ratios: median_cut_plots.Ratios = {}
    for result in results:
        best = least[result.image, result.colors]
        # The least is 0 where the palette holds all colours of the picture: by every heuristic.
        ratio = result.oklab_mse / best if best else 1.0
        ratios.setdefault(result.heuristic, {}).setdefault(result.colors, []).append(ratio)
    return ratios


def overall(ratios: dict[int, list[float]]) -> float:
    """Geometric mean over pictures and numbers of colours."""
    return statistics.geometric_mean([ratio for each in ratios.values() for ratio in each])


def table(ratios: median_cut_plots.Ratios, ranked: Sequence[str]) -> str:
    """Geometric means for each number of colours, and of all."""
    sizes = list(ratios[ranked[0]])
    rows = []
    for rank, name in enumerate(ranked, 1):
        means = [statistics.geometric_mean(ratios[name][k]) for k in sizes]
        rows.append([f"{rank}", name, *(f"{mean:.3f}" for mean in (*means, overall(ratios[name])))])
    return markdown(["rank", "heuristic", *(f"{k} colours" for k in sizes), "all"], rows, left=2)


def _csv(results: Sequence[Result]) -> bytes:
    text = io.StringIO(newline="")
    rows = [[*result[:-1], f"{result.oklab_mse:.8g}"] for result in results]
    csv.writer(text, lineterminator="\n").writerows([Result._fields, *rows])
    return text.getvalue().encode()


if __name__ == "__main__":
    main()
