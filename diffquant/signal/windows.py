"""Tiles of a picture, and the windows around them."""

import itertools
from typing import NamedTuple


class Tile(NamedTuple):
    """A window [top, left], and the rows and columns in it, from and to, that are the tile's own."""

    top: int
    left: int
    rows: tuple[int, int]
    columns: tuple[int, int]


def windows(h: int, w: int, side: int, halo: int, step: int = 1) -> tuple[tuple[int, int], list[Tile]]:
    """The size that all windows have, and tiles that cover `h` x `w` pixels once, each of at most `side` x `side`.

    Windows and tiles begin at multiples of `step`, of which `halo` is one and `side` at least one.
    """
    (height, rows), (width, columns) = _axis(h, side, halo, step), _axis(w, side, halo, step)
    return (height, width), [Tile(top, left, own, across) for top, own in rows for left, across in columns]


def _axis(size: int, side: int, halo: int, step: int) -> tuple[int, list[tuple[int, tuple[int, int]]]]:
    """The windows' extent, and for each its start, and what in it is the tile's own."""
    steps = -(-size // step)
    count = -(-steps // (side // step))
    edges = [min(round(i * steps / count) * step, size) for i in range(count + 1)]
    extent = max(b - a for a, b in itertools.pairwise(edges)) + 2 * halo
    extent = min(extent + (size - extent) % step, size)  # so that the last one begins at a multiple too
    starts = [min(max(edge - halo, 0), size - extent) for edge in edges[:-1]]
    return extent, [(s, (a - s, b - s)) for s, a, b in zip(starts, edges, edges[1:], strict=False)]
