"""Palettes without dither, by this project and by others: `python scripts/refine_study.py photos/*.png`.

OkLab MSE of the direct mapping (a palette of 8-bit codes, every pixel of the 8-bit picture its nearest colour in OkLab)
and seconds, from the picture in memory to the palette: the histogram is counted for every method. The same histogram,
colours in OkLab weighted by their pixels, goes to all of them; `--pixels` also fits scikit-learn to the pixels
themselves. Seconds are the least of several calls; compare at one number of threads, say OMP_NUM_THREADS=1.

A row for each picture, number of colours and method goes to --out as soon as it is known. What is there already is not
computed again: after a change take another file. Needs scikit-learn.
"""

import dataclasses
import functools
import importlib.util
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import numpy as np
from benchmark_rows import Columns, Results, Values, markdown
from benchmarks import complete, say, status_of
from jaxtyping import Float64, UInt8
from tyro.conf import Positional, arg

from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.console import UsageError
from diffquant.image import ImageError, read
from diffquant.palette.histogram import histogram, oklab_from_colors
from diffquant.palette.initial import initial_palette
from diffquant.palette.kmeans import Cloud, kmeans
from diffquant.palette.median_cut import median_cut

PROG = "refine_study"
STARTS = 10  # of scikit-learn's k-means: the best is kept
CALLS, ENOUGH = 5, 0.5  # a method is called so often, or until so many seconds have gone
RIVAL, ON_PIXELS = f"scikit-learn, {STARTS} starts", f"scikit-learn, {STARTS} starts, pixels"

Codes = UInt8[np.ndarray, "h w 3"]
Points = Float64[np.ndarray, "n 3"]
Weights = Float64[np.ndarray, " n"]
Centers = Float64[np.ndarray, "k 3"]
Method = Callable[[Codes, int], Centers]


class Case(NamedTuple):
    """A picture, who chose the palette, and of how many colours."""

    image: str
    method: str
    k: int


class Task(NamedTuple):
    """A row to complete."""

    source: Path
    case: Case
    values: Values

    @property
    def is_complete(self) -> bool:
        """Nothing is left to measure."""
        return "oklab_mse" in self.values and "seconds" in self.values


COLUMNS = Columns(
    keys=("image", "method", "k"),
    key=lambda image, method, k: Case(image, method, int(k)),
    names=("oklab_mse", "seconds"),
    costs=("seconds",),
)


def fitted(method: Callable[[Points, Weights, int], Centers]) -> Method:
    """A method that looks at the histogram in OkLab."""

    def of_histogram(pixels: Codes, k: int) -> Centers:
        colors, weights = histogram(pixels)
        return method(oklab_from_colors(colors), weights, k)

    return of_histogram


def _scikit_learn(points: Points, weights: Weights | None, k: int) -> Centers:
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=STARTS, random_state=0).fit(points, sample_weight=weights).cluster_centers_


def _refined(points: Points, weights: Weights, k: int) -> Centers:
    return kmeans(points, weights, median_cut(points, weights, k))


METHODS: dict[str, Method] = {
    "median cut": fitted(median_cut),
    "median cut, k-means": fitted(_refined),
    "initial palette": initial_palette,
    "initial palette, effort 3": functools.partial(initial_palette, effort=3),
    RIVAL: fitted(_scikit_learn),
    ON_PIXELS: lambda pixels, k: _scikit_learn(oklab_from_colors(pixels.reshape(-1, 3)), None, k),
}


def direct_error(pixels: Codes, palette: Centers) -> float:
    """OkLab MSE when every pixel takes the nearest of the palette's colours as a file holds them."""
    colors, weights = histogram(pixels)
    cloud = Cloud(oklab_from_colors(colors), weights)
    codes = srgb8_from_linear(linear_from_oklab(palette.T)).T
    _, distances = cloud.nearest(oklab_from_colors(codes) - cloud.origin)
    return float(weights @ distances)


def work(task: Task) -> tuple[Case, Values] | str:
    """Choose a palette and measure it; or one line that says why there is no row."""
    try:
        pixels = read(task.source).srgb8
    except (ImageError, OSError) as error:
        return f"{task.case.image}: {error}"
    method, seconds = METHODS[task.case.method], math.inf
    begun = time.perf_counter()
    for _ in range(CALLS):
        started = time.perf_counter()
        palette: Any = method(pixels, task.case.k)
        seconds = min(seconds, time.perf_counter() - started)
        if time.perf_counter() - begun > ENOUGH:
            break
    return task.case, {"oklab_mse": direct_error(pixels, palette), "seconds": seconds}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Compare ways to choose a palette by its error without dither. Markdown tables go to stdout."""

    images: Positional[tuple[Path, ...]]
    """Pictures, of different names."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (16, 64, 256)
    """Sizes of palette, 1 to 256."""
    pixels: bool = False
    """Fit scikit-learn also to the pixels: slow."""
    out: Path = Path("runs/refine.csv")
    """The rows; goes on with what is there."""

    def run(self) -> int:
        """Rows, then tables. A picture that fails is reported, and its rows are missing."""
        for k in self.colors:
            if not 1 <= k <= 256:
                raise UsageError(f"--colors: found {k}, expected 1 to 256")
        names = [path.stem for path in self.images]
        if not names or not self.colors:
            raise UsageError("images, --colors: expected at least one of each")
        if len(set(names)) < len(names):
            raise UsageError(f"images: found {', '.join(names)}, expected different names")
        if importlib.util.find_spec("sklearn") is None:
            raise UsageError("found no scikit-learn, and the comparison needs it: pip install scikit-learn")
        methods = [method for method in METHODS if self.pixels or method != ON_PIXELS]
        colors = list(dict.fromkeys(self.colors))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with Results(self.out, COLUMNS) as results:
            cases = [(path, Case(path.stem, m, k)) for k in colors for path in self.images for m in methods]
            tasks = [Task(path, case, results.rows.get(case, {})) for path, case in cases]
            failures = complete(work, tasks, results, 1)
        for failure in dict.fromkeys(failures):
            say(PROG, failure)
        for k in colors:
            if done := [name for name in names if all(Case(name, m, k) in results.rows for m in methods)]:
                print(table(results.rows, methods, done, k))
        return 2 if failures else 0


def table(rows: dict[Case, Values], methods: Sequence[str], images: Sequence[str], k: int) -> str:
    """Markdown: mean error, its ratio to scikit-learn's (geometric mean, least, most), seconds."""
    lines = []
    for method in methods:
        own = [rows[Case(image, method, k)] for image in images]
        ratios = [
            values["oklab_mse"] / max(rows[Case(image, RIVAL, k)]["oklab_mse"], 1e-12)
            for image, values in zip(images, own, strict=True)
        ]
        error = statistics.fmean(values["oklab_mse"] for values in own)
        mean = math.exp(statistics.fmean(math.log(max(ratio, 1e-12)) for ratio in ratios))
        seconds = statistics.fmean(values["seconds"] for values in own)
        row = [method, f"{1e4 * error:.4f}", *(f"{r:.4f}" for r in (mean, min(ratios), max(ratios))), f"{seconds:.3f}"]
        lines.append(row)
    header = ["method", "OkLab MSE, e-4", "ratio", "least", "most", "seconds"]
    return f"## {k} colours, {len(images)} images\n\n{markdown(header, lines)}\n"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG))


if __name__ == "__main__":
    main()
