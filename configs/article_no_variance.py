"""Equation 1 alone: 16 colours without the variance term.

See: strong noise nearly everywhere, specks of many colours in a brown background: any mixture with the right mean
is as good as any other, so nothing makes a pixel decide. Seen from afar the colours are right. Cost: 10 s for 768x512
on 2 CPU cores.

Source: "Differentiable dithering", the experiment without a variance penalty.
"""

from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import ExpectedImageError
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=16, dither=Sample()),
    losses={"image": ExpectedImageError(space="linear")},
    steps=60,
)
