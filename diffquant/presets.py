"""Points on the curve of time against quality, for the palette codec."""

from typing import Literal

from diffquant.config import Config
from diffquant.export.dither import AnyDither, Argmax, BlueNoise, Polish, Sample
from diffquant.pipelines.palette import Palette

Preset = Literal["fast", "balanced", "best"]
Dither = Literal["none", "sample", "blue-noise", "polish"]

STEPS = {"fast": 0, "balanced": 20, "best": 100}
SWEEPS = {"fast": 4, "balanced": 8, "best": 30}


def palette_config(
    preset: Preset = "balanced",
    *,
    colors: int = 16,
    pinned: tuple[tuple[int, int, int], ...] = (),
    dither: Dither = "polish",
    seed: int = 0,
) -> Config:
    """The config of a preset. Other dithers than "polish" need relaxing to be soft, so they get the steps of "best"."""
    hard: dict[str, AnyDither] = {
        "none": Argmax(),
        "sample": Sample(),
        "blue-noise": BlueNoise(),
        "polish": Polish(sweeps=SWEEPS[preset]),
    }
    return Config(
        pipeline=Palette(colors=colors, pinned=pinned, dither=hard[dither]), steps=STEPS[preset], seed=seed
    )
