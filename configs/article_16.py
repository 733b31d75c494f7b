"""The article's main experiment: 16 learned colours, a distribution at each pixel, a draw from it in the end.

See: soft, grainy transitions between the colours, and calm surfaces where one colour fits: 0.25 lets a pixel be
uncertain only where that helps the expected image. Cost: 10 s for 768x512 on 2 CPU cores.

Source: "Differentiable dithering", equation 1 plus 0.25 of the variance. In linear light, where the expectation of
equation 1 is what an eye sees from afar.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=16, dither=Sample()),
    losses={
        "image": ExpectedImageError(space="linear"),
        "variance": Variance(coefficient=0.25, space="linear"),
    },
    steps=60,
)
