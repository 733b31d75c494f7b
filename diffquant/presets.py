"""Points on the curve of time against quality, for the palette codec."""

from typing import Literal

from diffquant.config import Config
from diffquant.export.dither import AnyDither, Argmax, BlueNoise, Polish, Sample
from diffquant.pipelines.palette import Palette

Preset = Literal["fast", "balanced", "best"]
Dither = Literal["none", "sample", "blue-noise", "polish"]

POLISHED = {  # steps of gradient descent, then polish
    "fast": (0, Polish(sweeps=4, detail=1.0)),
    "balanced": (10, Polish(sweeps=8, detail=0.3)),
    "best": (60, Polish(sweeps=16, detail=0.5)),
}
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
    steps, polish = POLISHED[preset]
    hard: dict[str, AnyDither] = {"none": Argmax(), "sample": Sample(), "blue-noise": BlueNoise(), "polish": polish}
    return Config(
        pipeline=Palette(colors=colors, pinned=pinned, dither=hard[dither]),
        steps=steps if dither == "polish" else STEPS[preset],
        seed=seed,
    )
