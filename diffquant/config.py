"""One experiment: a codec, what it is judged by, and how it descends."""

import dataclasses

from diffquant.losses import AnyLoss, BlurError
from diffquant.pipelines import AnyPipeline
from diffquant.pipelines.palette import Palette
from diffquant.schedules import Schedule
from diffquant.training import Plan, Tiles


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides the result, but for the picture.

    `steps` of gradient descent on the relaxed pipeline under the weighted sum of `losses`; with 0 only the hard
    choices are made. Same picture, config and seed: same bytes, on the same machine.
    """

    pipeline: AnyPipeline = Palette()
    losses: dict[str, AnyLoss] = dataclasses.field(default_factory=lambda: {"eye": BlurError()})
    steps: int = 100
    every: int = 10  # steps in one dispatch, between snapshots
    temperature: Schedule = 1.0
    rate: Schedule = 1.0  # multiplies the rates that the parameters name
    b1: float = 0.9
    b2: float = 0.999
    tolerance: float | None = None  # stop when a chunk improves the mean loss by less than this share; None: never
    tiles: Tiles | None = None  # descend tile by tile, in the memory of one; None: on the whole picture at once
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 0 or self.every < 1:
            raise ValueError(f"steps, every: found {self.steps} and {self.every}, expected at least 0 and 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed: found {self.seed}, expected 0 to {2**32 - 1}")
        if not self.losses:
            raise ValueError("losses: found none, expected at least one")
        self.plan()  # refuses losses that tiles cannot be judged by

    def plan(self) -> Plan:
        """The part that training reads."""
        return Plan(
            losses=tuple(self.losses.items()),
            steps=self.steps,
            every=self.every,
            temperature=self.temperature,
            rate=self.rate,
            b1=self.b1,
            b2=self.b2,
            tolerance=self.tolerance,
            tiles=self.tiles,
        )
