"""A smooth gradient in 4 colours: where banding shows first.

See, on the gradient that `scripts/reproduce_article.py` draws: four flat stripes joined by grain. With
`--losses.variance.coefficient 1` the joints become hard borders, with 0 the grain is stronger and nearly everywhere.
Cost: 8 s for 768x512 on 2 CPU cores, 3 s for the gradient itself (256x168).

Source: "Differentiable dithering", the experiment on a gradient.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=4, dither=Sample()),
    losses={
        "image": ExpectedImageError(space="linear"),
        "variance": Variance(coefficient=0.25, space="linear"),
    },
    steps=60,
)
