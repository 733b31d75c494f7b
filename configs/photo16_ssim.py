"""Another loss, in one line: `photo16` judged by structural similarity as well.

See: hardly a difference to `photo16`, since the polish has the last word; with `dither=Argmax()` edges are crisper than
without the line. Alone, SSIM is no judge of a dither: it sees no noise, and hardly the colour of smooth areas. Cost:
40 s for 768x512 on 2 CPU cores.
"""

from diffquant.config import Config
from diffquant.export.dither import Polish
from diffquant.losses import BlurError, Ssim
from diffquant.pipelines.palette import Palette

config = Config(
    pipeline=Palette(colors=16, dither=Polish(sweeps=16, detail=0.1)),
    losses={"eye": BlurError(), "structure": Ssim(weight=1e-3)},
    steps=60,
)
