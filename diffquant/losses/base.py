"""What every loss is."""

import dataclasses

from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.schedules import Schedule


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """A differentiable judgement of what a pipeline would write.

    `weight` multiplies the loss in a sum and may change over a run. The loss itself is unweighted.
    """

    weight: Schedule = 1.0

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """The unweighted loss: a finite scalar with a finite gradient, at best 0."""
        raise NotImplementedError

    def reach(self) -> int | None:
        """How many pixels around it a pixel's share of the loss depends on; None: on the whole picture."""
        return None
