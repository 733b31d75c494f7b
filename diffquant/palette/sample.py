"""Blocks of pictures that stand for the whole: their colours are spread as the whole's are, and none is forgotten."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, Shaped, UInt8

from diffquant.palette.histogram import cubes_of, oklab_of_cubes
from diffquant.palette.kmeans import Cloud

BLOCK = 64  # pixels of a side
BITS = 5  # of each channel, by which a pixel's nearest entry is looked up

Labels = Integer[np.ndarray, "h w"]


class Block(NamedTuple):
    """Rows and columns of one of the pictures, from `top` and `left` on."""

    picture: int
    top: int
    left: int
    side: int

    def of(self, planes: Shaped[np.ndarray, "... h w"]) -> Shaped[np.ndarray, "... s s"]:
        """What the picture has there."""
        return planes[..., self.top : self.top + self.side, self.left : self.left + self.side]


def sample(labels: Sequence[Labels], k: int, pixels: int) -> list[Block]:
    """Blocks of about so many `pixels` together, from pictures of one size whose nearest of `k` entries are `labels`.

    Their side is `BLOCK`, less if the pictures are smaller.
    """
    h, w = labels[0].shape
    side = min(BLOCK, h, w)
    blocks = [
        Block(n, top, left, side) for n in range(len(labels)) for top in _starts(h, side) for left in _starts(w, side)
    ]
    counts = [np.bincount(block.of(labels[block.picture]).ravel(), minlength=k) for block in blocks]
    wanted = min(max(pixels // side**2, 1), len(blocks))
    return [blocks[i] for i in np.flatnonzero(_cover(np.array(counts, np.float64), wanted))]


def labels_of(pictures: Sequence[UInt8[np.ndarray, "h w 3"]], palette: Float[np.ndarray, "k 3"]) -> list[Labels]:
    """The entry of `palette`, in OkLab, that is nearest to each pixel, as far as `BITS` bits tell colours apart."""
    points = oklab_of_cubes(np.arange(1 << 3 * BITS), BITS)
    cloud = Cloud(points, np.ones(len(points)))
    entries, _ = cloud.nearest(np.asarray(palette, np.float64) - cloud.origin)
    return [entries[cubes_of(picture, BITS)] for picture in pictures]


def _starts(size: int, side: int) -> list[int]:
    """Evenly spaced, no pixel being left out: blocks may overlap."""
    count = -(-size // side)
    return [round(i * (size - side) / max(count - 1, 1)) for i in range(count)]


def _cover(counts: Float64[np.ndarray, "b k"], wanted: int) -> Bool[np.ndarray, " b"]:
    """Which `wanted` blocks to take so that their counts are spread as all of them: greedily, rare entries first."""
    left = counts.sum(axis=0) * wanted / len(counts)  # what the blocks to come should bring
    worth = 1 / np.maximum(left, 1)
    taken = np.zeros(len(counts), bool)
    for _ in range(wanted):
        gain = np.minimum(counts, np.maximum(left, 0)) @ worth
        # Once every entry has its share, blocks that overshoot least.
        excess = np.maximum(counts - np.maximum(left, 0), 0) @ worth
        best = int(np.where(taken, -np.inf, gain - 1e-3 * excess).argmax())
        taken[best] = True
        left -= counts[best]
    return taken
