"""Pictures that tests share, and how a loss sees one that is certain."""

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


def photo(seed=0, h=24, w=37):
    """Smooth colours with a little noise: a few hundred unique ones."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / 40
    waves = np.stack([np.sin(3 * x + y), np.cos(4 * y), np.sin(2 * x - 3 * y)], axis=-1)
    return np.clip(128 + 80 * waves + rng.normal(0, 6, (h, w, 3)), 0, 255).astype(np.uint8)


def save_ramps(path, seed):
    """A tiny picture: red grows to the right, green downwards, and blue is noise."""
    y, x = np.mgrid[:10, :17]
    noise = np.random.default_rng(seed).integers(0, 40, (10, 17))
    Image.fromarray(np.stack([13 * x, 20 * y, 90 + noise], -1).astype(np.uint8)).save(path)


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
