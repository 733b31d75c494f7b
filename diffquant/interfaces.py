"""The nouns that two codecs share: what a pipeline renders, what a loss sees, what a file holds.

Inside the differentiable part images are planar, `[3 h w]`, linear light: on a CPU that layout blurs ten times faster
than `[h w 3]`. At the edges (artifacts, metrics, files) they are uint8 sRGB `[h w 3]`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

Scalar = Float[Array, ""]
Image = Float[Array, "3 h w"]  # linear light in [0, 1]
Pixels = UInt8[np.ndarray, "h w 3"]  # sRGB codes


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Rendered:
    """What a pipeline would write, while its choices are still soft: all that a loss may see.

    `image` is the expectation of the decoded picture, linear light. `covariance` is that of the random pixel around it,
    upper triangle in the order RR, RG, RB, GG, GB, BB: zero where the output is certain. `entropy` is that of the
    choice at each pixel, in bits. `bits` is the estimated size of the whole file.
    """

    image: Float[Array, "3 h w"]
    covariance: Float[Array, "6 h w"]
    entropy: Float[Array, "h w"]
    bits: Float[Array, ""]


@runtime_checkable
class Artifact(Protocol):
    """Exactly what a file holds. NumPy only."""

    def decode(self) -> Pixels:
        """The picture as any decoder shows it: uint8 sRGB [h w 3]."""

    def to_bytes(self) -> bytes:
        """The file."""


@runtime_checkable
class Pipeline(Protocol):
    """A relaxed codec, holding its parameters: the only thing that training and export know. An `nnx.Module`.

    Each `nnx.Param` names its own learning rate: `nnx.Param(value, rate=...)`. Variables that belong to pixels say
    which of their axes run along the picture's rows and columns, `nnx.Param(logits, rate=1.0, rows=0, columns=1)`:
    with the parts of them that lie in a window the pipeline renders that window.
    """

    def render(self, temperature: Scalar, *, key: jax.Array) -> Rendered:
        """The soft output. Pure, differentiable in the parameters; lower temperatures are nearer to hard."""

    def harden(self, target: Image, losses: Sequence[Any], *, key: jax.Array) -> Iterator[tuple[float, Artifact]]:
        """Make the discrete choices: files, as a rule each better than the one before, with the share of work done.

        The first comes soon, so that whoever stops early still has a file. `losses` are what the choices are judged by.
        """


@runtime_checkable
class Refreshable(Protocol):
    """A pipeline that between two chunks of training may let its parameters mean something else: optional."""

    def refreshed(self, target: Image) -> tuple[Any, Callable[[Any], Any]] | None:
        """The pipeline to go on with, of the same structure and shapes, or None where nothing changes.

        Also returned is what takes a tree that is shaped as the old parameters, such as Adam's moments, to the new.
        """


@runtime_checkable
class Companionable(Protocol):
    """A spec that can make the choices of several pictures by one compiled program: optional."""

    def takes_companions(self, pixels: Pixels) -> bool:
        """Whether this picture can be among them."""

    def together(
        self, pictures: Sequence[tuple[Pixels, Any]], losses: Sequence[Any], *, key: jax.Array, stop: Callable[[], bool]
    ) -> list[Any]:
        """Files of pictures of any sizes, given as sRGB codes and as linear light, before any step of descent.

        None for those that `stop` came before. A file is what it is, whatever its companions.
        """


@runtime_checkable
class Shareable(Protocol):
    """A spec whose pipeline needs nothing of the whole picture but its `start`: optional.

    So each of several devices, or processes, makes what belongs to its own rows.
    """

    def start(self, pixels: Pixels) -> np.ndarray:
        """What is made of all pixels."""

    def build_from(self, start: Any, target: Image) -> Any:
        """As `build` does."""


@runtime_checkable
class PipelineSpec(Protocol):
    """Settings from which a pipeline is built for one picture."""

    @property
    def figures(self) -> tuple[str, ...]:
        """What a report of its files shows: names of metrics, and `colors` where their number was chosen."""

    def exact(self, pixels: Pixels) -> Artifact | None:
        """A file that decodes to exactly these pixels, if the settings allow one."""

    def build(self, pixels: Pixels, target: Image) -> Any:
        """A pipeline whose parameters are initialised for the picture, given as sRGB codes and as linear light."""
