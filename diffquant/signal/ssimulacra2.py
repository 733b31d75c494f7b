"""What defines SSIMULACRA2, for the metric and for the loss: its blur, its weights, its scale of points.

Sneyers, "SSIMULACRA 2" (Cloudinary, 2022, tuned anew in 2023). All constants are those of libjxl 0.11,
tools/ssimulacra2.cc, with nine digits.
"""

import numpy as np
from jaxtyping import Float

LEAST_SIDE = 8  # pixels: libjxl refuses smaller pictures
FLOOR = 0.0009  # of variances: what keeps structure defined where there is none

# Impulse response of libjxl's recursive filter, standard deviation 1.5 (Charalampidis, "Recursive implementation of the
# Gaussian filter using truncated cosine functions", 2016). The picture is 0 outside.
_HALF = (0.00941436781, 0.0360111147, 0.109335373, 0.212928592)
KERNEL = (*_HALF, 0.264621105, *reversed(_HALF))

# Of the means and then of the 4-norms of three maps: lost structure, added edges (ringing), lost edges (smoothing).
WEIGHTS = (
    (0, 0.000737660671, 0, 0, 0.000779348168, 0),  # X, from 1:1 to 1:32
    (0, 0.000437115573, 0, 1.10417264, 0.000662848341, 0.000152316328),
    (0, 0.00164064375, 0, 1.84224555, 11.4411726, 0),
    (0.000798910944, 0.000176816438, 0, 1.8787595, 10.9490699, 0),
    (0.000728934699, 0.967793708, 0, 0.000140034243, 0.998176698, 0.000319497559),
    (0.000455099211, 0, 0, 0.00136487662, 0, 0),
    (0, 0, 0, 7.46689033, 0, 17.445834),  # Y, from 1:1 to 1:32
    (0.000623560163, 0, 0, 6.68367815, 0.00037724408, 1.02788994),
    (225.205153, 0, 0, 19.2132382, 0.00114015246, 0.00123775564),
    (176.393176, 0, 0, 24.43301, 0.285208026, 0.000448543692),
    (0, 0, 0, 34.7790634, 44.8356253, 0),
    (0, 0, 0, 0, 0, 0),
    (0, 0.000868055657, 0, 0, 0, 0),  # B - Y, from 1:1 to 1:32
    (0, 0.000531319187, 0, 0.000165338142, 0, 0),
    (0, 0, 0, 0.00041791718, 0.00172908282, 0),
    (0.00208270058, 0, 0, 8.82698276, 23.1924334, 0),
    (95.1080499, 0.986397803, 0.983438279, 0.0012286405, 171.266726, 0.980785887),
    (0, 0, 0, 0.000513006459, 0, 0.000108540579),
)


def scale_weights(h: int, w: int) -> Float[np.ndarray, "scales 3 6"]:
    """Weights at each scale of an h x w picture, finest first, of the planes X, Y, B - Y.

    The finest is always there; up to six, each halves the one before if that has at least 8 pixels a side. With fewer
    than six (a side below 113 pixels) a plane's weights follow those of the plane before without a gap, so they are not
    the ones tuned for it: so does libjxl.
    """
    scales, side = 1, min(h, w)
    while scales < 6 and side >= LEAST_SIDE:
        scales, side = scales + 1, (side + 1) // 2
    return np.array(WEIGHTS[: 3 * scales]).reshape(3, scales, 6).transpose(1, 0, 2)


def points(total: float) -> float:
    """The score for the weighted sum of all norms: 100 for 0, less for more, without a lower bound."""
    scaled = 0.9562382616834844 * total
    curve = 2.326765642916932 * scaled - 0.020884521182843837 * scaled**2 + 6.248496625763138e-05 * scaled**3
    return 100 - 10 * max(curve, 0.0) ** 0.6276336467831387
