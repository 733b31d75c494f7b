"""Tables relaxed by gradient, then levels chosen by search, both for the same sum of losses.

    python scripts/train.py configs/jpeg_tables_and_levels.py photo.png

See: kodim23 (768x512) takes 36,777 bytes at SSIMULACRA2 81.1, where plain rounding under the codec's own tables has
77.6. The search gains this: without training (`--steps 0`) it is the same. Cost: 90 s for 768x512 on 2 CPU cores.

The weight of `losses.rate`, of one bit per pixel, is the price of a bit in the search too, spread over the pixels. For
it to mean the same as in training, the search takes the losses as they are (`shares=False`); otherwise it is a share of
the loss per bit per pixel at the start. Without a loss of the rate `search.price` decides.
"""

from diffquant.config import Config
from diffquant.jpeg.search import Search
from diffquant.losses import Rate, Ssimulacra2
from diffquant.pipelines.jpeg import Jpeg

config = Config(
    pipeline=Jpeg(quality=75, search=Search(rounds=12, shares=False)),
    losses={"structure": Ssimulacra2(), "rate": Rate(weight=0.2)},
    steps=40,
)
