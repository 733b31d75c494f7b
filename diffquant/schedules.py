"""Values that change over a run: temperatures, weights of losses, learning rates."""

import dataclasses
import math

import jax.numpy as jnp

from diffquant.interfaces import Scalar


@dataclasses.dataclass(frozen=True)
class Exponential:
    """From `start` to `end`, both positive, by a constant factor per step."""

    start: float
    end: float

    def __post_init__(self) -> None:
        if self.start <= 0 or self.end <= 0:
            raise ValueError(f"Exponential: found {self.start} to {self.end}, expected positive values")

    def __call__(self, progress: Scalar) -> Scalar:
        """The value at `progress` in [0, 1]."""
        return self.start * jnp.exp(progress * math.log(self.end / self.start))


@dataclasses.dataclass(frozen=True)
class Linear:
    """From `start` to `end` along a straight line."""

    start: float
    end: float

    def __call__(self, progress: Scalar) -> Scalar:
        """The value at `progress` in [0, 1]."""
        return self.start + (self.end - self.start) * progress


@dataclasses.dataclass(frozen=True)
class Cosine:
    """From `start` to `end` along half a period of a cosine: slow at both ends."""

    start: float
    end: float

    def __call__(self, progress: Scalar) -> Scalar:
        """The value at `progress` in [0, 1]."""
        return self.end + (self.start - self.end) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


Schedule = float | Exponential | Linear | Cosine  # a number is a constant


def value(schedule: Schedule, progress: Scalar) -> Scalar:
    """The schedule's value at `progress` in [0, 1]."""
    return jnp.asarray(schedule(progress) if callable(schedule) else schedule, jnp.float32)
