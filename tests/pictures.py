"""Pictures that the tests of metrics and of losses share, and how a loss sees one that is certain."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from diffquant.color import linear_from_srgb8
from diffquant.interfaces import Rendered

GOLDEN = Path(__file__).parent / "golden"
PAIRS = json.loads((GOLDEN / "golden.json").read_text())["pairs"]


def read(name):
    return np.asarray(Image.open(GOLDEN / name).convert("RGB"))


def alike(seed, h, w):
    """A smooth picture and the same with noise."""
    rng = np.random.default_rng(seed)
    reference = scipy.ndimage.gaussian_filter(rng.uniform(0, 255, (h, w, 3)), (2, 2, 0)) * 3 - 256
    decoded = reference + rng.normal(0, 9, reference.shape)
    return tuple(np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in (reference, decoded))


def planes(pixels):
    return jnp.asarray(linear_from_srgb8(np.moveaxis(pixels, 2, 0)))


def certain(image):
    h, w = image.shape[1:]
    zero = jnp.zeros((h, w))
    return Rendered(image=image, covariance=jnp.zeros((6, h, w)), entropy=zero, bits=jnp.zeros(()))
