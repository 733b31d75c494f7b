"""256 colours without a polish: soft choices among the 8 nearest colours at each pixel, then the likeliest.

With logits for all 256 the state of training is 30 times as large, and a step takes four times as long. See: the
photograph, with bands in smooth areas that a polish would break up. Cost: 40 s for 768x512 on 2 CPU cores.
"""

from diffquant.assignment import TopK
from diffquant.config import Config
from diffquant.export.dither import Argmax
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=256, assignment=TopK(n=8), dither=Argmax()),
    losses={"eye": BlurError()},
    steps=100,
)
