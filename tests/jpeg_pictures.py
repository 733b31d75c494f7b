"""Pictures as the tests of the JPEG search start from them."""

import numpy as np
from pictures import planes, read
from PIL import Image

from diffquant.jpeg import tables
from diffquant.jpeg.decoder import RGB_FROM_YCBCR
from diffquant.jpeg.descent import rounded
from diffquant.jpeg.encoder import coefficients_from_pixels
from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.judge import Problem, zigzag


def photograph(h, w, components=3):
    """A part of the golden photograph with edges and colours, or its luma. sRGB codes [h w 3]."""
    part = Image.fromarray(read("00_ref.png")[100 : 100 + h, 40 : 40 + w])
    return np.asarray(part.convert("L" if components == 1 else "RGB").convert("RGB"))


def start(h, w, subsampling="420", components=3, *, distance=3.0):
    """Geometry, and what a search starts from, in zigzag order: coefficients, steps and rounded levels."""
    geometry, pixels = Geometry(h, w, subsampling, components), photograph(h, w, components)
    ideal = tuple(zigzag(blocks) for blocks in coefficients_from_pixels(pixels, geometry))
    whole = tables.whole(tables.steps(geometry, distance))
    steps = tuple(zigzag(table.astype(np.float32))[0] for table in whole)
    return geometry, ideal, steps, rounded(ideal, steps, 0.5)


def problem_of(losses, h, w, subsampling="420", components=3, *, distance=3.0, target=None, weights=None):
    """A problem, not normalized, with levels and steps to start from."""
    geometry, ideal, steps, levels = start(h, w, subsampling, components, distance=distance)
    weights = np.ones(len(losses), np.float32) if weights is None else np.array(weights, np.float32)
    target = planes(photograph(h, w, components)) if target is None else target
    return Problem(target, tuple(losses), weights, geometry, ideal, RGB_FROM_YCBCR), levels, steps
