"""Quantization tables to start from: the steps at which errors of luma and chroma are about equally visible.

Base steps and their growth with distance are those of jpegli (google/jpegli, lib/jpegli/quant.cc), fitted there to
Butteraugli. A distance of 1 is about where errors begin to
be seen; libjpeg's quality maps to it as there.
"""

import numpy as np
from jaxtyping import Float32, UInt16

from diffquant.jpeg.geometry import Geometry

LUMA = (
    (2.16, 3.00, 5.08, 4.89, 5.81, 6.03, 6.68, 6.73),
    (3.00, 3.64, 4.95, 4.71, 5.99, 5.51, 7.00, 7.02),
    (5.08, 4.95, 5.15, 5.89, 6.30, 6.79, 6.54, 7.37),
    (4.89, 4.71, 5.89, 5.88, 7.25, 8.36, 8.32, 8.01),
    (5.81, 5.99, 6.30, 7.25, 7.97, 8.56, 9.70, 9.54),
    (6.03, 5.51, 6.79, 8.36, 8.56, 9.46, 8.86, 10.59),
    (6.68, 7.00, 6.54, 8.32, 9.70, 8.86, 9.46, 9.40),
    (6.73, 7.02, 7.37, 8.01, 9.54, 10.59, 9.40, 7.62),
)
BLUE = (
    (4.91, 11.30, 16.20, 18.52, 19.27, 29.83, 32.12, 50.60),
    (11.30, 15.47, 15.62, 23.77, 28.79, 28.95, 46.59, 37.11),
    (16.20, 15.62, 19.29, 31.67, 34.36, 41.73, 178.57, 42.54),
    (18.52, 23.77, 31.67, 32.41, 27.91, 43.58, 43.52, 62.28),
    (19.27, 28.79, 34.36, 27.91, 33.70, 25.53, 34.70, 88.89),
    (29.83, 28.95, 41.73, 43.58, 25.53, 54.49, 80.65, 117.39),
    (32.12, 46.59, 178.57, 43.52, 34.70, 80.65, 106.67, 153.69),
    (50.60, 37.11, 42.54, 62.28, 88.89, 117.39, 153.69, 195.12),
)
RED = (
    (5.08, 7.82, 12.80, 11.45, 14.85, 15.31, 15.98, 16.50),
    (7.82, 10.98, 12.22, 12.45, 14.00, 12.20, 11.68, 14.58),
    (12.80, 12.22, 11.99, 11.97, 15.28, 11.96, 13.72, 15.10),
    (11.45, 12.45, 11.97, 12.18, 13.43, 13.84, 13.00, 14.55),
    (14.85, 14.00, 15.28, 13.43, 11.79, 16.50, 15.73, 14.01),
    (15.31, 12.20, 11.96, 13.84, 16.50, 14.97, 17.26, 111.78),
    (15.98, 11.68, 13.72, 13.00, 15.73, 17.26, 109.92, 145.01),
    (16.50, 14.58, 15.10, 14.55, 14.01, 111.78, 145.01, 199.87),
)
BLUE_420 = (
    (2.45, 4.42, 6.87, 7.53, 7.39, 10.27, 12.59, 20.71),
    (4.42, 5.87, 6.65, 8.12, 10.74, 11.01, 23.50, 15.60),
    (6.87, 6.65, 8.44, 12.58, 11.43, 19.11, 73.39, 18.08),
    (7.53, 8.12, 12.58, 11.94, 11.97, 18.13, 21.08, 29.17),
    (7.39, 10.74, 11.43, 11.97, 12.77, 10.58, 11.50, 41.60),
    (10.27, 11.01, 19.11, 18.13, 10.58, 21.35, 31.51, 10.40),
    (12.59, 23.50, 73.39, 21.08, 11.50, 31.51, 10.38, 10.37),
    (20.71, 15.60, 18.08, 29.17, 41.60, 10.40, 10.37, 80.17),
)
RED_420 = (
    (2.54, 3.06, 5.43, 4.66, 5.70, 5.27, 6.27, 6.75),
    (3.06, 4.17, 5.20, 4.25, 5.23, 4.64, 5.89, 6.13),
    (5.43, 5.20, 5.25, 4.76, 5.08, 5.48, 5.64, 6.42),
    (4.66, 4.25, 4.76, 4.49, 5.76, 5.76, 6.30, 6.81),
    (5.70, 5.23, 5.08, 5.76, 4.47, 6.84, 5.21, 6.56),
    (5.27, 4.64, 5.48, 5.76, 6.84, 5.87, 6.75, 9.90),
    (6.27, 5.89, 5.64, 6.30, 5.21, 6.75, 10.70, 9.78),
    (6.75, 6.13, 6.42, 6.81, 6.56, 9.90, 9.78, 82.13),
)
COARSER = 1.22  # factor of the luma steps at 4:2:0
GROWTH = (  # exponents of distance, above BEND
    (1.00, 0.51, 0.67, 0.74, 1.00, 1.00, 1.00, 1.00),
    (0.51, 0.66, 0.69, 0.87, 1.00, 1.00, 1.00, 1.00),
    (0.67, 0.69, 0.84, 0.83, 0.96, 1.00, 1.00, 1.00),
    (0.74, 0.87, 0.83, 1.00, 1.00, 0.91, 0.91, 1.00),
    (1.00, 1.00, 0.96, 1.00, 1.00, 1.00, 1.00, 1.00),
    (1.00, 1.00, 1.00, 0.91, 1.00, 1.00, 1.00, 1.00),
    (1.00, 1.00, 1.00, 0.91, 1.00, 1.00, 1.00, 1.00),
    (1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00, 1.00),
)
BEND = 1.5
FLAT = 9.0  # step at distance 1, where all are equal
MOST_STEP = 255


def steps(geometry: Geometry, distance: float, *, flat: bool = False) -> tuple[Float32[np.ndarray, "8 8"], ...]:
    """The ideal steps of each component, not yet whole numbers.

    `flat` steps are equal, which suits squared errors of codes best; those of chroma are twice as large at 4:4:4.
    """
    if flat:
        chroma = FLAT * (2.0 if geometry.factors == (1, 1) else 1.0)
        sizes = [FLAT * distance, chroma * distance, chroma * distance][: geometry.components]
        return tuple(np.full((8, 8), size, np.float32) for size in sizes)
    growth = np.array(GROWTH, np.float32)
    scale = np.maximum(0.5 * distance, BEND ** (1 - growth) * distance**growth) if distance > BEND else distance
    base = (COARSER * np.array(LUMA), BLUE_420, RED_420) if geometry.factors == (2, 2) else (LUMA, BLUE, RED)
    return tuple((np.array(one) * scale).astype(np.float32) for one in base[: geometry.components])


def whole(ideal: tuple[np.ndarray, ...]) -> tuple[UInt16[np.ndarray, "8 8"], ...]:
    """Steps as a file may have them: whole numbers from 1 to 255."""
    return tuple(np.clip(np.round(step), 1, MOST_STEP).astype(np.uint16) for step in ideal)


def distance_from_quality(quality: float) -> float:
    """The distance that stands for libjpeg's quality, 1 to 100."""
    if quality >= 100:
        return 0.01
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25.0
