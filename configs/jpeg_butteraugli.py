"""Another judge: levels chosen by search for Butteraugli alone, without training.

    python scripts/train.py configs/jpeg_butteraugli.py photo.png

See: what a single metric buys. kodim23 (768x512) takes 29,947 bytes at Butteraugli (3-norm) 1.18, where plain rounding
has 1.36, and by SSIMULACRA2 too it is better there, 74.5 to 72.9. Cost: 55 s for 768x512 on 2 CPU cores.

Without a loss of the rate, `search.price` is the price of a bit. With one, such as `Rate(weight=0.6)`, it would be that
share of the loss for one bit per pixel.
"""

from diffquant.config import Config
from diffquant.jpeg.search import Search
from diffquant.losses import Butteraugli
from diffquant.pipelines.jpeg import Jpeg

config = Config(
    pipeline=Jpeg(quality=75, search=Search(rounds=12)),
    losses={"visible": Butteraugli()},
    steps=0,
)
