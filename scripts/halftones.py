"""Patterns of black and white by other methods, and what there is to say about a pattern: references in NumPy.

Pictures are planes of linear light in [0, 1]; a pattern is True where it is white.
"""

import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from diffquant import color
from diffquant.interfaces import Rendered
from diffquant.losses import BlurError
from diffquant.losses.blur import NEAR
from diffquant.signal.blue_noise import threshold_mask
from diffquant.signal.filters import Kernel

Light = Float[np.ndarray, "h w"]
Pattern = Bool[np.ndarray, "h w"]

SEGMENT = 64  # pixels: side of the windows that a spectrum is averaged over
LEAST_GAIN = 1e-9  # of what one pixel costs: below, a change is rounding


def white_noise(light: Light) -> Pattern:
    """An independent draw at each pixel."""
    return np.random.default_rng(0).random(light.shape) < light


def floyd_steinberg(light: Light) -> Pattern:
    """Error diffusion in linear light, every other row from right to left (Floyd and Steinberg, 1976)."""
    h, w = light.shape
    pattern = np.zeros((h, w), bool)
    below = [0.0] * (w + 2)  # errors for the next row; a margin at either end
    for y in range(h):
        here, below = below, [0.0] * (w + 2)
        row, ahead = light[y].tolist(), 0.0
        forth = 1 if y % 2 == 0 else -1
        for x in range(w)[::forth]:
            wanted = row[x] + here[x + 1] + ahead
            white = wanted >= 0.5
            pattern[y, x] = white
            error = (wanted - white) / 16
            ahead = 7 * error
            below[x + 1 - forth] += 3 * error
            below[x + 1] += 5 * error
            below[x + 1 + forth] += error
    return pattern


def blue_noise(light: Light) -> Pattern:
    """Against the thresholds of a tiled mask."""
    mask = threshold_mask()
    tiles = [-(-size // len(mask)) for size in light.shape]
    return light > np.tile(mask, tiles)[: light.shape[0], : light.shape[1]]


def threshold(light: Light) -> Pattern:
    """The nearer of black and white in OkLab."""
    return np.cbrt(light) > 0.5


class Scale(NamedTuple):
    """One width of the eye: the blur of each axis as a matrix, and what a squared error of light so blurred weighs."""

    rows: Float[np.ndarray, "h h"]
    columns: Float[np.ndarray, "w w"]
    weight: Light
    radius: int

    def blur(self, plane: Light) -> Light:
        """Symmetric borders: its own adjoint."""
        return self.rows @ plane @ self.columns


class EyeModel:
    """`BlurError` around one grey picture x as a quadratic form: Q(y) = sum_s sum_p m_s (B_s (y - x))^2 / pixels.

    To second order in y - x; but exactly for the picture `shown`, if there is one: the metric m_s is then that of the
    chord to it. Written anew for one channel, of which OkLab's lightness is the cube root.
    """

    def __init__(self, light: Light, eye: BlurError, shown: Pattern | Light | None = None) -> None:
        self.light = light.astype(np.float64)
        other = self.light if shown is None else shown.astype(np.float64)
        contrast = _squared_contrast(self.light)
        self.scales: list[Scale] = []
        for kernel, weight, _, masking in eye.scales():
            scale = Scale(*_blurs(light.shape, kernel), np.ones(light.shape), len(kernel) // 2)
            metric = _metric(scale.blur(self.light), scale.blur(other)) if eye.space == "oklab" else 3.0
            visible = 1 / (1 + contrast / masking**2) if masking else 1.0
            self.scales.append(scale._replace(weight=weight * scale.weight * metric * visible))

    def loss(self, pattern: Pattern | Light) -> float:
        """Q of a pattern (or of any light), per pixel."""
        error = pattern - self.light
        return sum(float(np.mean(s.weight * s.blur(error) ** 2)) for s in self.scales)

    def half_slope(self, pattern: Pattern) -> Light:
        """Of the sum over pixels, in each pixel's light."""
        error = pattern - self.light
        return np.sum([s.blur(s.weight * s.blur(error)) for s in self.scales], axis=0)

    def couplings(self) -> Float[np.ndarray, "h w 3 3"]:
        """Half the second derivative in the light of a pixel and a neighbour; in the middle its own."""
        h, w = self.light.shape
        out = np.zeros((h, w, 3, 3))
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            for s in self.scales:
                rows, columns = s.rows * np.roll(s.rows, -dy, 1), s.columns * np.roll(s.columns, -dx, 1)
                out[:, :, dy + 1, dx + 1] += rows.T @ s.weight @ columns
        return out


def _metric(light: Light, other: Light) -> Light:
    """Squared difference of the cube roots over that of the light; where both are the same, the limit."""
    root, end = (np.cbrt(np.maximum(plane, color.TOE)) for plane in (light, other))
    return 1 / (root * root + root * end + end * end) ** 2


def _squared_contrast(light: Light) -> Light:
    """Variance of the lightness near each pixel."""
    rows, columns = _blurs(light.shape, NEAR)
    lightness = np.cbrt(light)
    return np.maximum(rows @ lightness**2 @ columns - (rows @ lightness @ columns) ** 2, 0)


def _blurs(shape: tuple[int, ...], kernel: Kernel) -> tuple[Float[np.ndarray, "h h"], Float[np.ndarray, "w w"]]:
    """The blur of either axis, as a matrix."""
    return _matrix(shape[0], kernel), _matrix(shape[1], kernel)


def _matrix(size: int, kernel: Kernel) -> Float[np.ndarray, "n n"]:
    """The blur of one axis, borders folded in: row i holds the weights of all samples."""
    radius = len(kernel) // 2
    padded = np.pad(np.eye(size), ((radius, radius), (0, 0)), mode="symmetric")
    return np.sum([tap * padded[i : i + size] for i, tap in enumerate(kernel)], axis=0)


def seen(light: Light, pattern: Pattern | Light, eye: BlurError) -> float:
    """The eye's loss itself, judged in OkLab: `BlurError` of a certain picture."""
    return float(_seen(*(jnp.asarray(plane, jnp.float32) for plane in (light, pattern)), eye))


@functools.partial(jax.jit, static_argnames="eye")
def _seen(light: jax.Array, picture: jax.Array, eye: BlurError) -> jax.Array:
    nothing = jnp.zeros(light.shape)
    certain = Rendered(
        image=jnp.stack([picture] * 3), covariance=jnp.stack([nothing] * 6), entropy=nothing, bits=jnp.zeros(())
    )
    return dataclasses.replace(eye, variance=0.0)(certain, jnp.stack([light] * 3))


def direct_binary_search(model: EyeModel, start: Pattern, *, swaps: bool = True) -> Pattern:
    """Analoui and Allebach, "Model-based halftoning using direct binary search" (1992).

    Pixel by pixel the best of: leave it, toggle it, swap it with one of its eight neighbours; until nothing lowers Q.
    Unlike theirs, a pass visits only the pixels for which something helped when it began.
    """
    state = _State(model, start, swaps)
    while sum(state.improve(y, x) for y, x in state.promising()):
        pass
    return state.pattern()


class _State:
    """A pattern and the half slope of Q, exact after every change. Planes have a margin of one pixel."""

    def __init__(self, model: EyeModel, start: Pattern, swaps: bool) -> None:
        self.scales, self.shape, self.swaps = model.scales, start.shape, swaps
        self.couplings = model.couplings()
        own = self.couplings[:, :, 1, 1]
        self.least = LEAST_GAIN * float(own.mean())
        self.own = np.pad(own, 1, constant_values=np.inf)  # what is outside cannot change
        self.slope = np.pad(model.half_slope(start), 1)
        self.move = np.pad(1.0 - 2.0 * start, 1)  # of a pixel's light if it is toggled; 0 outside

    def pattern(self) -> Pattern:
        """As it is now."""
        return self.move[1:-1, 1:-1] < 0

    def promising(self) -> list[tuple[int, int]]:
        """Pixels for which a change lowers Q, in reading order."""
        h, w = self.shape
        alone = 2 * self.move * self.slope + self.own
        here, move = alone[1:-1, 1:-1], self.move[1:-1, 1:-1]
        best = here.copy()
        if self.swaps:
            for dy, dx in itertools.product((0, 1, 2), repeat=2):
                window = slice(dy, dy + h), slice(dx, dx + w)
                swap = here + alone[window] - 2 * self.couplings[:, :, dy, dx]
                np.minimum(best, swap, out=best, where=move * self.move[window] < 0)
        return [(int(y), int(x)) for y, x in np.argwhere(best < -self.least)]

    def improve(self, y: int, x: int) -> bool:
        """Make the best change at a pixel, if one helps."""
        near = slice(y, y + 3), slice(x, x + 3)
        move = self.move[near]
        alone = 2 * move * self.slope[near] + self.own[near]
        here = alone[1, 1]
        change = np.full((3, 3), np.inf)
        if self.swaps:
            change = np.where(move * move[1, 1] < 0, here + alone - 2 * self.couplings[y, x], np.inf)
        change[1, 1] = here
        best = int(change.argmin())
        if change.flat[best] >= -self.least:
            return False
        dy, dx = best // 3 - 1, best % 3 - 1
        self._toggle(y, x)
        if (dy, dx) != (0, 0):
            self._toggle(y + dy, x + dx)
        return True

    def _toggle(self, y: int, x: int) -> None:
        h, w = self.shape
        move = self.move[y + 1, x + 1]
        self.move[y + 1, x + 1] = -move
        for rows, columns, weight, radius in self.scales:
            (top, end), (left, right) = (max(y - radius, 0), y + radius + 1), (max(x - radius, 0), x + radius + 1)
            error = rows[top:end, y, None] * columns[left:right, x] * weight[top:end, left:right]
            outer = slice(max(y - 2 * radius, 0), min(y + 2 * radius + 1, h))
            across = slice(max(x - 2 * radius, 0), min(x + 2 * radius + 1, w))
            change = rows[top:end, outer].T @ error @ columns[left:right, across]
            self.slope[outer.start + 1 : outer.stop + 1, across.start + 1 : across.stop + 1] += move * change


class Spectrum(NamedTuple):
    """Power of a flat field's noise by frequency (cycles a pixel): 1 everywhere for independent pixels."""

    frequency: Float[np.ndarray, " n"]
    power: Float[np.ndarray, " n"]  # mean over all directions
    anisotropy: Float[np.ndarray, " n"]  # variance over directions by squared mean, dB
    low_share: float  # of all power: below half the principal frequency


def spectrum(pattern: Pattern, level: float) -> Spectrum:
    """Radially averaged, after Ulichney, "Digital halftoning" (1987), of a pattern that stands for one `level`.

    His periodograms are averaged over separate segments; these overlap by half under a Hann window, because what leaks
    from the noise's peak would fill the low frequencies. Anisotropy keeps the estimate's own scatter. A pattern of one
    colour has no noise: all is 0.
    """
    side = min(SEGMENT, min(pattern.shape))
    window = np.outer(*[np.hanning(side + 1)[:-1]] * 2)
    noise = pattern - pattern.mean()
    starts = [range(0, size - side + 1, max(side // 2, 1)) for size in pattern.shape]
    segments = [noise[y : y + side, x : x + side] for y, x in itertools.product(*starts)]
    power = np.mean([np.abs(np.fft.fft2(window * segment)) ** 2 for segment in segments], axis=0)
    power /= np.sum(window**2) * level * (1 - level)
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    ring = np.rint(radius * side).astype(int)
    rings = range(1, ring.max() + 1)
    means = np.array([power[ring == r].mean() for r in rings])
    spreads = np.array([power[ring == r].var(ddof=1) if (ring == r).sum() > 1 else 0.0 for r in rings])
    seen = (radius > 0) & (radius < principal_frequency(level) / 2)
    decibels = 10 * np.log10((spreads + 1e-24) / (means + 1e-12) ** 2)
    return Spectrum(
        np.arange(1, ring.max() + 1) / side, means, decibels, float(power[seen].sum() / max(power.sum(), 1e-12))
    )


def principal_frequency(level: float) -> float:
    """Cycles a pixel of dots (or holes) spread as evenly as they can be."""
    return float(np.sqrt(min(level, 1 - level)))


def codes(pattern: Pattern) -> np.ndarray:
    """The picture that a pattern is: sRGB codes [h w 3]."""
    return np.repeat(np.where(pattern, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)


def srgb(light: Light) -> np.ndarray:
    """Gamma-encoded floats in [0, 1]: what `diffquant.image.read` takes without rounding to 8 bits."""
    return np.clip(color.srgb_from_linear(light.astype(np.float64)), 0, 1).astype(np.float32)
