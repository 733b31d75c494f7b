"""Metrics of decoded pictures: uint8 sRGB `[h w 3]`, any size from 1x1.

Computed by NumPy and SciPy, independently of the losses; Butteraugli alone shares its model with the loss.
"""

from diffquant.metrics.butteraugli import butteraugli
from diffquant.metrics.error import oklab_mse, oklab_mse_blur, psnr
from diffquant.metrics.flip import flip
from diffquant.metrics.registry import METRICS, Metric, measure
from diffquant.metrics.scielab import scielab
from diffquant.metrics.size import bits_per_pixel, count_colors
from diffquant.metrics.ssimulacra2 import ssimulacra2
from diffquant.metrics.structure import ms_ssim, ssim

__all__ = [
    "METRICS",
    "Metric",
    "bits_per_pixel",
    "butteraugli",
    "count_colors",
    "flip",
    "measure",
    "ms_ssim",
    "oklab_mse",
    "oklab_mse_blur",
    "psnr",
    "scielab",
    "ssim",
    "ssimulacra2",
]
