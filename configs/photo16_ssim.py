"""Another loss, in one line: `photo16` judged by structural similarity instead of SSIMULACRA2.

See: hardly a difference to what the eye alone gives (the preset `balanced`). Alone, SSIM is no judge of a dither: it
sees no noise, and hardly the colour of smooth areas. Cost: 25 s for 768x512 on 2 CPU cores.
"""

import dataclasses

from diffquant.losses import Ssim
from diffquant.presets import palette_config

base = palette_config("best")
config = dataclasses.replace(base, losses={"eye": base.losses["eye"], "structure": Ssim()})
