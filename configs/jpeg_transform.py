"""A learned colour transform instead of Y, Cb, Cr, at 4:4:4, with learned tables, for viewers that manage colour.

    python scripts/train.py configs/jpeg_transform.py photo.png

See: nothing, in a viewer that heeds the file's ICC profile, which undoes the transform; viewers without colour
management show wrong colours. kodim23 (768x512) takes 46,214 bytes at SSIMULACRA2 81.1, where Y, Cb, Cr with the
codec's own tables have 79.7 in 45,537; Butteraugli is no better. The profile's 644 bytes are more than a small picture
gains. Cost: 30 s for 768x512 on 2 CPU cores.

A weight of 0.2 for one bit per pixel keeps files near the size of quality 75.
"""

from diffquant.config import Config
from diffquant.jpeg.search import Search
from diffquant.losses import Rate, Ssimulacra2
from diffquant.pipelines.jpeg import Jpeg

config = Config(
    pipeline=Jpeg(quality=75, subsampling="444", transform_rate=2e-3, search=Search(rounds=0, threshold=0.5)),
    losses={"structure": Ssimulacra2(), "rate": Rate(weight=0.2)},
    steps=40,
)
