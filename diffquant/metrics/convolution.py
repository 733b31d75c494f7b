"""Convolution with symmetric kernels, as a product of cosine transforms.

With half-sample symmetric borders (SciPy's "reflect") a symmetric kernel is diagonal in the DCT-II. So a filter of any
length, or a sum of separable filters, costs one transform each way, and is exact at every size, even where the kernel
is larger than the image.
"""

import numpy as np
from jaxtyping import Float


def gaussian_taps(sigma: float, radius: int) -> Float[np.ndarray, "taps"]:
    """Gaussian of standard deviation `sigma` pixels sampled at -radius ... radius, float64, unit sum."""
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


def gains_of(taps: Float[np.ndarray, "taps"], h: int, w: int) -> Float[np.ndarray, "h w"]:
    """By how much the filter `taps`, along both axes of an h x w plane, multiplies each cosine frequency, float64."""
    radius = len(taps) // 2
    offsets = np.arange(-radius, radius + 1)
    rows, columns = (np.cos(np.pi / size * np.outer(np.arange(size), offsets)) @ taps for size in (h, w))
    return np.outer(rows, columns)


def filtered(plane: Float[np.ndarray, "h w"], gains: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """The plane with each cosine frequency multiplied by its gain, in the plane's precision."""
    import scipy.fft  # here, because it takes as long as two metrics: the command line reads it while XLA works

    spectrum = scipy.fft.dctn(plane)
    spectrum *= gains
    return scipy.fft.idctn(spectrum, overwrite_x=True)
