"""Blue noise: thresholds whose binary patterns are even at every level, and have no low frequencies to see."""

import functools

import numpy as np
from jaxtyping import Bool, Float32, Float64

SIGMA = 1.5  # pixels: Ulichney's choice
SEED_SHARE = 0.1  # of the pixels in the pattern that everything grows from


class _Pattern:
    """A binary pattern on a torus and its energy: the pattern blurred by a Gaussian, kept up to date pixel by pixel."""

    def __init__(self, ones: Bool[np.ndarray, "n n"]):
        n = len(ones)
        self.ones = np.zeros_like(ones)
        self.energy: Float64[np.ndarray, "n n"] = np.zeros((n, n))
        distance = np.minimum(np.arange(n), n - np.arange(n)) ** 2
        kernel = np.exp(-(distance[:, None] + distance) / (2 * SIGMA**2))
        self._kernel = np.tile(kernel, (2, 2))  # its windows are the kernel rolled to any pixel
        for index in np.flatnonzero(ones):
            self.flip(int(index))

    def flip(self, index: int) -> None:
        """Inserts or removes one pixel."""
        n = len(self.ones)
        y, x = divmod(index, n)
        window = self._kernel[n - y : 2 * n - y, n - x : 2 * n - x]
        self.ones[y, x] ^= True
        self.energy += window if self.ones[y, x] else -window

    def tightest_cluster(self) -> int:
        """The 1 with the most other 1s around it."""
        return int(np.where(self.ones, self.energy, -np.inf).argmax())

    def largest_void(self) -> int:
        """The 0 with the fewest 1s around it."""
        return int(np.where(self.ones, np.inf, self.energy).argmin())


def _seed_pattern(n: int) -> Bool[np.ndarray, "n n"]:
    """White noise, evened out: pixels leave the tightest cluster for the largest void for as long as that helps."""
    order = np.random.default_rng(0).random(n * n).argsort()
    pattern = _Pattern((order < max(1, round(SEED_SHARE * n * n))).reshape(n, n))
    for _ in range(n * n):
        cluster = pattern.tightest_cluster()
        pattern.flip(cluster)
        void = pattern.largest_void()
        if pattern.energy.flat[cluster] <= pattern.energy.flat[void] + 1e-9:
            pattern.flip(cluster)
            break
        pattern.flip(void)
    return pattern.ones


@functools.cache
def threshold_mask(size: int = 64) -> Float32[np.ndarray, "n n"]:
    """Thresholds in (0, 1) to tile a picture with: (rank + 1/2) / size^2, each rank once. Read-only.

    Ulichney, "The void-and-cluster method for dither array generation" (1993). His third phase, which removes clusters
    of 0s, chooses what his second chooses: the blur is linear, so the tightest cluster of 0s is the largest void.
    """
    seed = _seed_pattern(size)
    rank = np.empty(size * size, np.int64)
    pattern = _Pattern(seed)
    for number in range(int(seed.sum()) - 1, -1, -1):
        index = pattern.tightest_cluster()
        pattern.flip(index)
        rank[index] = number
    pattern = _Pattern(seed)
    for number in range(int(seed.sum()), size * size):
        index = pattern.largest_void()
        pattern.flip(index)
        rank[index] = number
    mask = ((rank + 0.5) / (size * size)).astype(np.float32).reshape(size, size)
    mask.flags.writeable = False
    return mask
