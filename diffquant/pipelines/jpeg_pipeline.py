"""The JPEG codec at work: soft while it is trained, then levels and tables of a file."""

import concurrent.futures
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from diffquant import color
from diffquant.interfaces import Image, Pixels, Rendered, Scalar
from diffquant.jpeg import tables
from diffquant.jpeg.decoder import decode, linear_light
from diffquant.jpeg.descent import Descent, rounded
from diffquant.jpeg.encoder import YCBCR_FROM_RGB, coefficients_from_pixels
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry, Subsampling
from diffquant.jpeg.judge import Levels, Problem, Steps, natural, zigzag
from diffquant.jpeg.profile import profile
from diffquant.jpeg.rate import SmoothRate, smooth_rate
from diffquant.jpeg.size import progressive_bytes
from diffquant.losses.base import Loss
from diffquant.metrics import METRICS
from diffquant.pipelines.jpeg_settings import JpegSettings
from diffquant.pipelines.reach import Start, start_for, toward
from diffquant.schedules import value
from diffquant.signal.rounding import AdditiveNoise, straight_through

COARSER = 1.35  # factor of the tables that tell what bytes are worth
OFFSET = 8 * 128.0  # DC of the level shift


class JpegPipeline(nnx.Module):
    """Params: log_steps [c 8 8]; coefficients and transform if they are learned. Buffers: the picture.

    `basis` holds the coefficients of R, G, B by themselves, at the samples of luma and at those of chroma: a change of
    the transform adds multiples of them.
    """

    def __init__(self, spec: JpegSettings, pixels: Pixels, target: Image) -> None:
        codes = np.moveaxis(np.asarray(color.srgb_from_linear(np.asarray(target))) * 255, 0, -1).astype(np.float32)
        components = 1 if (pixels == pixels[:, :, :1]).all() else 3
        self.spec = spec
        self.pixels = nnx.Variable(jnp.asarray(pixels))
        self.geometry, self.distance, ideal = _start(spec, pixels, codes, components)
        steps = self._steps_at(self.distance)
        levels = rounded([zigzag(plane) for plane in ideal], _rows(steps), spec.search.threshold)
        rate = smooth_rate(levels, self._bits(levels, _rows(steps)))
        self.curves, self.rest = nnx.Variable(jnp.asarray(rate.curves)), nnx.Variable(jnp.float32(rate.rest))
        self.log_steps = nnx.Param(jnp.log(jnp.asarray(np.stack(steps))), rate=spec.rate)
        own = nnx.Param if spec.coefficient_rate > 0 else nnx.Variable
        self.coefficients = nnx.List([own(jnp.asarray(plane), rate=spec.coefficient_rate) for plane in ideal])
        self.learns_transform = spec.transform_rate > 0 and components == 3
        one = nnx.Param if self.learns_transform else nnx.Variable
        self.transform = one(jnp.asarray(YCBCR_FROM_RGB, jnp.float32), rate=spec.transform_rate)
        self.basis = nnx.List([nnx.Variable(b) for b in _basis(codes, self.geometry)] if self.learns_transform else [])

    def steps(self) -> Float[Array, "c 8 8"]:
        """Of the tables: whole numbers from 1 to 255, with the slope of what they are rounded from."""
        soft = jnp.exp(self.log_steps[...])
        return straight_through(soft, jnp.clip(jnp.round(soft), 1, tables.MOST_STEP))

    def ideal(self) -> list[Float[Array, "_ _ 8 8"]]:
        """The coefficients that are to be quantized."""
        own = [plane[...] for plane in self.coefficients]
        if not self.learns_transform:
            return own
        change = self.transform[...] - jnp.asarray(YCBCR_FROM_RGB, jnp.float32)
        of_luma, of_chroma = self.basis
        moved = [jnp.tensordot(row, (of_chroma if c else of_luma)[...], 1) for c, row in enumerate(change)]
        return [plane + move for plane, move in zip(own, moved, strict=True)]

    def inverse(self) -> Float[Array, "3 3"]:
        """R, G, B from the components."""
        return jnp.linalg.inv(self.transform[...])

    def render(self, temperature: Scalar, *, key: jax.Array) -> Rendered:
        """The picture that the decoder would show. The rate is that of its levels.

        Its slope is taken where noise of one step has moved the levels before rounding: that of levels of 0 would say
        that coarser tables save nothing there, though some were nearly 1.
        """
        steps, keys = self.steps(), jax.random.split(key, len(self.coefficients))
        exact = [plane / steps[c][None, None] for c, plane in enumerate(self.ideal())]
        levels = [self.spec.rounding(level, temperature, key=key) for level, key in zip(exact, keys, strict=True)]
        noisy = [AdditiveNoise()(level, temperature, key=key) for level, key in zip(exact, keys, strict=True)]
        rate = SmoothRate(self.curves[...], self.rest[...])
        bits = straight_through(rate(noisy), rate(levels))
        coefficients = [level * steps[c][None, None] for c, level in enumerate(levels)]
        image = linear_light(decode(coefficients, self.geometry, self.inverse()))
        nothing = jnp.zeros(image.shape[1:])
        covariance = jnp.broadcast_to(nothing[None], (6, *nothing.shape))
        return Rendered(image=image, covariance=covariance, entropy=nothing, bits=bits)

    def harden(self, target: Image, losses: Sequence[Loss], *, key: jax.Array) -> Iterator[tuple[float, JpegImage]]:
        """Files; the last is the result.

        Raises:
            UnreachableError: no setting meets the goal.
        """
        seed = int(np.asarray(jax.random.key_data(key)).ravel()[-1])
        rounds, goal = self.spec.search.rounds, self.spec.goal

        def descent_at(distance: float) -> Descent:
            return self._descent(distance, target, losses, seed)

        if goal is not None:
            yield from toward(goal, self.distance, descent_at, self._file, rounds, np.asarray(self.pixels[...]))
            return
        if rounds == 0:
            yield 1.0, self._file(*self._rounded(self.distance))
            return
        yield 0.0, self._file(*self._rounded(self.distance))
        for done, best in descent_at(self.distance).run(rounds):
            yield done / rounds, self._file(best.levels, best.steps)

    def _steps_at(self, distance: float) -> tuple[np.ndarray, ...]:
        steps = tables.steps(self.geometry, distance, flat=self.spec.tables == "flat")
        return tuple(np.clip(step, 1, tables.MOST_STEP) for step in steps)

    def _rounded(self, distance: float) -> tuple[tuple[Levels, ...], Steps]:
        """Plainly rounded levels, under the learned tables made as coarse as `distance` says."""
        learned = np.asarray(jnp.exp(self.log_steps[...]))
        factors = [b / a for a, b in zip(self._steps_at(self.distance), self._steps_at(distance), strict=True)]
        steps = _rows([learned[c] * factor for c, factor in enumerate(factors)])
        ideal = [zigzag(np.asarray(plane)) for plane in self.ideal()]
        return rounded(ideal, steps, self.spec.search.threshold), steps

    def _descent(self, distance: float, target: Image, losses: Sequence[Loss], seed: int) -> Descent:
        levels, steps = self._rounded(distance)
        weights = np.array([value(loss.weight, jnp.float32(1)) for loss in losses], np.float32)
        ideal = tuple(zigzag(np.asarray(plane)) for plane in self.ideal())
        problem = Problem(target, tuple(losses), weights, self.geometry, ideal, np.asarray(self.inverse()))
        bits = self._bits(levels, steps)
        problem = problem.normalized(levels, steps, bits, relative=self.spec.search.shares)
        return Descent(problem, levels, steps, self.spec.search, seed=seed)

    def _bits(self, levels: Sequence[Levels], steps: Steps) -> float:
        return 8.0 * progressive_bytes(_blocks(levels, self.geometry), self.geometry, _tables(steps))

    def _file(self, levels: Sequence[Levels], steps: Steps) -> JpegImage:
        own = profile(np.asarray(self.inverse(), float)) if self.learns_transform else self.spec.icc
        adobe = 0 if self.learns_transform else None
        return JpegImage(_blocks(levels, self.geometry), _tables(steps), self.geometry, own, self.spec.exif, adobe)


def _start(
    spec: JpegSettings, pixels: Pixels, codes: Float[np.ndarray, "h w 3"], components: int
) -> tuple[Geometry, float, tuple[np.ndarray, ...]]:
    """Geometry, distance and coefficients with which to begin."""
    h, w = pixels.shape[:2]
    if spec.subsampling != "auto" or components == 1:
        kind: Subsampling = "444" if spec.subsampling == "auto" else spec.subsampling
        return _start_of(spec, pixels, codes, Geometry(h, w, kind, components))
    halved, full = (_start_of(spec, pixels, codes, Geometry(h, w, kind)) for kind in ("420", "444"))
    return full if _full_is_better(spec, pixels, halved, full) else halved


def _start_of(
    spec: JpegSettings, pixels: Pixels, codes: Float[np.ndarray, "h w 3"], geometry: Geometry
) -> tuple[Geometry, float, tuple[np.ndarray, ...]]:
    ideal = coefficients_from_pixels(codes, geometry)
    if spec.goal is None:
        return geometry, tables.distance_from_quality(spec.quality), ideal
    return geometry, start_for(spec.goal, Start(geometry, ideal, spec), pixels), ideal


def _full_is_better(
    spec: JpegSettings, pixels: Pixels, halved: tuple[Geometry, float, Any], full: tuple[Geometry, float, Any]
) -> bool:
    """Whether chroma at all pixels is worth its bytes, by SSIMULACRA2 of plainly rounded levels.

    What bytes are worth is seen from a coarser file. Pictures too small for that metric have no bytes to save.
    """
    trials = [(halved, 1.0), (full, 1.0), (halved, COARSER)]
    files = [Start(geometry, ideal, spec).file(factor * distance) for (geometry, distance, ideal), factor in trials]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        scores = list(pool.map(lambda file: METRICS["ssimulacra2"].function(pixels, file.decode()), files))
    if not np.isfinite(scores).all():
        return True
    own, other, coarse = (math.log(len(file.to_bytes())) for file in files)
    worth = (scores[0] - scores[2]) / max(own - coarse, 1e-3)
    return scores[1] - scores[0] > worth * (other - own)


def _basis(codes: Float[np.ndarray, "h w 3"], geometry: Geometry) -> list[Float[Array, "3 _ _ 8 8"]]:
    """Coefficients of R, G, B at the samples of luma, and at those of chroma."""
    of_luma, of_chroma = [], []
    for one in np.eye(3):
        luma, chroma, _ = coefficients_from_pixels(codes, geometry, np.tile(one, (3, 1)))
        luma[:, :, 0, 0] += OFFSET
        of_luma.append(luma)
        of_chroma.append(chroma)
    return [jnp.asarray(np.stack(of_luma)), jnp.asarray(np.stack(of_chroma))]


def _rows(steps: Sequence[Float[np.ndarray, "8 8"]]) -> Steps:
    """Tables as the search has them."""
    return tuple(zigzag(table.astype(np.float32))[0] for table in tables.whole(tuple(steps)))


def _tables(steps: Steps) -> tuple[np.ndarray, ...]:
    """Tables as a file has them."""
    return tuple(natural(step[None], (1, 1))[0, 0].astype(np.uint16) for step in steps)


def _blocks(levels: Sequence[Levels], geometry: Geometry) -> tuple[np.ndarray, ...]:
    """Levels as a file has them."""
    return tuple(natural(level, shape).astype(np.int16) for level, shape in zip(levels, geometry.blocks, strict=True))
