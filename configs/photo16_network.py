"""Another assignment: a small network emits the probabilities, from each pixel's place and colour.

It has as many parameters for a large picture as for a small one. See: right colours under fine noise, more of it than
with free logits: a network so small cannot give each pixel its own choice, and leaves it to the blue-noise mask.
Without a mask (`Argmax`) there are bands. Cost: 180 s for 768x512 on 2 CPU cores.

Sources: Tancik et al., "Fourier features let networks learn high frequency functions in low dimensional domains"
(2020); for `features=HashGrid()` Mueller et al., "Instant neural graphics primitives with a multiresolution hash
encoding" (2022).
"""

from diffquant.assignment import Network
from diffquant.config import Config
from diffquant.export.dither import BlueNoise
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=16, assignment=Network(), dither=BlueNoise()),
    losses={"eye": BlurError()},
    steps=100,
)
