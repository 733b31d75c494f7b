"""One drawing of a palette: its swatches, and where it lies among the picture's colours."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from diffquant.draw.canvas import INK, panel, png_of, sheet
from diffquant.draw.cloud import RING, draw_boxes, draw_cloud, draw_entries
from diffquant.draw.swatches import NAMED, draw_band, draw_cells, rows_of
from diffquant.draw.view import Cloud, from_above, from_the_side, in_space, stretch_of
from diffquant.palette.median_cut import Box

WIDTH, MARGIN = 1600, 40  # pixels
TITLE, BAND, GAP = 30, 56, 12  # of the title, the band of shares, and between it and the cells
LABELLED, PLAIN = 62, 40  # heights of a row of cells, with names and without
SPACE = 900  # the side of the view in space; the other two share as much


def palette_sheet(
    colors: UInt8[np.ndarray, "k 3"],
    shares: Float[np.ndarray, " k"],
    cloud: Cloud,
    boxes: Sequence[Box],
    title: str,
) -> bytes:
    """A PNG, 1600 pixels wide: `colors` with the `shares` of the pixels for which they stand, and the `cloud` of the
    picture's colours with the `boxes` of a cut, in space, from above and from the side."""
    rows, _ = rows_of(len(colors))
    cells = rows * (LABELLED if len(colors) <= NAMED else PLAIN)
    band = MARGIN + TITLE
    top = band + BAND + GAP + cells + MARGIN
    height = top + SPACE + MARGIN
    figure, canvas = sheet(WIDTH, height)

    def write(text: str, left: int, top: int, **style: Any) -> None:
        figure.text(left / WIDTH, 1 - top / height, text, color=INK, va="top", parse_math=False, **style)

    write(title, MARGIN, MARGIN - 8, fontsize=15, fontweight="bold")
    draw_band(panel(figure, MARGIN, band, WIDTH - 2 * MARGIN, BAND), colors, shares)
    draw_cells(panel(figure, MARGIN, band + BAND + GAP, WIDTH - 2 * MARGIN, cells), colors, shares)
    stretch = stretch_of(cloud)
    longer = "" if stretch == 1 else f"\nchroma is drawn\n{stretch} times as long"
    half = (SPACE - TITLE) // 2
    left = MARGIN + SPACE + MARGIN
    side = WIDTH - MARGIN - left
    views = [
        (
            in_space(stretch),
            f"OkLab: L, a, b\ncircles are {RING} of chroma apart{longer}",
            (MARGIN, top, SPACE, SPACE),
            5.0,
        ),
        (from_above(), "a, b", (left, top, side, half), 2.5),
        (from_the_side(1, stretch), f"L, a{longer}", (left, top + half + TITLE, side, half), 2.5),
    ]
    for view, name, place, size in views:
        axes = panel(figure, *place)
        draw_cloud(axes, cloud, view, size=size)
        draw_boxes(axes, boxes, view)
        draw_entries(axes, colors, shares, view, size=80 * size / len(colors) ** 0.5)
        write(name, *place[:2], fontsize=11)
    return png_of(canvas)
