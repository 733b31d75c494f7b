"""Bits of a JPEG as a smooth function of its levels: what a gradient may see of the entropy coder.

A level m costs about a log2(1 + c |m|) bits: its size category with the symbol and the run before it. a, c and what is
left for ends of blocks and headers are fitted to the picture's own symbols, so that the estimate is right for the
levels from which it was made.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant.interfaces import Scalar
from diffquant.jpeg import trellis
from diffquant.jpeg.judge import Levels

BENDS = 2.0 ** np.arange(0, 7)  # candidates for c
MIDDLES = np.array([0, 1, 2.5, *(1.5 * 2.0 ** np.arange(2, 16))])  # magnitude that stands for each size category
WHOLE = np.array([1]), np.array([63])  # one band


class SmoothRate(NamedTuple):
    """A curve for each component, and the bits that do not depend on levels.

    Of a curve: scale a and bend c for AC levels, then both for differences of DC.
    """

    curves: Float[Array | np.ndarray, "c 4"]
    rest: Scalar | float

    def __call__(self, levels: Sequence[Float[Array, "_ _ 8 8"]]) -> Scalar:
        """Bits of the file, for levels that need not be whole; natural order."""
        total = jnp.asarray(self.rest, jnp.float32)
        for c, blocks in enumerate(levels):
            total += _bits(blocks.reshape(-1, 64), self.curves[c])
        return total


def _bits(blocks: Any, curve: Any) -> Any:
    """Of one component [n 64], DC first; NumPy or JAX."""
    xp = jnp if isinstance(blocks, jax.Array) else np
    steps = xp.diff(blocks[:, 0], prepend=0.0)
    ac = xp.sum(xp.log2(1 + curve[1] * _magnitude(blocks[:, 1:], xp)))
    return curve[0] * ac + curve[2] * xp.sum(xp.log2(1 + curve[3] * _magnitude(steps, xp)))


def _magnitude(x: Any, xp: ModuleType) -> Any:
    """With a slope of 0 at 0, where that of `jnp.abs` is 1: neither sign is dearer."""
    return x * xp.sign(x)


def smooth_rate(levels: Sequence[Levels], bits: float) -> SmoothRate:
    """Fitted to these levels, whose file has so many bits."""
    curves, estimate = [], 0.0
    band = np.zeros(64, np.int64)
    for level in levels:
        symbols, sizes, _, _ = trellis.count(level, band, *WHOLE)
        lengths = _lengths(symbols[0])
        kinds = np.arange(256)
        is_level = (kinds & 15) > 0
        occurs = np.bincount(kinds[is_level] & 15, symbols[0, is_level], 16)
        spent = np.bincount(kinds[is_level] & 15, symbols[0, is_level] * lengths[is_level], 16)
        ac = _fit(occurs, spent + occurs * np.arange(16))
        dc = _fit(sizes[:16], sizes[:16] * (_lengths(sizes)[:16] + np.arange(16)))
        curves.append((*ac, *dc))
        estimate += float(_bits(level.astype(np.float32), curves[-1]))
    return SmoothRate(np.array(curves, np.float32), bits - estimate)


def _lengths(counts: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
    return -np.log2(np.maximum(counts, 1) / max(counts.sum(), 1))


def _fit(occurs: Float[np.ndarray, " s"], spent: Float[np.ndarray, " s"]) -> tuple[float, float]:
    """Scale and bend that explain best what was spent on each size category."""
    best = (np.inf, 0.0, 1.0)
    for bend in BENDS:
        shape = np.log2(1 + bend * MIDDLES[: len(occurs)])
        scale = float(np.sum(spent * shape) / max(np.sum(occurs * shape**2), 1e-9))
        mean = np.divide(spent, occurs, out=np.zeros_like(spent), where=occurs > 0)
        error = float(np.sum(occurs * (mean - scale * shape) ** 2))
        best = min(best, (error, scale, float(bend)))
    return best[1:]
