"""Median cut: colours are boxed, and the worst box is halved until there are enough (Heckbert 1982).

Heckbert halves the box with the most pixels along its longest side. Here the measure is the weighted squared error,
for the box as for the axis: a later choice of measures replaces `_axis` and `_priority` and nothing else.
"""

import dataclasses
import heapq

import numpy as np
from jaxtyping import Float, Float64, Int


@dataclasses.dataclass(frozen=True)
class Box:
    """Some of the points, and their weighted mean and squared error about it along each axis."""

    members: Int[np.ndarray, " m"]
    mean: Float64[np.ndarray, "3"]
    error: Float64[np.ndarray, "3"]


def _box(points: np.ndarray, weights: np.ndarray, members: np.ndarray) -> Box:
    x, w = points[members], weights[members]
    low, high = x.min(axis=0), x.max(axis=0)
    mean = np.clip(np.einsum("i,ij->j", w, x) / w.sum(), low, high)
    # Rounding would leave some error to boxes of a single colour, which nothing can halve.
    error = np.where(low < high, np.einsum("i,ij->j", w, (x - mean) ** 2), 0.0)
    return Box(members, mean, error)


def _axis(box: Box) -> int:
    return int(box.error.argmax())


def _priority(box: Box) -> float:
    return float(box.error.sum())


def _halves(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Which members lie at or below the weighted median. Equal values stay together, and no half is empty."""
    order = values.argsort(kind="stable")
    cumulative = weights[order].cumsum()
    median = values[order[cumulative.searchsorted(cumulative[-1] / 2)]]
    return values <= median if median < values[order[-1]] else values < median


def median_cut(
    points: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"], k: int
) -> Float64[np.ndarray, "at_most_k 3"]:
    """Weighted means of `k` boxes, or of fewer where the points have fewer distinct values.

    The box with the largest total weighted squared error is halved along its axis of largest weighted squared error,
    at the weighted median. Weights are positive.
    """
    first = _box(points, weights, np.arange(len(points)))
    boxes = [(-_priority(first), 0, first)]  # the second entry breaks ties: the older box first
    for number in range(1, 2 * k - 2, 2):
        if boxes[0][0] == 0:
            break
        _, _, box = heapq.heappop(boxes)
        low = _halves(points[box.members, _axis(box)], weights[box.members])
        for n, members in enumerate((box.members[low], box.members[~low])):
            half = _box(points, weights, members)
            heapq.heappush(boxes, (-_priority(half), number + n, half))
    return np.stack([box.mean for _, _, box in sorted(boxes, key=lambda entry: entry[1])])
