"""Too much of the variance term: 16 colours with a coefficient of 1.

See: flat areas with hard borders, bands in the blurred background and hardly any grain: this is the expected squared
error of each pixel, which cannot prefer a dither to the nearest colour. Cost: 10 s for 768x512 on 2 CPU cores.

Source: "Differentiable dithering", the experiment with a variance coefficient of 1.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=16, dither=Sample()),
    losses={
        "image": ExpectedImageError(space="linear"),
        "variance": Variance(coefficient=1.0, space="linear"),
    },
    steps=60,
)
