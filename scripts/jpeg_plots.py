"""Rate and quality of JPEG encoders, drawn: a panel for each metric, a line for each encoder.

Better is up, smaller is left. The axis of rate is logarithmic, and so is that of a metric where lower is better: its
equal distances are equal ratios.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark_rows import Values
from jpeg_tables import METRIC_NAMES, OURS

from diffquant.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

SIZE, DPI = (13.0, 10.0), 100  # inches, and pixels in one
OWN = ("#0072b2", "#56b4e9", "#004466")  # ours: solid, with discs
OTHERS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#4d4d4d", "#a0784f", "#8c8c8c")
MARKERS = "s^vDP*X"
TICKS = [digits * 10**power for power in range(-3, 3) for digits in (1, 1.5, 2, 3, 5, 7)]


def draw(lines: Mapping[str, Sequence[Values]], headline: str) -> bytes:
    """A PNG. A line is the points of an encoder: bpp and metrics."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).ravel()
    for axes, name in zip(panels, METRIC_NAMES, strict=True):
        _panel(axes, lines, name)
    figure.suptitle(headline, x=0.01, ha="left", fontsize=14, fontweight="bold")
    handles = {handle.get_label(): handle for axes in panels for handle in axes.get_legend_handles_labels()[0]}
    if handles:
        figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=5, frameon=False)
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()


def _panel(axes: "Axes", lines: Mapping[str, Sequence[Values]], name: str) -> None:
    """The lines of one metric."""
    metric = METRICS[name]
    own = [encoder for encoder in lines if encoder.startswith(OURS)]
    others = [encoder for encoder in lines if encoder not in own]
    for encoder in [*others, *own]:  # ours on top
        points = [(point["bpp"], point[name]) for point in lines[encoder] if name in point]
        if not points:
            continue
        if encoder in own:
            style: dict[str, Any] = {"color": OWN[own.index(encoder) % len(OWN)], "marker": "o", "linewidth": 2.2}
        else:
            i = others.index(encoder)
            color, marker = OTHERS[i % len(OTHERS)], MARKERS[i % len(MARKERS)]
            style = {"color": color, "marker": marker, "linewidth": 1.2, "linestyle": "--"}
        axes.plot(*zip(*points, strict=True), label=encoder, markersize=5, **style)
    axes.set_xscale("log")
    _number(axes.xaxis)
    if not metric.higher_is_better:
        axes.set_yscale("log")
        _number(axes.yaxis)
        axes.invert_yaxis()
    axes.set_xlabel("bits per pixel")
    label = " ".join(filter(None, (metric.label, metric.unit)))
    axes.set_ylabel(f"{label} ({'higher' if metric.higher_is_better else 'lower'} is better: up)")
    axes.grid(color="#e6e6e6")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _number(axis: "Axis") -> None:
    """Plain numbers, a few in each decade of a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
