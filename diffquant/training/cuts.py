"""Parts of variables that belong to pixels: the window around a tile, and the tile's own, written back in place."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from diffquant.signal.windows import Tile
from diffquant.training.state import is_variable


def _cut(variable: Any, rows: slice, columns: slice) -> Any:
    """The part of its value in these rows and columns of the picture: a view."""
    where, array = variable.get_metadata(), variable[...]
    index = [slice(None)] * array.ndim
    for name, part in (("rows", rows), ("columns", columns)):
        if name in where:
            index[where[name]] = part
    return array[tuple(index)]


def _each(function: Callable[..., Any], *trees: Any) -> Any:
    return jax.tree.map(function, *trees, is_leaf=is_variable)


def window_of(tree: Any, tile: Tile, size: tuple[int, int]) -> Any:
    """The variables in the window of that size around a tile: views."""
    rows, columns = (slice(start, start + n) for start, n in zip((tile.top, tile.left), size, strict=True))
    return _each(lambda variable: variable.replace(_cut(variable, rows, columns)), tree)


def own_part(window: Any, tile: Tile) -> Any:
    """The tile's own part of a window: arrays on the host, without the rest of it."""

    def own(variable: Any) -> Any:
        held = variable.replace(np.asarray(variable[...]))
        return held.replace(_cut(held, slice(*tile.rows), slice(*tile.columns)).copy())

    return _each(own, window)


def put(tree: Any, own: Any, tile: Tile) -> None:
    """Write the tile's own part into the picture's arrays."""
    rows, columns = (
        slice(start + a, start + b)
        for start, (a, b) in zip((tile.top, tile.left), (tile.rows, tile.columns), strict=True)
    )

    def write(whole: Any, part: Any) -> None:
        _cut(whole, rows, columns)[...] = part[...]

    _each(write, tree, own)
