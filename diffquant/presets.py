"""Points on the curve of time against quality, for each codec."""

import dataclasses
import functools
from typing import Literal

from diffquant.assignment import Nearest, PixelSoftmax
from diffquant.config import Config
from diffquant.export.classical import AnyClassical, ErrorDiffusion, Ordered, Riemersma
from diffquant.export.dither import AnyDither, Argmax, BlueNoise, Polish, Sample
from diffquant.export.names import Classical, Dither
from diffquant.interfaces import Pixels
from diffquant.jpeg.search import Search
from diffquant.losses import AnyLoss, BlurError, Butteraugli, ExpectedImageError, Ssimulacra2
from diffquant.palette.chroma import chroma_weight, eye_weight
from diffquant.pipelines.goals import AnyGoal
from diffquant.pipelines.jpeg import Jpeg
from diffquant.pipelines.palette import Palette

Preset = Literal["fast", "balanced", "best"]
Taste = Literal["perceptual", "ssimulacra2", "butteraugli", "blur", "psnr"]
Sampling = Literal["auto", "444", "422", "420"]

POLISHED = {
    "fast": Polish(sweeps=3, detail=0.0),
    "balanced": Polish(sweeps=12, detail=0.5),
    "best": Polish(sweeps=24, detail=0.8, rounds=80, shares=True),
}
STEPS = {"fast": 20, "balanced": 100, "best": 300}  # of gradient descent, where no polish makes up for a soft optimum
ENOUGH = 16  # colours: with fewer the unblurred error is large whatever one does, and counts less


def eye(colors: int, chroma: float = 1.0) -> BlurError:
    """An eye that sees fine detail of lightness only, except where the picture is busy.

    `chroma` is that of the palette that it is to judge (`eye_weight`).
    """
    fine = 0.15 * min(1.0, colors / ENOUGH) ** 2
    c = eye_weight(chroma)
    return BlurError(
        sigmas=(0.0, 0.75, 1.9),
        weights=(fine, 0.5, 1.0),
        chroma=(0.02 * c, 0.4 * c, 1.0 * c),
        masking=(0.03, 0.0, 0.0),
    )


def classical(name: Classical, *, serpentine: bool = True, strength: float = 1.0) -> AnyClassical:
    """A classical dither by its name."""
    if name == "riemersma":
        return Riemersma(strength=strength)
    if name == "bayer-2" or name == "bayer-4" or name == "bayer-8":
        return Ordered(mask=name, strength=strength)
    if name == "blue-noise-mask":
        return Ordered(mask="blue-noise", strength=strength)
    return ErrorDiffusion(kernel=name, serpentine=serpentine, strength=strength)


def automatic_chroma(pixels: Pixels, colors: int, *, pinned: int = 0, dither: Dither = "polish") -> float:
    """What hues should weigh in a picture's palette: 1 where nothing is left to choose, or a polish has `ENOUGH`."""
    settled = pinned == colors or (dither == "polish" and colors >= ENOUGH)
    return 1.0 if settled else chroma_weight(pixels, colors)


def palette_config(
    preset: Preset = "balanced",
    *,
    colors: int = 16,
    pinned: tuple[tuple[int, int, int], ...] = (),
    dither: Dither = "polish",
    serpentine: bool = True,
    strength: float = 1.0,
    chroma: float = 1.0,
    seed: int = 0,
) -> Config:
    """The config of a preset.

    `chroma` is what hues weigh against lightness in the palette, and in the eye that polishes it. A classical dither
    has a `strength`, and may be `serpentine`; it takes no preset: there is nothing to tune.
    """
    spec = functools.partial(Palette, colors=colors, pinned=pinned, chroma=chroma)
    if dither == "polish":
        losses: dict[str, AnyLoss] = {"eye": eye(colors, chroma)}
        if preset == "best":
            losses |= {"structure": Ssimulacra2(), "visible": Butteraugli()}
        return Config(pipeline=spec(assignment=Nearest(), dither=POLISHED[preset]), losses=losses, steps=0, seed=seed)
    if dither == "none" or dither == "sample" or dither == "blue-noise":
        hard: dict[str, AnyDither] = {"none": Argmax(), "sample": Sample(), "blue-noise": BlueNoise()}
        pipeline = spec(assignment=PixelSoftmax(), dither=hard[dither])
        return Config(pipeline=pipeline, steps=STEPS[preset], seed=seed)
    passed = classical(dither, serpentine=serpentine, strength=strength)
    return Config(pipeline=spec(assignment=Nearest(), dither=passed), steps=0, seed=seed)


ROUNDS = {"fast": 4, "balanced": 12, "best": 32}  # of the search for a JPEG's levels
QUADRATIC = Search(price=0.15)  # for errors that bend the same everywhere
SQUARED = Search(
    price=0.15, drift=0.0, limits=(1.2, 1.6, 0.9)
)  # for an error that sees what it should: nothing to fear
NEAR_EYE = BlurError(sigmas=(0.0, 0.75), weights=(0.5, 1.0), chroma=(0.3, 1.0), masking=(0.03, 0.0))


def _taste(taste: Taste) -> tuple[dict[str, AnyLoss], Search]:
    """What a JPEG is judged by, and how to search under that."""
    if taste == "psnr":
        return {"error": ExpectedImageError(space="srgb")}, SQUARED
    if taste == "blur":
        return {"eye": NEAR_EYE}, QUADRATIC
    structure, visible = Ssimulacra2(), Butteraugli(weight=0.5 if taste == "perceptual" else 1.0)
    if taste == "ssimulacra2":
        return {"structure": structure}, Search()
    return {"visible": visible} if taste == "butteraugli" else {"structure": structure, "visible": visible}, Search()


def jpeg_config(
    preset: Preset = "balanced",
    *,
    quality: float = 75.0,
    goal: AnyGoal | None = None,
    subsampling: Sampling = "auto",
    taste: Taste | None = None,
    seed: int = 0,
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> Config:
    """The config of a preset. `taste` names the losses: by default `fast` has the eye's squared error, the others two
    perceptual metrics."""
    losses, search = _taste(taste or ("blur" if preset == "fast" else "perceptual"))
    pipeline = Jpeg(
        quality=quality,
        goal=goal,
        subsampling=subsampling,
        tables="flat" if taste == "psnr" else "visible",
        search=dataclasses.replace(search, rounds=ROUNDS[preset]),
        exif=exif,
        icc=icc,
    )
    return Config(pipeline=pipeline, losses=losses, steps=0, seed=seed)
