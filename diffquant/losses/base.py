"""What every loss is."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffquant.interfaces import Image, Rendered, Scalar
from diffquant.programs import traced_once
from diffquant.schedules import Schedule
from diffquant.signal.filters import Extent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """A differentiable judgement of what a pipeline would write.

    `weight` multiplies the loss in a sum and may change over a run. The loss itself is unweighted. To define `__call__`
    is enough; where much is to be computed of the target alone, define `prepare` and `judge` instead.
    """

    weight: Schedule = 1.0

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """The unweighted loss: a finite scalar with a finite gradient, at best 0."""
        return self.judge(rendered, self.prepare(target))

    def prepare(self, target: Image) -> Any:
        """What the loss makes of the target alone, a tree of arrays: once, where many pictures are compared with it."""
        return target

    def judge(self, rendered: Rendered, prepared: Any) -> Scalar:
        """The loss, given what `prepare` made of the target."""
        raise NotImplementedError

    def reach(self) -> int | None:
        """How many pixels around it a pixel's share of the loss depends on; None: on the whole picture."""
        return None


@traced_once(static=("losses",))
def prepared(losses: tuple[Loss, ...], target: Image) -> tuple[Any, ...]:
    """What each of the losses makes of the target: for `judged`."""
    return tuple(loss.prepare(target) if _prepares(loss) else target for loss in losses)


def judged(losses: tuple[Loss, ...], rendered: Rendered, seen: tuple[Any, ...]) -> Float[Array, " n"]:
    """Each of the losses, unweighted."""
    pairs = zip(losses, seen, strict=True)
    return jnp.stack([loss.judge(rendered, one) if _prepares(loss) else loss(rendered, one) for loss, one in pairs])


def _prepares(loss: Loss) -> bool:
    """Whether it judges by `judge`, and has not been given another `__call__` or `map` since by a class below."""
    names = {"judge", "map", "__call__"}
    return "judge" in vars(next(kind for kind in type(loss).__mro__ if names & vars(kind).keys()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalLoss(Loss):
    """A loss that is a mean over pixels, each of which knows what is around it and nothing else.

    So it can be judged tile by tile, and, unless it `fills` its arrays, on a picture that stands in larger ones.
    """

    fills: ClassVar[bool] = False

    def map(self, rendered: Rendered, target: Image, extent: Extent | None = None) -> Float[Array, "h w"]:
        """The share of each pixel; finite also where it is left out.

        At least `reach` pixels from the borders of a window it is what it is in the whole picture. With an `extent` the
        picture is that part of its arrays, what is beyond changes nothing, and shares beyond mean nothing.
        """
        raise NotImplementedError

    def border(self, size: Any) -> Any:
        """Pixels at both ends of an axis of `size` pixels, a number or a traced one, that the mean leaves out."""
        return 0

    def reach(self) -> int:
        """Each pixel by itself."""
        return 0

    def __call__(self, rendered: Rendered, target: Image) -> Scalar:
        """The mean of the map within the borders."""
        h, w = target.shape[1:]
        rows, columns = self.border(h), self.border(w)
        return jnp.mean(self.map(rendered, target)[rows : h - rows, columns : w - columns])
