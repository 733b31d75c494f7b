"""Colours as points of OkLab, and where a drawing shows them.

Seen without perspective: equal lengths are equal anywhere in a drawing. What draws with them is in `cloud`; this needs
no matplotlib.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, UInt8

from diffquant.palette.histogram import histogram, oklab_from_colors
from diffquant.palette.median_cut import Box

AZIMUTH, ELEVATION = np.deg2rad(28), np.deg2rad(17)  # of the eye, for the view of all three axes
CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))  # of a box
EDGES = np.array([(i, j) for i, j in itertools.combinations(range(8), 2) if abs(CORNERS[i] - CORNERS[j]).sum() == 1])


@dataclasses.dataclass(frozen=True, eq=False)
class Cloud:
    """Unique colours: sRGB codes, OkLab, and the share of the pixels that each has."""

    colors: UInt8[np.ndarray, "n 3"]
    points: Float64[np.ndarray, "n 3"]
    shares: Float64[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """Where a point of OkLab falls in a drawing: what each of L, a and b adds."""

    right: tuple[float, float, float]
    up: tuple[float, float, float]
    near: tuple[float, float, float]  # towards the eye

    def place(self, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 2"]:
        """Right and up."""
        return points @ np.transpose([self.right, self.up])

    def depth(self, points: Float[np.ndarray, "n 3"]) -> Float64[np.ndarray, " n"]:
        """Larger is nearer."""
        return points @ np.array(self.near)


def cloud_of(pixels: UInt8[np.ndarray, "h w 3"]) -> Cloud:
    """That of a picture."""
    colors, shares = histogram(pixels)
    return Cloud(colors, oklab_from_colors(colors), shares)


def stretch_of(cloud: Cloud) -> int:
    """1 to 4: the most at which nearly all of the cloud is no wider than it can be high."""
    chroma = float(np.quantile(np.hypot(*cloud.points.T[1:]), 0.995))
    return int(np.clip(0.5 // max(chroma, 1e-9), 1, 4))


def in_space(stretch: float = 1) -> View:
    """All three axes: L upwards, a to the right and towards the eye, b away; a and b `stretch` times as long as L."""
    sin, cos = np.sin(AZIMUTH) * stretch, np.cos(AZIMUTH) * stretch
    level, tilt = np.cos(ELEVATION), np.sin(ELEVATION)
    return View(right=(0, cos, sin), up=(level, -sin * tilt, cos * tilt), near=(tilt, sin * level, -cos * level))


def from_above() -> View:
    """a to the right, b upwards."""
    return View(right=(0, 1, 0), up=(0, 0, 1), near=(1, 0, 0))


def from_the_side(axis: int, stretch: float = 1) -> View:
    """a (1) or b (2) to the right, `stretch` times as long as L, which is upwards."""
    a, b = float(axis == 1), float(axis == 2)
    return View(right=(0, a * stretch, b * stretch), up=(1, 0, 0), near=(0, b, -a))


def edges(boxes: Sequence[Box], view: View) -> Float64[np.ndarray, "edges 2 2"]:
    """The two ends of each of the twelve edges of each box."""
    low, high = (np.stack([getattr(box, side) for box in boxes])[:, None] for side in ("low", "high"))
    corners = np.where(CORNERS, high, low)
    return view.place(corners[:, EDGES].reshape(-1, 3)).reshape(-1, 2, 2)
