"""Another relaxation: the losses see Gumbel-softmax samples, whose temperature falls from 1 to 0.1.

See: right colours under white noise, between `article_16` and `article_no_variance`: what the blur error makes of
independent draws, without the polish that arranges them. Cost: 20 s for 768x512 on 2 CPU cores.

Source: Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax" (2017), with the annealing they advise.
"""

from diffquant.assignment.pixel import PixelSoftmax
from diffquant.assignment.relaxation import GumbelSoftmax
from diffquant.config import Config
from diffquant.export.dither import Sample
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette
from diffquant.schedules import Exponential

config = Config(
    pipeline=Palette(
        colors=16,
        assignment=PixelSoftmax(relaxation=GumbelSoftmax()),
        dither=Sample(),
    ),
    losses={"eye": BlurError()},
    temperature=Exponential(start=1.0, end=0.1),
    steps=60,
)
