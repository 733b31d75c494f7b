"""The article's recipe with half of the colours: 8.

See: the picture of `article_16`, with coarser grain and duller blues and greens, since fewer colours leave more to
mixing. Cost: 8 s for 768x512 on 2 CPU cores.

Source: "Differentiable dithering", the experiment with 8 colours.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=8, dither=Sample()),
    losses={
        "image": ExpectedImageError(space="linear"),
        "variance": Variance(coefficient=0.25, space="linear"),
    },
    steps=60,
)
