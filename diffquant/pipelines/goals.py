"""What a file has to reach, where a setting such as quality is to be found for it."""

import dataclasses
import math

MOST_OFF = 0.01  # of the bytes asked for


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bytes:
    """A file of at most `most` bytes, and at least 99 % of them."""

    most: int

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"bytes: found {self.most}, expected at least 1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value, to within `tolerance`: by default 0.3 for scores up to 100, otherwise 1 %."""

    metric: str
    value: float
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"target: found {self.metric} = {self.value}, expected a finite number")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance: found {self.tolerance}, expected above 0")


class UnreachableError(ValueError):
    """No setting gets there. One line, which says what is nearest."""


AnyGoal = Bytes | Score
