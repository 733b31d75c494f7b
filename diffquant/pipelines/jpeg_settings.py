"""What decides a JPEG, but for the picture."""

import dataclasses
from typing import Literal

from diffquant.jpeg.search import Search
from diffquant.pipelines.goals import AnyGoal
from diffquant.signal.rounding import AnyRounding, StraightThrough


@dataclasses.dataclass(frozen=True, kw_only=True)
class JpegSettings:
    """A JPEG that any decoder opens. Grey pictures have one component.

    `quality` says where the tables start, on libjpeg's scale; with a `goal` it is found. Relaxed, levels pass through
    `rounding`; tables are learned at `rate` (of their logarithms, under Adam), the coefficients themselves at
    `coefficient_rate` and the colour transform at `transform_rate`, unless these are 0. A learned transform is undone
    by a profile in the file: viewers without colour management show wrong colours. `search` makes the choices hard.
    """

    quality: float = 75.0
    subsampling: Literal["auto", "444", "422", "420"] = "auto"
    tables: Literal["visible", "flat"] = "visible"
    goal: AnyGoal | None = None
    rounding: AnyRounding = StraightThrough()
    rate: float = 0.02
    coefficient_rate: float = 0.0
    transform_rate: float = 0.0
    search: Search = Search()
    exif: bytes | None = None
    icc: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality: found {self.quality}, expected 1 to 100")
        if min(self.rate, self.coefficient_rate, self.transform_rate) < 0:
            raise ValueError("rate, coefficient_rate, transform_rate: expected none below 0")
        if self.transform_rate > 0 and self.icc is not None:
            raise ValueError("icc: found a profile beside a learned colour transform, which needs its own")
