"""A palette as swatches: a band in which areas are shares of the picture, and cells of one size with their names."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle

from diffquant.palette.files import COLUMNS, hex_from_colors

NAMED = 64  # colours: of more the names would not be legible


def draw_band(axes: Axes, colors: UInt8[np.ndarray, "k 3"], shares: Float[np.ndarray, " k"]) -> None:
    """One row that fills the axes; a colour is as wide as its share."""
    ends = np.cumsum(shares)
    patches = [Rectangle((end - share, 0), share, 1) for end, share in zip(ends, shares, strict=True)]
    # Without smoothed edges: there the background would show through between two colours.
    axes.add_collection(PatchCollection(patches, facecolors=colors / 255, linewidths=0, antialiaseds=False))
    axes.set_xlim(0, ends[-1])
    axes.set_ylim(0, 1)


def rows_of(k: int) -> tuple[int, int]:
    """Rows of cells, and how many cells fit into one."""
    columns = min(k, COLUMNS if k <= NAMED else 2 * COLUMNS)
    return -(-k // columns), columns


def draw_cells(axes: Axes, colors: UInt8[np.ndarray, "k 3"], shares: Float[np.ndarray, " k"]) -> None:
    """Cells of one size, row by row; with names and shares, if there are not too many."""
    rows, columns = rows_of(len(colors))
    corners = [(i % columns, rows - 1 - i // columns) for i in range(len(colors))]
    gap = 0.02 * columns / COLUMNS  # as wide, however many cells there are
    patches = [Rectangle((x + gap, y + 0.04), 1 - 2 * gap, 0.92) for x, y in corners]
    axes.add_collection(PatchCollection(patches, facecolors=colors / 255, linewidths=0))
    axes.set_xlim(0, columns)
    axes.set_ylim(0, rows)
    if len(colors) > NAMED:
        return
    names = hex_from_colors(colors)
    for (x, y), color, name, share in zip(corners, colors, names, shares, strict=True):
        light = np.dot(color, (0.299, 0.587, 0.114)) > 140
        label = f"{name}\n{percent(share)}"
        ink = "black" if light else "white"
        axes.text(x + 0.5, y + 0.5, label, color=ink, fontsize=9, ha="center", va="center", linespacing=1.5)


def percent(share: float) -> str:
    """`12.3 %`; what is too little for that, but not nothing, is below 0.1."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
