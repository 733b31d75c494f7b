"""Points on the curve of time against quality, for the palette codec."""

from typing import Literal

from diffquant.assignment import AnyAssignment, Nearest, PixelSoftmax
from diffquant.config import Config
from diffquant.export.dither import AnyDither, Argmax, BlueNoise, Polish, Sample
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette

Preset = Literal["fast", "balanced", "best"]
Dither = Literal["none", "sample", "blue-noise", "polish"]

QUICK = BlurError(sigmas=(0.6, 1.8), weights=(0.4, 1.0))  # two scales for three: the same scores, a quarter faster
POLISHED: dict[str, tuple[AnyAssignment, int, Polish]] = {  # steps of gradient descent, then polish
    "fast": (Nearest(), 0, Polish(sweeps=3, detail=0.0, eye=QUICK)),
    "balanced": (Nearest(), 0, Polish(sweeps=12, detail=0.5)),
    "best": (PixelSoftmax(), 60, Polish(sweeps=16, detail=0.1)),
}
RELAXED_COLORS = 64  # beyond, a softmax over all entries costs gigabytes and wins little over polish alone
STEPS = {"fast": 20, "balanced": 100, "best": 300}  # where no polish makes up for a soft optimum


def palette_config(
    preset: Preset = "balanced",
    *,
    colors: int = 16,
    pinned: tuple[tuple[int, int, int], ...] = (),
    dither: Dither = "polish",
    seed: int = 0,
) -> Config:
    """The config of a preset."""
    assignment, steps, polish = POLISHED[preset]
    if colors > RELAXED_COLORS:
        assignment, steps = Nearest(), 0
    if dither != "polish":
        assignment, steps = PixelSoftmax(), STEPS[preset]
    hard: dict[str, AnyDither] = {"none": Argmax(), "sample": Sample(), "blue-noise": BlueNoise(), "polish": polish}
    pipeline = Palette(colors=colors, pinned=pinned, assignment=assignment, dither=hard[dither])
    return Config(pipeline=pipeline, steps=steps, seed=seed)
