"""Red, blue and purple: what the variance term is for.

The purple of the middle is the mean of the red and the blue. Equation 1 cannot tell the purple entry from a mixture of
the two others, and stays at the even mixture from which it starts; the variance can.

See, on the picture that `scripts/reproduce_article.py` draws: three solid areas, but for single pixels. With
`--losses.variance.weight 0` the middle is noise of all three colours. Cost: 8 s for 768x512 on 2 CPU cores, 3 s for the
picture itself (256x168).

Source: "Differentiable dithering", the experiment with three colours.
"""

from diffquant.assignment.pixel import PixelSoftmax
from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError, Variance
from diffquant.pipelines.palette import Palette

RED, PURPLE, BLUE = (230, 20, 30), (170, 32, 163), (25, 40, 220)  # purple: the mean of their light

config = Config(
    pipeline=Palette(
        colors=3,
        pinned=(RED, PURPLE, BLUE),
        assignment=PixelSoftmax(sharpness=1e6, rate=0.2),  # undecided; longer steps would leave the tie by chance
        dither=Sample(),
    ),
    losses={
        "image": ExpectedImageError(space="linear"),
        "variance": Variance(coefficient=0.25, space="linear"),
    },
    steps=100,
)
