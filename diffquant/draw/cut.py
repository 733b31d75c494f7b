"""Median cut as an animation: the cloud of colours with the boxes, and the picture in the means of the boxes so far."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64, Int, UInt8
from matplotlib.artist import Artist
from PIL import Image

from diffquant.animation.gif import GifWriter
from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.draw.canvas import INK, panel, pixels_of, sheet
from diffquant.draw.cloud import draw_boxes, draw_cloud, draw_entries
from diffquant.draw.view import Cloud, in_space, stretch_of
from diffquant.export.indexed import IndexedImage
from diffquant.palette.histogram import codes_from_colors
from diffquant.palette.median_cut import Box

MOST_FRAMES = 60
HEIGHT, CLOUD, WIDEST = 540, 500, 480  # pixels: of a frame, the cloud's width, the picture's at most
MARGIN, CAPTION, BAND = 16, 52, 24  # pixels: between things; above the picture; of the shares below it
TALLEST = HEIGHT - CAPTION - BAND - 3 * MARGIN
DRAWN = 112  # entries of a frame's palette for all but the picture
FIRST, LEAST, LAST = 1000, 150, 3000  # milliseconds

Pixels = UInt8[np.ndarray, "h w 3"]
Indices = Int[np.ndarray, "h w"]


def counts_of(k: int) -> list[int]:
    """Numbers of boxes for which there is a frame: each up to 60 of them; of more at most 60, in equal ratios."""
    if k <= MOST_FRAMES:
        return list(range(1, k + 1))
    return [int(count) for count in np.unique(np.rint(np.geomspace(1, k, MOST_FRAMES)))]


def durations_of(counts: Sequence[int]) -> list[int]:
    """Milliseconds for each frame: the first cuts can be followed one by one, and the last frame rests."""
    return [max(int(FIRST / count**0.6), LEAST) // 10 * 10 for count in counts[:-1]] + [LAST]


def cut_frames(pixels: Pixels, cloud: Cloud, states: Sequence[Sequence[Box]]) -> Iterator[IndexedImage]:
    """A frame for each state of a cut: boxes of the colours of `cloud`, which are those of the pixels.

    The first entries of a frame's palette are for the drawing, and the same in every frame, so that nothing flickers;
    the others are for the picture: exact, unless there are more boxes than these.
    """
    colors = _reduced(pixels, cloud)
    board = _Board(cloud, states[0], colors.shape)
    samples = np.concatenate([board.draw(*_entries(states[i]), states[i]) for i in (0, len(states) // 2, -1)])
    common = Image.fromarray(samples).quantize(DRAWN, dither=Image.Dither.NONE)
    entries = np.zeros((DRAWN, 3), np.uint8)  # Pillow gives fewer where fewer do
    found = np.reshape(common.getpalette() or [], (-1, 3))[:DRAWN]
    entries[: len(found)] = found
    for boxes in states:
        means, shares = _entries(boxes)
        drawing = Image.fromarray(board.draw(means, shares, boxes)).quantize(palette=common, dither=Image.Dither.NONE)
        indices = np.array(drawing)
        picture = np.concatenate([_owner(boxes, len(cloud.points))[colors], _band(shares, colors.shape[1])])
        palette, picture = _at_most(means, picture, 255 - DRAWN)  # one entry is transparent
        board.paste(indices, DRAWN + picture)
        yield IndexedImage(np.concatenate([entries, palette]), indices)


def gif_bytes(frames: Sequence[IndexedImage], durations: Sequence[int]) -> bytes:
    """An animated GIF that starts again at its end; `durations` in milliseconds, in steps of ten."""
    file = io.BytesIO()
    height, width = frames[0].indices.shape
    writer = GifWriter(file, width, height, frames[0].palette, loop=0)
    for frame, duration in zip(frames, durations, strict=True):
        writer.add(frame.indices, duration // 10, palette=frame.palette)
    writer.close()
    return file.getvalue()


def _reduced(pixels: Pixels, cloud: Cloud) -> Int[np.ndarray, "rows columns"]:
    """Which colour of the cloud each pixel has, of a picture that is no larger than wanted: others are left out.

    Averages would be colours that no box holds.
    """
    h, w = pixels.shape[:2]
    scale = max(h / TALLEST, w / WIDEST)
    if scale > 1:
        rows, columns = (np.arange(max(round(side / scale), 1)) + 0.5 for side in (h, w))
        pixels = pixels[(rows * h / len(rows)).astype(int)][:, (columns * w / len(columns)).astype(int)]
    return codes_from_colors(cloud.colors).searchsorted(codes_from_colors(pixels))


def _order(boxes: Sequence[Box]) -> Int[np.ndarray, " k"]:
    """From dark to light."""
    return np.array([box.mean[0] for box in boxes]).argsort(kind="stable")


def _entries(boxes: Sequence[Box]) -> tuple[UInt8[np.ndarray, "k 3"], Float64[np.ndarray, " k"]]:
    """The means, from dark to light, and their shares."""
    order = _order(boxes)
    means = np.stack([boxes[i].mean for i in order], axis=1)
    shares = np.array([boxes[i].weight for i in order])
    return srgb8_from_linear(linear_from_oklab(means)).T, shares / shares.sum()


def _owner(boxes: Sequence[Box], n: int) -> Int[np.ndarray, " n"]:
    """For each colour the place of its box, from dark to light."""
    owner = np.empty(n, np.int64)
    for place, i in enumerate(_order(boxes)):
        owner[boxes[i].members] = place
    return owner


def _band(shares: Float64[np.ndarray, " k"], width: int) -> Indices:
    """Entries side by side, as wide as their shares."""
    ends = np.rint(shares.cumsum() * width).astype(int)
    return np.tile(np.arange(len(shares)).repeat(np.diff(ends, prepend=0)), (BAND, 1))


def _at_most(
    palette: UInt8[np.ndarray, "k 3"], indices: Indices, most: int
) -> tuple[UInt8[np.ndarray, "at_most_k 3"], Indices]:
    """The same picture in no more colours than that; all its own if there is room."""
    if len(palette) <= most:
        return palette, indices
    image = Image.fromarray(palette[indices]).quantize(most, dither=Image.Dither.NONE)
    return np.reshape(image.getpalette() or [], (-1, 3)).astype(np.uint8)[:most], np.array(image, np.int64)


class _Board:
    """Where things are; what all frames have in common is drawn once."""

    def __init__(self, cloud: Cloud, first: Sequence[Box], shape: tuple[int, ...]) -> None:
        h, w = shape
        width = CLOUD + max(w, 200) + 2 * MARGIN  # at least the caption's
        self.left = CLOUD + MARGIN
        self.top = CAPTION + (TALLEST - h) // 2
        figure, self.canvas = sheet(width, HEIGHT)
        self.view = in_space(stretch_of(cloud))
        self.axes = panel(figure, MARGIN, MARGIN, CLOUD - MARGIN, HEIGHT - 2 * MARGIN)
        draw_cloud(self.axes, cloud, self.view, size=3)
        draw_boxes(self.axes, first, self.view).remove()  # the axes have room for all boxes now
        self.axes.autoscale_view()
        self.axes.set_autoscale_on(False)
        self.caption = figure.text(self.left / width, 1 - (self.top - MARGIN) / HEIGHT, "", color=INK, fontsize=18)
        self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(figure.bbox)

    def draw(self, means: UInt8[np.ndarray, "k 3"], shares: Float64[np.ndarray, " k"], boxes: Sequence[Box]) -> Pixels:
        """All but the picture."""
        self.canvas.restore_region(self.background)
        size = 260 / len(boxes) ** 0.5
        marks: list[Artist] = [
            draw_boxes(self.axes, boxes, self.view),
            draw_entries(self.axes, means, shares, self.view, size=size),
        ]
        self.caption.set_text("1 colour" if len(boxes) == 1 else f"{len(boxes)} colours")
        for artist in [*marks, self.caption]:
            self.axes.draw_artist(artist)
        for artist in marks:
            artist.remove()
        return pixels_of(self.canvas)

    def paste(self, indices: UInt8[np.ndarray, "height width"], picture: Indices) -> None:
        """The picture, and the band of shares that are its last rows, into a frame's indices."""
        h, w = len(picture) - BAND, picture.shape[1]
        indices[self.top : self.top + h, self.left : self.left + w] = picture[:h]
        below = self.top + h + MARGIN
        indices[below : below + BAND, self.left : self.left + w] = picture[h:]
