"""Black and white: both colours are pinned, so that only the choice at each pixel is tuned.

See: a stipple of white dots on black, denser where the picture is lighter. With two colours the mean fixes the
variance, so the penalty can only push tones to pure black or white: hence 0.01 instead of 0.25. The mean is judged in
OkLab: in linear light the dark half of a photograph weighs next to nothing and turns black. Cost: 8 s for 768x512 on
2 CPU cores.

Source: "Differentiable dithering", the experiment in black and white.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=2, pinned=((0, 0, 0), (255, 255, 255)), dither=Sample()),
    losses={
        "image": ExpectedImageError(space="oklab"),
        "variance": Variance(coefficient=0.01, space="linear"),
    },
    steps=60,
)
