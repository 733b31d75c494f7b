"""A sheet to draw on, and what comes of it: a PNG, or pixels.

Matplotlib without pyplot: no window, no state, nothing of the user's own settings. Importing it takes a second: this
package is imported only when something is drawn.
"""

import io
import warnings

import matplotlib
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100  # pixels in an inch, which matplotlib counts in
SHEET, INK, FAINT = "#36393e", "#ececec", "#6c7078"  # black, white and greys all show on it


def sheet(width: int, height: int) -> tuple[Figure, FigureCanvasAgg]:
    """An empty one of so many pixels."""
    with matplotlib.rc_context(matplotlib.rcParamsDefault):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=SHEET)
    return figure, FigureCanvasAgg(figure)


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without a frame at a place in pixels from the upper left; y grows upwards, data are as long as they are."""
    across, down = (figure.get_size_inches() * DPI).tolist()
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.set_axis_off()
    return axes


def png_of(canvas: FigureCanvasAgg) -> bytes:
    """The file. Letters that the font lacks, as in the name of a picture, are boxes."""
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        canvas.print_png(data)
    return data.getvalue()


def pixels_of(canvas: FigureCanvasAgg) -> UInt8[np.ndarray, "h w 3"]:
    """What is drawn by now."""
    return np.array(canvas.buffer_rgba())[..., :3]
