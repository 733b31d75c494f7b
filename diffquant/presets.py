"""Points on the curve of time against quality, for the palette codec."""

from typing import Literal

from diffquant.assignment import Nearest, PixelSoftmax
from diffquant.config import Config
from diffquant.export.dither import AnyDither, Argmax, BlueNoise, Polish, Sample
from diffquant.losses import AnyLoss, BlurError, Ssimulacra2
from diffquant.pipelines.palette import Palette

Preset = Literal["fast", "balanced", "best"]
Dither = Literal["none", "sample", "blue-noise", "polish"]

POLISHED = {
    "fast": Polish(sweeps=3, detail=0.0),
    "balanced": Polish(sweeps=12, detail=0.5),
    "best": Polish(sweeps=24, detail=0.8, rounds=40, shares=True),
}
STEPS = {"fast": 20, "balanced": 100, "best": 300}  # of gradient descent, where no polish makes up for a soft optimum
ENOUGH = 16  # colours: with fewer the unblurred error is large whatever one does, and counts less


def eye(colors: int) -> BlurError:
    """An eye that sees fine detail of lightness only, except where the picture is busy."""
    fine = 0.15 * min(1.0, colors / ENOUGH) ** 2
    return BlurError(
        sigmas=(0.0, 0.75, 1.9), weights=(fine, 0.5, 1.0), chroma=(0.02, 0.4, 1.0), masking=(0.03, 0.0, 0.0)
    )


def palette_config(
    preset: Preset = "balanced",
    *,
    colors: int = 16,
    pinned: tuple[tuple[int, int, int], ...] = (),
    dither: Dither = "polish",
    seed: int = 0,
) -> Config:
    """The config of a preset."""
    if dither == "polish":
        losses: dict[str, AnyLoss] = {"eye": eye(colors)}
        if preset == "best":
            losses["structure"] = Ssimulacra2()
        pipeline = Palette(colors=colors, pinned=pinned, assignment=Nearest(), dither=POLISHED[preset])
        return Config(pipeline=pipeline, losses=losses, steps=0, seed=seed)
    hard: dict[str, AnyDither] = {"none": Argmax(), "sample": Sample(), "blue-noise": BlueNoise()}
    pipeline = Palette(colors=colors, pinned=pinned, assignment=PixelSoftmax(), dither=hard[dither])
    return Config(pipeline=pipeline, steps=STEPS[preset], seed=seed)
