"""Finding how coarse the tables of a JPEG must be for a goal."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from diffquant.interfaces import Pixels
from diffquant.jpeg import tables
from diffquant.jpeg.descent import Descent, rounded
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.judge import Levels, Steps, natural, zigzag
from diffquant.metrics import METRICS
from diffquant.pipelines.goals import MOST_OFF, AnyGoal, Bytes, Score, UnreachableError
from diffquant.pipelines.jpeg_settings import JpegSettings
from diffquant.report import decode

LOWEST, HIGHEST = math.log(0.02), math.log(64.0)  # of distance: beyond, tables do not change any more
SAVED = 0.88  # of the bytes of plainly rounded levels that are left after a search: where to begin
BISECTIONS = 9
RUNS = 8  # searches at most; half the work that is left is taken to be done with each
ELASTICITY = -0.6  # change of the logarithm of bytes with that of distance: a first guess
POINTS = {"ssimulacra2": 10.0, "psnr": 2.5}  # that a score loses while distance grows e-fold: first guesses
GROWTH = 1.7  # of steps outwards, from one to the next
NARROWEST, INTERPOLATED = 0.1, 5  # share of an interval that is cut off at least; places tried before it is halved


@dataclasses.dataclass(frozen=True)
class Start:
    """What a first guess needs to know."""

    geometry: Geometry
    ideal: tuple[np.ndarray, ...]
    spec: JpegSettings

    def file(self, distance: float) -> JpegImage:
        """Plainly rounded."""
        whole = tables.whole(tables.steps(self.geometry, distance, flat=self.spec.tables == "flat"))
        steps = tuple(zigzag(table.astype(np.float32))[0] for table in whole)
        levels = rounded([zigzag(plane) for plane in self.ideal], steps, self.spec.search.threshold)
        blocks = [natural(level, shape) for level, shape in zip(levels, self.geometry.blocks, strict=True)]
        return JpegImage(tuple(block.astype(np.int16) for block in blocks), whole, self.geometry)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Scale:
    """A goal as a number that is to be 0: above it is too much, and falls with distance."""

    error: Callable[[JpegImage], float]
    tolerance: float
    less_will_do: bool  # if nothing within the tolerance is found
    slope: float  # of the error in the logarithm of distance: a first guess
    bias: float  # error of plainly rounded levels whose search will have none
    say: Callable[[JpegImage], str]


def _scale(goal: AnyGoal, pixels: Pixels) -> _Scale:
    return _bytes_scale(goal) if isinstance(goal, Bytes) else _score_scale(goal, pixels)


def _bytes_scale(goal: Bytes) -> _Scale:
    def excess(file: JpegImage) -> float:
        return math.log(len(file.to_bytes()) / goal.most) + MOST_OFF / 2

    def say(file: JpegImage) -> str:
        return f"{len(file.to_bytes()):,} bytes"

    return _Scale(
        error=excess, tolerance=MOST_OFF / 2, less_will_do=True, slope=ELASTICITY, bias=-math.log(SAVED), say=say
    )


def _score_scale(goal: Score, pixels: Pixels) -> _Scale:
    metric = METRICS[goal.metric]
    sign = 1 if metric.higher_is_better else -1
    points = POINTS.get(goal.metric, 0.5 * max(abs(goal.value), 1e-6))
    tolerance = goal.tolerance or (0.3 if goal.metric in POINTS else 0.01 * abs(goal.value))

    def excess(file: JpegImage) -> float:
        return sign * (metric.function(pixels, _shown(file)) - goal.value)

    def say(file: JpegImage) -> str:
        return f"{goal.metric} = {metric.format(metric.function(pixels, _shown(file)))}"

    return _Scale(error=excess, tolerance=tolerance, less_will_do=False, slope=-points, bias=0.0, say=say)


def start_for(goal: AnyGoal, start: Start, pixels: Pixels) -> float:
    """The distance at which plainly rounded levels are about where a search ends at the goal."""
    scale = _scale(goal, pixels)
    low, high = LOWEST, HIGHEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if scale.error(start.file(math.exp(middle))) > scale.bias:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def toward(
    goal: AnyGoal,
    distance: float,
    descent_at: Callable[[float], Descent],
    file: Callable[[Sequence[Levels], Steps], JpegImage],
    rounds: int,
    pixels: Pixels,
) -> Iterator[tuple[float, JpegImage]]:
    """Files with the share of work done; the last meets the goal. Searches at one distance after another.

    Raises:
        UnreachableError: none does; the message says what is nearest.
    """
    scale = _scale(goal, pixels)
    place, seen = math.log(distance), list[tuple[float, float]]()
    nearest: tuple[float, JpegImage] | None = None
    for run in range(RUNS):
        descent = descent_at(math.exp(place))
        for done, best in descent.run(rounds):
            yield 1 - 0.5 ** (run + done / rounds), file(best.levels, best.steps) if nearest is None else nearest[1]
        made = file(descent.best.levels, descent.best.steps)
        error = scale.error(made)
        if nearest is None or _rank(error, scale) < _rank(nearest[0], scale):
            nearest = (error, made)
        at_an_end = place == (HIGHEST if error > 0 else LOWEST)
        if abs(nearest[0]) <= scale.tolerance or at_an_end:
            break
        seen.append((place, error))
        place = min(max(_next(seen, scale.slope), LOWEST), HIGHEST)
    assert nearest is not None  # there was a run
    is_less = nearest[0] < 0 and scale.less_will_do and not at_an_end
    if abs(nearest[0]) > scale.tolerance and not is_less:
        raise UnreachableError(f"cannot be reached; the nearest that was found is {scale.say(nearest[1])}")
    yield 1.0, nearest[1]


def _rank(error: float, scale: _Scale) -> tuple[bool, float]:
    """What is too much comes last, if less will do."""
    return scale.less_will_do and error > scale.tolerance, abs(error)


def _shown(file: JpegImage) -> Pixels:
    """As sRGB if its own transform needs the profile; codes of a profile that was kept stay as they are."""
    return decode(file.to_bytes(), managed=file.icc is None or file.adobe == 0)


def _next(seen: Sequence[tuple[float, float]], slope: float) -> float:
    """Where the error should be 0, and nothing was tried yet.

    Between too much and too little it is interpolated, later halved; before there are both, steps outwards grow.
    """
    above = max(((place, error) for place, error in seen if error > 0), default=None)
    below = min(((place, error) for place, error in seen if error <= 0), default=None)
    if above is None or below is None:
        place, error = above or below or seen[-1]
        return place - error / slope * GROWTH ** (len(seen) - 1)
    share = above[1] / (above[1] - below[1])
    inside = min(max(share, NARROWEST), 1 - NARROWEST) if len(seen) <= INTERPOLATED and above[0] < below[0] else 0.5
    return above[0] + inside * (below[0] - above[0])
