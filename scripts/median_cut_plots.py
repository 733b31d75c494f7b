"""The heuristics of the median cut, drawn: a row for each, the best on top, a point for each number of colours."""

import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WIDTH, ROW, DPI = 11.0, 0.29, 100  # inches, and pixels in one
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by any eyes
MARKERS = "os^Dvp"
OFFSET = 0.16  # rows: between the numbers of colours
TICKS = (1, 1.1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7, 10, 20, 50, 100)

Ratios = dict[str, dict[int, list[float]]]  # heuristic -> number of colours -> for each picture, error over the least


def draw(ratios: Mapping[str, Mapping[int, Sequence[float]]], names: Sequence[str], headline: str) -> bytes:
    """A PNG with a row for each of the names. Large points are geometric means, small ones pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    figure = Figure(figsize=(WIDTH, ROW * len(names) + 1.8), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = np.arange(len(names))
    sizes = list(ratios[names[0]])
    for i, k in enumerate(sizes):
        style: dict[str, Any] = {
            "color": COLORS[i % len(COLORS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": "none",
        }
        at = rows + OFFSET * (i - (len(sizes) - 1) / 2)
        means = [statistics.geometric_mean(ratios[name][k]) for name in names]
        each = np.array([ratios[name][k] for name in names])
        axes.plot(each.ravel(), at.repeat(each.shape[1]), markersize=2.5, alpha=0.4, markeredgewidth=0, **style)
        axes.plot(means, at, markersize=6, label=f"{k} colours", **style)
    axes.set_yticks(rows, names, family="monospace")
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("OkLab MSE over the least of all heuristics, logarithmic: geometric means, and each picture small")
    axes.grid(axis="x", color="#d0d0d0")
    axes.hlines(rows[1:] - 0.5, 0, 1, transform=axes.get_yaxis_transform(), color="#efefef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(headline, x=0.01, ha="left", fontsize=14, fontweight="bold")
    figure.legend(loc="outside lower center", ncols=len(sizes), frameon=False)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
