"""Median cut: colours are boxed, and the worst box is halved until there are enough (Heckbert 1982).

Which box is worst, and along which axis it is halved, is a heuristic. Heckbert halves the box with the most pixels
along its longest side; here are the 24 heuristics that the article "Improving color quantization heuristics"
(https://blog.pkh.me/p/39-improving-color-quantization-heuristics.html) compares, under its names.
"""

import collections
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

Axis = Literal["xer2", "xlen"]
Operator = Literal["max", "mul", "sum"]
Measure = Literal["er2absW", "er2noW", "er2normW", "len"]

OPERATORS: dict[Operator, Callable[[list[float]], float]] = {"max": max, "mul": math.prod, "sum": sum}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heuristic:
    """Which box is halved next, and along which axis.

    Axis: that of the largest squared error (xer2), or the longest (xlen). Box: that with the largest maximum, product
    or sum over the axes of a measure, which is the squared error about the weighted mean, each point counted by its
    weight (er2absW), once (er2noW), or by its share of the box's weight (er2normW), or the length (len). The error by
    which xer2 chooses counts each point once if the measure does, and by its weight otherwise.

    Where we depart from the source: by er2noW its program ignores the weights in the mean and in the median as well.
    """

    axis: Axis = "xer2"
    operator: Operator = "max"
    measure: Measure = "er2absW"

    @property
    def name(self) -> str:
        """Axis, operator, measure."""
        return f"{self.axis}_{self.operator}_{self.measure}"


_EVERY = itertools.product(get_args(Axis), get_args(Operator), get_args(Measure))
HEURISTICS: dict[str, Heuristic] = {h.name: h for h in (Heuristic(axis=a, operator=o, measure=m) for a, o, m in _EVERY)}


@dataclasses.dataclass(frozen=True)
class Box:
    """Some of the points, ascending; their weight, weighted mean and range; their squared error along each axis."""

    members: Int[np.ndarray, " m"]
    weight: float
    mean: Float64[np.ndarray, "3"]
    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]
    error: Float64[np.ndarray, "3"]  # about the mean; each point counted by its weight, or once


class _Cloud:
    """Weighted points, and how a heuristic sees boxes of them."""

    def __init__(self, points: np.ndarray, weights: np.ndarray, heuristic: Heuristic) -> None:
        self.planes = np.ascontiguousarray(points.T, np.float64)
        self.weights = np.asarray(weights, np.float64)
        self.heuristic = heuristic

    def box(self, members: Int[np.ndarray, " m"]) -> Box:
        w = self.weights[members]
        weight = float(w.sum())
        counted = np.ones_like(w) if self.heuristic.measure == "er2noW" else w
        mean, low, high, error = np.empty((4, 3))
        for i, plane in enumerate(self.planes):
            x = plane[members]
            low[i], high[i] = x.min(), x.max()
            # Rounding would leave some error to boxes of a single colour, which nothing can halve.
            mean[i] = min(max(w @ x / weight, low[i]), high[i])
            x -= mean[i]
            error[i] = counted @ (x * x)
        return Box(members, weight, mean, low, high, error)

    def priority(self, box: Box) -> float:
        """How badly a box needs halving; infinitely little if all its points are one."""
        length = box.high - box.low
        if not length.any():
            return -math.inf
        measures = {"len": length, "er2normW": box.error / box.weight}
        return OPERATORS[self.heuristic.operator](measures.get(self.heuristic.measure, box.error).tolist())

    def halves(self, box: Box) -> tuple[Box, Box]:
        """The members at or below the weighted median along the heuristic's axis, and the others."""
        length = box.high - box.low
        # An error that is too small for a float must not lead to an axis that cannot be cut.
        axis = (length if self.heuristic.axis == "xlen" else np.where(length > 0, box.error, -1)).argmax()
        low = _at_or_below_median(self.planes[axis][box.members], self.weights[box.members])
        return self.box(box.members[low]), self.box(box.members[~low])


def _at_or_below_median(
    values: Float64[np.ndarray, " m"], weights: Float64[np.ndarray, " m"]
) -> Bool[np.ndarray, " m"]:
    """Which values lie at or below the weighted median, or below it if it is the last. Equal values stay together."""
    order = values.argsort()
    cumulative = weights[order].cumsum()
    median = values[order[cumulative.searchsorted(cumulative[-1] / 2)]]
    return values <= median if median < values[order[-1]] else values < median


def steps(
    points: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"], k: int, heuristic: Heuristic = Heuristic()
) -> Iterator[tuple[Box, ...]]:
    """The boxes at first: one; then after each cut, until there are `k` or each holds a single value.

    Of the two halves the lower takes the place of the box, and the other comes last. Between equal boxes the first is
    cut, between equal axes too. Weights are positive.

    Raises:
        ValueError: `k` is below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}, expected at least one box")
    cloud = _Cloud(points, weights, heuristic)
    boxes = [cloud.box(np.arange(len(points)))]
    priorities = [cloud.priority(boxes[0])]
    yield tuple(boxes)
    while len(boxes) < k and (worst := max(priorities)) > -math.inf:
        place = priorities.index(worst)
        boxes[place], new = cloud.halves(boxes[place])
        boxes.append(new)
        priorities[place] = cloud.priority(boxes[place])
        priorities.append(cloud.priority(new))
        yield tuple(boxes)


def median_cut(
    points: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"], k: int, heuristic: Heuristic = Heuristic()
) -> Float64[np.ndarray, "at_most_k 3"]:
    """Weighted means of `k` boxes, or of fewer where the points have fewer distinct values.

    A box is cut at the weighted median. Equal values along the axis stay together, and no half is empty. Weights are
    positive.

    Raises:
        ValueError: `k` is below 1.
    """
    boxes = collections.deque(steps(points, weights, k, heuristic), maxlen=1).pop()  # no others are kept alive
    return np.stack([box.mean for box in boxes])
