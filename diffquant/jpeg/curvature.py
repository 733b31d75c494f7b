"""How a loss bends when levels change: measured by moving some of them, pooled, because one measurement says little.

Half the second derivative in one level, per coefficient, is taken as F[component, zero or not, frequency] times a
factor of the block, which is averaged over blocks near it.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter

MOVED = 0.12  # share of the plausible changes that one probe makes
MEMORY = 0.85  # weight of what was measured before, at each new probe
PRIOR = 8.0  # moves whose worth the component's mean has in F
NEAR, WIDE = 0.7, 3.0  # blocks: how far a block's factor is averaged, and what it leans on
LEAN, LEAST = 0.15, 0.25  # weight of the wide average, and the least factor as a share of it

Levels = Int[np.ndarray, "_ 64"]
Plane = Float[np.ndarray, "_ 64"]


def plausible(levels: Levels, ideal: Plane, random: np.random.Generator) -> Levels:
    """A random change by -1, 0 or 1: levels that are not zero shrink or approach the ideal, large zeros leave."""
    nonzero = levels != 0
    away = np.sign(ideal) * (np.floor(np.abs(ideal) + 0.75) > np.abs(levels))
    grows = nonzero & (away != 0) & (random.random(levels.shape) < 0.3)
    moves = np.where(nonzero & ~grows, -np.sign(levels), away)
    moves[:, 0] = random.integers(0, 2, len(levels)) * 2 - 1
    return np.where(random.random(levels.shape) < MOVED, moves, 0).astype(np.int32)


class Curvature:
    """Sums of what probes found, newer ones weighing more."""

    def __init__(self, blocks: Sequence[tuple[int, int]]) -> None:
        """`blocks`: rows and columns of each component's."""
        self.blocks = blocks
        self._found = [np.zeros((2, 64)) for _ in blocks]
        self._count = [np.zeros((2, 64)) for _ in blocks]
        self._local = [np.zeros(shape) for shape in blocks]
        self._moves = [np.zeros(shape) for shape in blocks]

    def add(self, levels: Sequence[Levels], moves: Sequence[Levels], change: Sequence[Plane]) -> None:
        """`change`: of the slope per level, when `moves` are made."""
        for c, (level, move, answer) in enumerate(zip(levels, moves, change, strict=True)):
            bend, made = 0.5 * move * answer, np.abs(move).astype(float)
            nonzero = _nonzero(level)
            found = np.stack([np.sum(bend * ~nonzero, axis=0), np.sum(bend * nonzero, axis=0)])
            count = np.stack([np.sum(made * ~nonzero, axis=0), np.sum(made * nonzero, axis=0)])
            self._found[c] = MEMORY * self._found[c] + found
            self._count[c] = MEMORY * self._count[c] + count
            relative = np.sum(bend / self._pooled(c)[nonzero.astype(int), np.arange(64)], axis=1)
            self._local[c] = MEMORY * self._local[c] + relative.reshape(self.blocks[c])
            self._moves[c] = MEMORY * self._moves[c] + made.sum(axis=1).reshape(self.blocks[c])

    def of(self, levels: Sequence[Levels]) -> list[Plane]:
        """Half the second derivative in each level."""
        return [self._of(c, level) for c, level in enumerate(levels)]

    def mean(self, component: int = 0) -> float:
        """Of the AC levels that are not zero."""
        return float(self._found[component][1, 1:].sum() / max(self._count[component][1, 1:].sum(), 1.0))

    def _of(self, c: int, level: Levels) -> Plane:
        found, moves = self._local[c], self._moves[c]
        wide = np.maximum(gaussian_filter(found, WIDE) + 0.2, 0.05) / (gaussian_filter(moves, WIDE) + 0.2)
        factor = (gaussian_filter(found, NEAR) + LEAN * wide) / (gaussian_filter(moves, NEAR) + LEAN)
        factor = np.maximum(factor, LEAST * wide).reshape(-1, 1)
        pooled = self._pooled(c)[_nonzero(level).astype(int), np.arange(64)]
        return (pooled * factor).astype(np.float32)

    def _pooled(self, c: int) -> Float[np.ndarray, "2 64"]:
        mean = self._found[c].sum() / (self._count[c].sum() + 1e-9)
        pooled = (self._found[c] + PRIOR * mean) / (self._count[c] + PRIOR)
        return np.maximum(pooled, max(0.1 * mean, 1e-12))


def _nonzero(levels: Levels) -> np.ndarray:
    nonzero = levels != 0
    nonzero[:, 0] = True
    return nonzero
