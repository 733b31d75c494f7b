"""One call from a picture to an indexed PNG or to a JPEG, or from a clip to an animated GIF."""

import functools
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image

from diffquant.animation.animate import Animation
from diffquant.animation.animate import animate as write_gif
from diffquant.animation.clip import Clip, sources_from
from diffquant.animation.report import ClipReport, report_of_file
from diffquant.batch import compress_many
from diffquant.config import Config
from diffquant.export.names import Dither
from diffquant.files import open_atomically
from diffquant.image import Color, Metadata, Picture, parse_color, read
from diffquant.metrics import METRICS
from diffquant.palette.files import read_palette
from diffquant.pipelines.goals import AnyGoal, Bytes, Score, UnreachableError
from diffquant.presets import Preset, Sampling, Taste, automatic_chroma, jpeg_config, palette_config
from diffquant.runner import Result, compress

Source = str | os.PathLike[str] | PIL.Image.Image | np.ndarray


def quantize(
    image: Source,
    colors: int = 16,
    *,
    preset: Preset = "balanced",
    dither: Dither = "polish",
    chroma: float | Literal["auto"] = "auto",
    pin: Sequence[str | Color] | os.PathLike[str] = (),
    background: str | Color = "white",
    seed: int = 0,
) -> Result:
    """The best-looking picture of at most `colors` colours, as an indexed PNG.

    `image` is a path, a PIL image or an array ([h w], [h w 3] or [h w 4]; uint8, uint16 or floats in [0, 1]). `pin`
    names colours that the palette must hold, or a palette file; if there are `colors` of them, they are the palette.
    `chroma` is what hues weigh against lightness, 1 to 16; by default the picture and the number of colours say.
    Transparent pixels are laid on `background`. Colours are CSS names, '#rrggbb' or (r, g, b).

    Returns palette [k 3], indices [h w], image [h w 3], data (the file's bytes), report, and save(path).

    Raises:
        ImageError: the picture cannot be read.
        ValueError: an argument is out of range.
    """
    picture = read(image, background=_codes(background))
    config = palette_recipe(
        picture, preset=preset, colors=colors, pinned=_pinned(pin), dither=dither, chroma=chroma, seed=seed
    )
    return compress(picture, config)


def quantize_batch(
    images: Iterable[Source],
    colors: int = 16,
    *,
    preset: Preset = "balanced",
    dither: Dither = "polish",
    chroma: float | Literal["auto"] = "auto",
    pin: Sequence[str | Color] | os.PathLike[str] = (),
    background: str | Color = "white",
    seed: int = 0,
) -> Iterator[Result | Exception]:
    """`quantize` for each of many pictures, in order: a result, or the error of a picture that cannot be read.

    Results come as they are ready, and pictures are read no more than a few ahead: thousands take the memory of some.
    One is computed on each core, and by presets `fast` and `balanced` pictures of many sizes share a few compiled
    programs (`diffquant.batch`). A result depends on its picture and the arguments only. It is that of `quantize`
    but for rounding, where two colours are as good (`compress_many` says how often).

    Raises:
        ValueError: an argument is out of range.
    """
    pinned, behind = _pinned(pin), _codes(background)
    recipe = functools.partial(
        palette_recipe, preset=preset, colors=colors, pinned=pinned, dither=dither, chroma=chroma, seed=seed
    )
    recipe(read(np.zeros((1, 1, 3), np.uint8)))  # raises what it must, before any picture is read

    def job(image: Source) -> Callable[[], tuple[Picture, Config]]:
        def load() -> tuple[Picture, Config]:
            picture = read(image, background=behind)
            return picture, recipe(picture)

        return load

    outcomes = compress_many(job(image) for image in images)
    return (outcome for outcome in outcomes if outcome is not None)


def palette_recipe(
    picture: Picture,
    *,
    preset: Preset = "balanced",
    colors: int = 16,
    pinned: tuple[Color, ...] = (),
    dither: Dither = "polish",
    chroma: float | Literal["auto"] = "auto",
    serpentine: bool = True,
    strength: float = 1.0,
    seed: int = 0,
) -> Config:
    """How a picture is quantized, for the arguments of `quantize`.

    Raises:
        ValueError: an argument is out of range.
    """
    if chroma != "auto" and not 1 <= chroma <= 16:
        raise ValueError(f"chroma: found {chroma}, expected 'auto' or 1 to 16")
    if chroma == "auto":
        chroma = automatic_chroma(picture.srgb8, max(colors, 1), pinned=len(pinned), dither=dither)
    return palette_config(
        preset,
        colors=colors,
        pinned=pinned,
        dither=dither,
        serpentine=serpentine,
        strength=strength,
        chroma=chroma,
        seed=seed,
    )


def animate(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    colors: int = 256,
    *,
    preset: Preset = "balanced",
    palettes: Literal["clip", "scene"] = "clip",
    fps: float | None = None,
    width: int | None = None,
    background: str | Color = "white",
    seed: int = 0,
) -> ClipReport:
    """An animated GIF of a video, an animated picture, or a picture for each frame.

    `source` is a file, a folder of pictures or a list of them. Its colour tables have `colors` entries, 2 to 256, one
    of them transparent: one for all, or one for each scene. `fps` is the most frames in a second, and the rate of
    separate pictures (10 unless told); `width` in pixels scales. Returns what was measured on the file's frames.

    Raises:
        ImageError: the clip cannot be read.
        ValueError: an argument is out of range.
    """
    paths = [source] if isinstance(source, str | os.PathLike) else source
    sources = sources_from([Path(path) for path in paths])
    clip = Clip(sources=sources, fps=fps, width=width, background=_codes(background))
    settings = Animation(colors=colors, palettes=palettes, preset=preset, seed=seed)
    started = time.perf_counter()
    with open_atomically(output) as file:
        places = [step.place for step in write_gif(clip, settings, file) if step.place is not None]
    return report_of_file(clip, Path(output), places, time.perf_counter() - started)


def compress_jpeg(
    image: Source,
    *,
    quality: float = 75.0,
    bytes: int | None = None,
    target: tuple[str, float] | None = None,
    preset: Preset = "balanced",
    subsampling: Sampling = "auto",
    loss: Taste | None = None,
    keep: Collection[Metadata] = (),
    background: str | Color = "white",
    seed: int = 0,
) -> Result:
    """A JPEG tuned to its picture, which any decoder opens.

    `image` and `background` are as in `quantize`. `quality` is 1 to 100 on libjpeg's scale. It is found, and not
    heeded, where a file of at most so many `bytes` is asked for, or a `target` such as ("ssimulacra2", 70.0): a metric
    and its value. `loss` is what choices are judged by, by default the preset's own. `keep` names what of the picture
    goes into the file: "exif", "icc"; without its profile, colours become sRGB.

    Returns image [h w 3], data (the file's bytes), report, and save(path).

    Raises:
        ImageError: the picture cannot be read.
        UnreachableError: no file has so few bytes, or that target.
        ValueError: an argument is out of range, or the picture is larger than 65,500 pixels a side.
    """
    picture = read(image, background=_codes(background), keep=keep)
    config = jpeg_recipe(
        picture,
        quality=quality,
        bytes=bytes,
        target=target,
        preset=preset,
        subsampling=subsampling,
        loss=loss,
        seed=seed,
    )
    return compress(picture, config)


def jpeg_recipe(
    picture: Picture,
    *,
    quality: float,
    bytes: int | None,
    target: tuple[str, float] | None,
    preset: Preset,
    subsampling: Sampling,
    loss: Taste | None,
    seed: int,
) -> Config:
    """How a picture is compressed, for the arguments of `compress_jpeg`.

    Raises:
        UnreachableError: the picture is too small for the target's metric.
        ValueError: an argument is out of range.
    """
    if bytes is not None and target is not None:
        raise ValueError("bytes, target: found both, expected at most one")
    goal: AnyGoal | None = None if bytes is None else Bytes(most=bytes)
    if target is not None:
        metric, value = target
        if metric not in METRICS:
            raise ValueError(f"target: found the metric {metric!r}, expected one of {', '.join(METRICS)}")
        if math.isnan(METRICS[metric].function(picture.srgb8, picture.srgb8)):
            raise UnreachableError(f"the picture is too small for {metric}")
        goal = Score(metric=metric, value=value)
    return jpeg_config(
        preset,
        quality=quality,
        goal=goal,
        subsampling=subsampling,
        taste=loss,
        seed=seed,
        exif=picture.exif,
        icc=picture.icc,
    )


def _pinned(pin: Sequence[str | Color] | os.PathLike[str]) -> tuple[Color, ...]:
    if isinstance(pin, os.PathLike):
        return tuple((r, g, b) for r, g, b in read_palette(pin).tolist())
    return tuple(_codes(color) for color in pin)


def _codes(color: str | Color) -> Color:
    return parse_color(color) if isinstance(color, str) else color
