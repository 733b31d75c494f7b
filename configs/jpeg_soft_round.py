"""The coefficients themselves learned, through soft rounding that hardens from a temperature of 1 to 0.1: what drifts.

    python scripts/train.py configs/jpeg_soft_round.py photo.png

See: a picture that pleases its own loss only. kodim23 (768x512) takes 35,744 bytes at SSIMULACRA2 79.5, where plain
rounding has 77.1, but PSNR is 1.0 dB lower and Butteraugli worse too, 1.22 to 1.18. Nothing holds the coefficients
near the picture's own, as the limits of a search do: compare `jpeg_tables_and_levels`. Cost: 95 s for 768x512 on 2 CPU
cores.

The loss that training shows is that of levels which are not whole yet: with a weight of 0.2 for one bit per pixel it
falls from 0.34 to 0.19, and counts as many bits as soft levels seem to need.
"""

from diffquant.config import Config
from diffquant.jpeg.search import Search
from diffquant.losses import Rate, Ssimulacra2
from diffquant.pipelines.jpeg import Jpeg
from diffquant.schedules import Exponential
from diffquant.signal.rounding import SoftRound

config = Config(
    pipeline=Jpeg(
        quality=75, rounding=SoftRound(), rate=0.0, coefficient_rate=0.5, search=Search(rounds=0, threshold=0.5)
    ),
    losses={"structure": Ssimulacra2(), "rate": Rate(weight=0.2)},
    temperature=Exponential(start=1.0, end=0.1),
    steps=40,
)
