"""Draw time against quality, ours beside other quantizers, from what `benchmark_quality.py` measured.

    python scripts/quality_curve.py runs/benchmark/results.csv --peers peers.csv -n 16 --metric ssimulacra2 scielab

A panel for each metric, a point for each method: the mean over the pictures that all methods have. Better is up,
faster is left. The same means go to stdout as Markdown.
"""

import dataclasses
import io
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import numpy as np
from benchmark_rows import read_file
from benchmarks import say, status_of
from live_peers import LIVE
from quality_tables import OURS, Means, columns, heading, means_of, means_table, scores_of, title
from tyro.conf import Positional, arg

from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PROG = "quality_curve"
NOTE = (
    f"Seconds of diffquant and of {LIVE} peers: of a call, all on one machine. "
    "Seconds of the other peers: their own CPU seconds, on another machine."
)
FORMATS = (".png", ".svg", ".pdf")
WIDTH, PANEL, DPI = 12.0, 5.0, 100  # inches, and pixels in one
OWN, RUN, READ = "#0072b2", "#d55e00", "#4d4d4d"  # told apart by any eyes; the markers differ too
GAP, LEADER = 8.0, 14.0  # pixels: from a point to its label; the distance from which on a line joins them
PADDING = (8.0, 1.0)  # pixels: between labels, across and down

Box = tuple[float, float, float, float]  # left, bottom, right, top


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Draw time against quality, ours beside other quantizers. A Markdown table goes to stdout."""

    results: Positional[Path]
    """The results.csv of benchmark_quality.py."""
    peers: Path | None = None
    """CSV of other quantizers' scores: columns image, peer, k, metrics, and cpu_s or seconds."""
    colors: Annotated[int, arg(aliases=["-n"])] = 16
    """Size of palette."""
    metric: tuple[str, ...] = ("ssimulacra2", "scielab")
    """A panel for each."""
    out: Annotated[Path, arg(aliases=["-o"])] = Path("runs/curve.png")
    """The drawing: PNG, SVG or PDF, by its ending."""

    def run(self) -> int:
        """The table, then the drawing."""
        if self.out.suffix.lower() not in FORMATS:
            raise UsageError(f"--out: found {self.out}, expected an ending of {', '.join(FORMATS)}")
        names = list(dict.fromkeys(self.metric))
        if not names:
            raise UsageError(f"--metric: found none, expected some of {', '.join(METRICS)}")
        if unknown := [name for name in names if name not in METRICS]:
            raise UsageError(f"--metric: found {', '.join(unknown)}, expected some of {', '.join(METRICS)}")
        means, images = self._means()
        if lacking := [name for name in names if not _drawn(means, name, OURS)]:
            raise UsageError(
                f"{self.results}: found no {', '.join(lacking)} of ours on every picture; measure it first"
            )
        lines = [f"## {heading(self.colors, images)}", means_table(means, names, ["seconds"])]
        print("\n\n".join(lines))
        if timeless := [method for method, values in means.items() if not values.get("seconds", 0) > 0]:
            say(PROG, f"not drawn, for want of seconds: {', '.join(timeless)}")
        data = draw(means, names, heading(self.colors, images), self.out.suffix.lower())
        self.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.out, data)
        return 0

    def _means(self) -> tuple[Means, list[str]]:
        """Means of all methods, the fastest first, and the pictures that they are over."""
        table = read_file(self.results, columns())
        if not any(case.k == self.colors and case.method.startswith(OURS) for case in table):
            raise UsageError(f"{self.results}: found nothing of ours with {self.colors} colours; see -n")
        if self.peers is not None:
            table |= read_file(self.peers, columns("peer"))
        scores = scores_of(table, self.colors)
        images = sorted(set.intersection(*map(set, scores.values())))
        if not images:
            raise UsageError(f"found no picture that all methods have with {self.colors} colours: {', '.join(scores)}")
        means = means_of(scores, images)
        return dict(sorted(means.items(), key=lambda item: item[1].get("seconds", np.inf))), images


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Curve, arguments, prog=PROG, lost="nothing is drawn"))


def draw(means: Means, names: Sequence[str], headline: str, ending: str) -> bytes:
    """The drawing, as a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, PANEL * len(names) + 1), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)  # measures texts
    panels = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, names, strict=True):
        _points(axes, means, name)
    panels[-1].set_xlabel("seconds a picture (logarithmic)")
    figure.suptitle(f"Time against quality: {headline}", x=0.01, ha="left", fontsize=14, fontweight="bold")
    handles = {handle.get_label(): handle for axes in panels for handle in axes.get_legend_handles_labels()[0]}
    figure.legend(handles=list(handles.values()), loc="outside upper right", ncols=len(handles), frameon=False)
    if any(not method.startswith((OURS, LIVE)) for method in means):
        figure.supxlabel(NOTE, x=0.01, ha="left", fontsize=9.5)
    figure.align_ylabels(panels)
    figure.draw_without_rendering()  # fixes where the panels are
    figure.set_layout_engine("none")
    for axes, name in zip(panels, names, strict=True):
        _labels(axes, means, name)
    data = io.BytesIO()
    figure.savefig(data, format=ending.removeprefix("."))
    return data.getvalue()


def _drawn(means: Means, name: str, *starts: str) -> dict[str, tuple[float, float]]:
    """Seconds and score of the methods that have both and whose names begin so."""
    return {
        method: (values["seconds"], values[name])
        for method, values in means.items()
        if name in values and values.get("seconds", 0) > 0 and method.startswith(starts or "")
    }


def _points(axes: "Axes", means: Means, name: str) -> None:
    """Points, the line that joins our presets, axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    metric = METRICS[name]
    scale = 10.0**metric.exponent
    own, run = _drawn(means, name, OURS), _drawn(means, name, LIVE)
    read = {method: at for method, at in _drawn(means, name).items() if method not in own | run}
    kinds = ((own, OWN, "o-", "diffquant"), (run, RUN, "^", "peers, run here"), (read, READ, "s", "other peers"))
    for points, color, style, label in kinds:
        if points:
            x, y = zip(*points.values(), strict=True)
            axes.plot(x, [scale * value for value in y], style, color=color, label=label, markersize=6.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(labelbottom=True)
    axes.margins(0.08, 0.12)
    if not metric.higher_is_better:
        axes.invert_yaxis()
    unit = f", 1e-{metric.exponent}" if metric.exponent else ""
    axes.set_ylabel(f"{title(name)[:-2]}{unit}\n({'higher' if metric.higher_is_better else 'lower'} is better: up)")
    axes.grid(color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _labels(axes: "Axes", means: Means, name: str) -> None:
    """The methods' names beside their points."""
    drawn = _drawn(means, name)
    own = [method for method in drawn if method.startswith(OURS)]
    methods = own + [method for method in drawn if method not in own]  # ours get the best places
    scale = 10.0 ** METRICS[name].exponent
    points = axes.transData.transform([(drawn[method][0], scale * drawn[method][1]) for method in methods])
    texts = []
    for method in methods:
        color = OWN if method in own else RUN if method.startswith(LIVE) else READ
        weight = "bold" if method in own else "normal"
        texts.append(axes.text(0, 0, method, color=color, fontsize=10, fontweight=weight, va="bottom", ha="left"))
    sizes = np.array([text.get_window_extent().size for text in texts]) + PADDING
    line = points[: len(own)]
    path = [p + t * (q - p) for p, q in itertools.pairwise(line) for t in np.linspace(0, 1, 200)]
    boxes = place(points, sizes, axes.bbox.extents, path)
    to_data = axes.transData.inverted().transform
    for text, point, (left, bottom, right, top) in zip(texts, points, boxes, strict=True):
        x, y = to_data(np.array([left, bottom]) + np.array(PADDING) / 2)
        text.set_position((x, y))
        near = np.clip(point, (left, bottom), (right, top))
        if np.hypot(*(near - point)) > LEADER:
            ends = to_data([point, near])
            axes.plot(*ends.T, color=text.get_color(), linewidth=0.7, zorder=1)


def place(points: np.ndarray, sizes: np.ndarray, bounds: Sequence[float], path: Sequence[np.ndarray]) -> list[Box]:
    """Boxes of these sizes, one near each point, inside `bounds`; none on another, on a point or on the path.

    In order, each at the nearest free place of a few directions and distances. A line from a point to its box keeps
    off the other boxes and points. In want of room, the place with the least in the way.
    """
    reach = 0.8 * GAP
    marks = [(x - reach, y - reach, x + reach, y + reach) for x, y in points]
    angles = np.pi * np.array([0, 1, 0.5, -0.5, 0.25, -0.25, 0.75, -0.75, 0.125, -0.125, 0.875, -0.875])
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)
    boxes: list[Box] = []
    taken = [(x, y, x, y) for x, y in path]
    for own, (point, size) in enumerate(zip(points, sizes, strict=True)):
        others = marks[:own] + marks[own + 1 :]
        best: tuple[float, Box, list[Box]] | None = None
        for distance in GAP * 1.4 ** np.arange(14):
            for direction in directions:
                middle = point + distance * direction + size / 2 * np.clip(1.5 * direction, -1, 1)
                left, bottom = np.clip(middle - size / 2, bounds[:2], bounds[2:] - size)
                box = (left, bottom, left + size[0], bottom + size[1])
                near = np.clip(point, box[:2], box[2:])
                steps = [(x, y, x, y) for x, y in point + np.linspace(0, 1, 30)[:, None] * (near - point)]
                blocked = _meetings([box], taken + marks + boxes) + _meetings(steps, others + boxes)
                if best is None or blocked < best[0]:
                    best = (blocked, box, steps)
            if best is not None and best[0] == 0:
                break
        assert best is not None  # there are distances and directions
        boxes.append(best[1])
        taken += best[2]
    return boxes


def _meetings(some: Sequence[Box], others: Sequence[Box]) -> int:
    """How many pairs of boxes touch."""
    if not some or not others:
        return 0
    a, b = np.array(some)[:, None], np.array(others)[None]
    return int(np.sum(np.all((a[..., :2] <= b[..., 2:]) & (b[..., :2] <= a[..., 2:]), -1)))


if __name__ == "__main__":
    main()
