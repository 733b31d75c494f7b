"""Quantization tables learned for one picture, from flat ones, by gradient through rounding; then plain rounding.

    python scripts/train.py configs/jpeg_tables.py photo.png

See: tables that find what an eye needs without being told. kodim23 (768x512) takes 41,317 bytes at SSIMULACRA2 79.8,
where flat tables have 73 and the codec's own 80.0. Those are hard to beat: from `--pipeline.tables visible` nothing is
gained. Cost: 45 s for 768x512 on 2 CPU cores.

`losses.rate` is in bits per pixel, and its weight is what one of them may cost in the other losses, as the gradient
sees both. On a part of 256x192 pixels of `tests/images/parrots.png` 0.1, 0.2 and 0.4 make 7,564, 5,998 and 4,779 bytes.
"""

from diffquant.config import Config
from diffquant.jpeg.search import Search
from diffquant.losses import Rate, Ssimulacra2
from diffquant.pipelines.jpeg import Jpeg

config = Config(
    pipeline=Jpeg(quality=75, tables="flat", rate=0.05, search=Search(rounds=0, threshold=0.5)),
    losses={"structure": Ssimulacra2(), "rate": Rate(weight=0.2)},
    steps=40,
)
