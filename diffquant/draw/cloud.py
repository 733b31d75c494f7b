"""A picture's colours as a cloud in OkLab, each in its own colour, with boxes around them and a palette among them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection

from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.draw.canvas import FAINT, INK
from diffquant.draw.view import EDGES, Cloud, View, edges
from diffquant.palette.histogram import oklab_from_colors
from diffquant.palette.median_cut import Box

MOST_POINTS = 9_000  # that are drawn
RING = 0.05  # of chroma, from one circle to the next


def draw_cloud(axes: Axes, cloud: Cloud, view: View, *, size: float) -> None:
    """The axes of OkLab and the colours, far ones first. Those that many pixels have are larger discs.

    `size` is that of a usual disc, in square points. Of many colours a part is drawn, always the same.
    """
    _axes(axes, cloud, view)
    chosen = np.random.default_rng(0).permutation(len(cloud.points))[:MOST_POINTS]
    chosen = chosen[view.depth(cloud.points[chosen]).argsort(kind="stable")]
    sizes = size * np.clip(cloud.shares[chosen] / np.median(cloud.shares[chosen]), 0.5, 40) ** 0.5
    x, y = view.place(cloud.points[chosen]).T
    axes.scatter(x, y, c=cloud.colors[chosen] / 255, s=sizes, linewidths=0, zorder=2)
    axes.set_aspect("equal")
    axes.margins(0.03)


def _axes(axes: Axes, cloud: Cloud, view: View) -> None:
    """The greys from black to white, circles of chroma about black as far as there are colours, the axes' names."""
    greys = np.linspace([0, 0, 0], [1, 0, 0], 65)
    tones = srgb8_from_linear(linear_from_oklab(greys.T)).T / 255
    line = view.place(greys)
    axes.scatter(line[:, 0], line[:, 1], c=tones, s=7, linewidths=0, zorder=1)
    rings = RING * np.arange(1, max(np.ceil(np.hypot(*cloud.points.T[1:]).max() / RING), 1) + 1)
    turn = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([0 * turn, np.cos(turn), np.sin(turn)], axis=1)
    for ring in rings:
        axes.plot(*view.place(circle * ring).T, color=FAINT, linewidth=0.7, zorder=1)
    names = {"L": np.array([1.06, 0, 0]), "+a": circle[0] * 1.12 * rings[-1], "+b": circle[45] * 1.12 * rings[-1]}
    for name, point in names.items():
        (x, y), (x0, y0) = view.place(point[None])[0], line[0]
        if max(abs(x - x0), abs(y - y0)) > 1e-9:  # otherwise the axis points to the eye
            axes.text(x, y, name, color=INK, fontsize=9, ha="center", va="center", zorder=4)


def draw_boxes(axes: Axes, boxes: Sequence[Box], view: View) -> LineCollection:
    """Wire frames in the hues of the boxes' means, all equally light: the more there are, the thinner."""
    hues = np.stack([box.mean for box in boxes], axis=1) * [[0], [1.5], [1.5]] + [[0.82], [0], [0]]
    tints = srgb8_from_linear(linear_from_oklab(hues)).T / 255
    lines = LineCollection(
        list(edges(boxes, view)),
        colors=tints.repeat(len(EDGES), axis=0),
        linewidths=max(1.5 / len(boxes) ** 0.25, 0.4),
        alpha=max(1 / len(boxes) ** 0.15, 0.35),
        zorder=3,
    )
    axes.add_collection(lines)
    return lines


def draw_entries(
    axes: Axes, colors: UInt8[np.ndarray, "k 3"], shares: Float[np.ndarray, " k"], view: View, *, size: float
) -> PathCollection:
    """A palette as rimmed discs, their areas by the shares, on top of all; `size` is the mean of them."""
    points = oklab_from_colors(colors)
    order = view.depth(points).argsort(kind="stable")
    x, y = view.place(points[order]).T
    return axes.scatter(
        x,
        y,
        c=colors[order] / 255,
        s=size * np.clip(shares[order] * len(shares), 0.15, 6),
        edgecolors="white",
        linewidths=1.0,
        zorder=5,
    )
