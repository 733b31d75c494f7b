"""What levels cost: bits of symbols, from how often they occur."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from diffquant.jpeg import trellis

Levels = Int[np.ndarray, "_ 64"]  # zigzag


@dataclasses.dataclass(frozen=True)
class Prices:
    """Bits of the symbols of components that share their Huffman tables. Arguments of `trellis.choose_ac`."""

    symbols: Float[np.ndarray, "bands 256"]
    early: Float[np.ndarray, " bands"]
    empty: Float[np.ndarray, " bands"]
    sizes: Float[np.ndarray, "17"]
    band: Int[np.ndarray, "64"]
    first: Int[np.ndarray, " bands"]
    last: Int[np.ndarray, " bands"]

    def bits(self, levels: Levels) -> Float[np.ndarray, " n"]:
        """Of each block, DC being predicted along rows of blocks."""
        return trellis.bits_of(
            levels, self.symbols, self.early, self.empty, self.band, self.first, self.last, self.sizes
        )


def prices(levels: Sequence[Levels], first: Sequence[int]) -> Prices:
    """Ideal code lengths for these components' own symbols, in bands that start at `first`.

    The ends of blocks come in runs: the first of a run pays for its symbol, and the others share the rest.
    """
    starts = np.array(first)
    last = np.append(starts[1:] - 1, 63)
    band = np.searchsorted(starts, np.arange(64), side="right") - 1
    counts = [trellis.count(one, band, starts, last) for one in levels]
    symbols, sizes, early, empty = (np.sum(part, axis=0) for part in zip(*counts, strict=True))
    lengths = np.stack([_lengths(row) for row in symbols])
    ends = np.arange(15) << 4
    spent = np.sum(symbols[:, ends] * (lengths[:, ends] + np.arange(15)), axis=1)
    runs = symbols[:, ends].sum(axis=1)
    least = lengths[:, ends].min(axis=1)
    shared = np.maximum(spent - runs * least, 0) / np.maximum(early + empty - runs, 1)
    return Prices(lengths, least, np.minimum(shared, least), _lengths(sizes), band, starts, last)


def _lengths(counts: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
    """Of an ideal prefix code; what did not occur gets a length too."""
    smooth = counts + 0.25 * (1 + counts.sum() / 1e4)
    return np.maximum(-np.log2(smooth / smooth.sum()), 1.0)
