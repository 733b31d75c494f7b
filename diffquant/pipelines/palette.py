"""The palette codec: a learned palette, a distribution over it at each pixel, an indexed PNG."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Float32, Float64, Integer, UInt8

from diffquant import color
from diffquant.assignment import AnyAssignment, Nearest, PixelSoftmax
from diffquant.export.dither import AnyDither, Polish
from diffquant.export.indexed import IndexedImage
from diffquant.export.together import Start
from diffquant.interfaces import Image, Pixels, Rendered, Scalar
from diffquant.losses.base import Loss
from diffquant.palette.histogram import codes_from_colors, colors_from_codes
from diffquant.palette.initial import initial_palette
from diffquant.palette.learned import LearnedPalette, Space
from diffquant.report import INDEXED

MOST_COLORS = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Palette:
    """A picture of at most `colors` colours.

    The palette is learned in `space`, at `rate` under Adam. `pinned` colours (sRGB codes) belong to it and never move;
    if there are `colors` of them, only the assignment is tuned. It starts where lightness, and hues `chroma` times as
    much, are nearest. `dither` makes the choices hard.
    """

    colors: int = 16
    pinned: tuple[tuple[int, int, int], ...] = ()
    chroma: float = 1.0
    space: Space = "oklab"
    rate: float = 2e-3
    assignment: AnyAssignment = PixelSoftmax()
    dither: AnyDither = Polish()

    def __post_init__(self) -> None:
        if not 1 <= self.colors <= MOST_COLORS:
            raise ValueError(f"colors: found {self.colors}, expected 1 to {MOST_COLORS}")
        if not 0 < self.chroma < math.inf:
            raise ValueError(f"chroma: found {self.chroma}, expected a number above 0")
        if len(self.pinned) > self.colors:
            raise ValueError(f"pinned: found {len(self.pinned)} colours, expected at most colors = {self.colors}")
        if len(set(self.pinned)) < len(self.pinned):
            raise ValueError("pinned: found a colour twice, expected each once")

    @property
    def figures(self) -> tuple[str, ...]:
        """Colours, and metrics that take no longer than to make a file."""
        return INDEXED

    def exact(self, pixels: Pixels) -> IndexedImage | None:
        """The picture as it is, if it and the pinned colours have at most `colors` colours together."""
        codes = codes_from_colors(pixels)
        values = np.unique(codes)
        pinned = {red << 16 | green << 8 | blue for red, green, blue in self.pinned}
        if len(values) > self.colors or len(pinned.union(values.tolist())) > self.colors:
            return None
        return IndexedImage(colors_from_codes(values), values.searchsorted(codes).astype(np.uint8))

    def build(self, pixels: Pixels, target: Image) -> "PalettePipeline":
        """Palette by median cut and k-means in OkLab; logits by distance."""
        return self.build_from(self.start(pixels), target)

    def start(self, pixels: Pixels) -> Float64[np.ndarray, "at_most_k 3"]:
        """The first palette, in OkLab: the pinned colours, then the others by lightness, so that neighbours in a mask
        are alike."""
        pinned = np.array(self.pinned, np.uint8).reshape(-1, 3)
        start = initial_palette(pixels, self.colors, pinned=pinned, chroma=self.chroma)
        free = start[len(pinned) :]
        start[len(pinned) :] = free[np.argsort(free[:, 0], kind="stable")]
        return start

    def build_from(self, start: Float64[np.ndarray, "k 3"], target: Image) -> "PalettePipeline":
        """The pipeline that starts from such a palette."""
        assignment = self.assignment.build(target, jnp.asarray(start, jnp.float32))
        return PalettePipeline(self._palette(start), assignment, self.dither)

    def _palette(self, start: Float64[np.ndarray, "k 3"]) -> LearnedPalette:
        pinned = np.array(self.pinned, np.uint8).reshape(-1, 3)
        return LearnedPalette(start, pinned, space=self.space, rate=self.rate)

    def takes_companions(self, pixels: Pixels) -> bool:
        """Whether the picture can be one of several in `together`: if choices are polished by sweeps and fit memory."""
        if not isinstance(self.dither, Polish) or not isinstance(self.assignment, Nearest):
            return False
        return self.dither.takes_companions(pixels.shape[0] * pixels.shape[1])

    def together(
        self,
        pictures: Sequence[tuple[Pixels, Float32[np.ndarray, "3 _ _"]]],
        losses: Sequence[Loss],
        *,
        key: jax.Array,
        stop: Callable[[], bool],
    ) -> list[IndexedImage | None]:
        """Indexed pictures of sRGB codes and linear light of any sizes; None for those that `stop` came before."""
        assert isinstance(self.dither, Polish)  # or it would take no companions
        starts = []
        for pixels, target in pictures:
            start = self.start(pixels)
            palette = self._palette(start)
            colors = np.asarray(palette.linear())
            starts.append(Start(target, start.astype(np.float32), colors, palette.is_free()))
        found = self.dither.together(starts, losses, key=key, stop=stop)
        return [None if one is None else _indexed(*one) for one in found]


class PalettePipeline(nnx.Module):
    """Modules: palette, assignment."""

    def __init__(self, palette: LearnedPalette, assignment: Any, dither: AnyDither) -> None:
        self.palette = palette
        self.assignment = assignment
        self.dither = dither

    def render(self, temperature: Scalar, *, key: jax.Array) -> Rendered:
        """Moments of the random pixel; the rate is that of the indices under their own histogram."""
        colors = self.palette.linear()
        products = [colors[:, i] * colors[:, j] for i, j in color.UPPER]
        values = jnp.concatenate([colors, jnp.stack(products, axis=1)], axis=1)
        moments, entropy, usage = self.assignment.expect(values, temperature, key=key)
        mean = moments[:3]
        covariance = jnp.stack([moments[3 + n] - mean[i] * mean[j] for n, (i, j) in enumerate(color.UPPER)])
        bits = -jnp.sum(usage * jnp.log2(jnp.maximum(usage, 1e-12))) * entropy.size
        return Rendered(image=mean, covariance=covariance, entropy=entropy, bits=bits)

    def refreshed(self, target: Image) -> tuple["PalettePipeline", Callable[[nnx.State], nnx.State]] | None:
        """With what the assignment makes of the palette as it has become, if it makes something of it."""
        if not hasattr(self.assignment, "refreshed"):
            return None
        oklab = color.oklab_from_linear(np.asarray(self.palette.linear()).T).T
        if (change := self.assignment.refreshed(target, jnp.asarray(oklab))) is None:
            return None
        assignment, carry = change

        def carried(path: Sequence[Any], moment: Any) -> Any:
            return jax.tree.map(carry, moment) if path[0] == "assignment" else moment

        pipeline = PalettePipeline(self.palette, assignment, self.dither)
        return pipeline, lambda moments: nnx.map_state(carried, moments)

    def harden(self, target: Image, losses: Sequence[Loss], *, key: jax.Array) -> Iterator[tuple[float, IndexedImage]]:
        """Indexed pictures; the last is the result."""
        for share, palette, indices in self.dither(self.assignment, self.palette, target, losses, key=key):
            yield share, _indexed(palette, indices)


def _indexed(palette: Float[np.ndarray, "k 3"], indices: Integer[np.ndarray, "h w"]) -> IndexedImage:
    codes: UInt8[np.ndarray, "k 3"] = color.srgb8_from_linear(palette)
    return IndexedImage(codes, indices.astype(np.uint8))
