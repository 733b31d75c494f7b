"""How to descend, and what a descent remembers."""

import dataclasses
from typing import Any

from diffquant.losses.base import LocalLoss, Loss
from diffquant.schedules import Schedule

SMALLEST = 64  # pixels of a tile's side


class PlanError(ValueError):
    """A plan that cannot be followed with this pipeline, picture and these devices."""


class StateError(ValueError):
    """A state that is not one of this pipeline."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles:
    """Work on one tile after another, of at most `side` pixels squared: the memory of one.

    What belongs to pixels (logits, moments, the picture) stays in the host's memory. A step takes every tile, and is
    that of the whole picture; or `batch` of them, drawn at random: their own pixels move as they would then, and what
    all share (a palette, a network) by an estimate of its slope.
    """

    side: int = 512
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.side < SMALLEST:
            raise ValueError(f"Tiles: found a side of {self.side} pixels, expected at least {SMALLEST}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"Tiles: found a batch of {self.batch}, expected at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to descend. Hashable: one compilation for each plan, kind of pipeline and size of picture.

    Adam with the rate that each parameter names, times `rate`. `every` steps run between snapshots; in one dispatch,
    unless by `tiles`. Stops after `steps`, or, unless `tolerance` is None, when the mean loss of a chunk does not
    improve on the last one's by that share.
    """

    losses: tuple[tuple[str, Loss], ...]
    steps: int
    every: int
    temperature: Schedule
    rate: Schedule
    b1: float
    b2: float
    tolerance: float | None
    tiles: Tiles | None = None

    def __post_init__(self) -> None:
        for name, loss in self.losses:
            if self.tiles is not None and not isinstance(loss, LocalLoss):
                found = f"the loss {name!r}, {type(loss).__name__}, which looks at the whole picture"
                raise ValueError(f"tiles: found {found}, expected losses of finite reach")


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """All that `fit` remembers from one chunk to the next: what has to be saved so that it can continue.

    `arrays` are the pipeline's variables and Adam's moments by name, `mean` is the mean loss of the last chunk. `over`:
    no step is left to do.
    """

    step: int
    mean: float
    over: bool
    arrays: dict[str, Any]
