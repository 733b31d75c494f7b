"""One call from a picture to an indexed PNG."""

import os
from collections.abc import Sequence

import numpy as np
import PIL.Image

from diffquant.image import Color, parse_color, read
from diffquant.presets import Dither, Preset, palette_config
from diffquant.runner import Result, compress


def quantize(
    image: str | os.PathLike[str] | PIL.Image.Image | np.ndarray,
    colors: int = 16,
    *,
    preset: Preset = "balanced",
    dither: Dither = "polish",
    pin: Sequence[str | Color] = (),
    background: str | Color = "white",
    seed: int = 0,
) -> Result:
    """The best-looking picture of at most `colors` colours, as an indexed PNG.

    `image` is a path, a PIL image or an array ([h w], [h w 3] or [h w 4]; uint8, uint16 or floats in [0, 1]). `pin`
    names colours that the palette must hold; if there are `colors` of them, they are the palette. Transparent pixels
    are laid on `background`. Colours are CSS names, '#rrggbb' or (r, g, b).

    Returns palette [k 3], indices [h w], image [h w 3], data (the file's bytes), report, and save(path).

    Raises:
        ImageError: the picture cannot be read.
        ValueError: an argument is out of range.
    """
    pinned = tuple(_codes(color) for color in pin)
    picture = read(image, background=_codes(background))
    return compress(picture, palette_config(preset, colors=colors, pinned=pinned, dither=dither, seed=seed))


def _codes(color: str | Color) -> Color:
    return parse_color(color) if isinstance(color, str) else color
