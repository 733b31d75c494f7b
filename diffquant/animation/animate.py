"""A clip in, an animated GIF out: a first pass for palettes, a second that writes each frame as it is made."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from diffquant import color
from diffquant.animation.clip import Clip, Frame
from diffquant.animation.gif import GifWriter, Sink
from diffquant.animation.steady import Follower, Steady
from diffquant.animation.survey import Scene, survey
from diffquant.export.names import FrameDither
from diffquant.image import ImageError
from diffquant.palette.histogram import codes_from_colors, colors_from_codes
from diffquant.palette.sample import labels_of, sample
from diffquant.pipelines.palette import Palette
from diffquant.presets import Preset, classical, eye, palette_config
from diffquant.runner import keys, never

COUNTED = 2_000_000  # pixels whose colours the first palette is made of
MOSAIC = 400_000  # pixels on which palette and dither are tuned together
SWEEPS = {"fast": 2, "balanced": 3, "best": 8}  # of a frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Animation:
    """Settings of an animated GIF.

    Its tables have at most `colors` entries, one of them transparent. There is one for the whole clip, or one a scene.
    `dither` is the descent from frame to frame, or a classical one that knows of no other frame: of these the ordered
    ones (bayer, blue-noise-mask) stand still where the clip does.
    `loop` is as a GIF has it (0: for ever; None: once); by default the clip's own.
    """

    colors: int = 256
    palettes: Literal["clip", "scene"] = "clip"
    preset: Preset = "balanced"
    dither: FrameDither = "steady"
    steady: Steady = Steady()
    loop: int | Literal["keep"] | None = "keep"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.colors <= 256:
            raise ValueError(f"colors: found {self.colors}, expected 2 to 256, one of them transparent")
        if isinstance(self.loop, int) and not 0 <= self.loop <= 65535:
            raise ValueError(f"loop: found {self.loop}, expected 0 to 65535")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """How far a clip is: what is being done, the share of it (of a guess, where the number of frames is unknown), and
    after each frame of the clip, which frame of the file shows it."""

    name: Literal["survey", "palette", "frames"]
    share: float
    place: int | None = None


def animate(clip: Clip, settings: Animation, file: Sink, *, stop: Callable[[], bool] = never) -> Iterator[Step]:
    """Writes `clip` to `file` as an animated GIF. Memory is that of a few frames.

    A scene of few colours keeps them exactly. `stop` is asked at every frame: once it says yes, the file is ended.

    Raises:
        ImageError: the clip cannot be read.
    """
    expected = clip.estimate() or 0
    scenes: list[Scene] = []
    for scene in survey(clip.frames(), settings.colors - 1, cuts=settings.palettes == "scene"):
        if not scenes or scenes[-1] is not scene:
            scenes.append(scene)
        yield Step(name="survey", share=min((scene.start + scene.frames) / max(expected, 1), 1.0))
        if stop():
            break
    total = scenes[-1].start + scenes[-1].frames
    palettes = []
    for done, scene in enumerate(scenes):
        yield Step(name="palette", share=done / len(scenes))
        palettes.append(_palette(scene, settings))
        scene.samples.clear()
    loop = clip.loops() if settings.loop == "keep" else settings.loop
    yield from _write(clip, settings, scenes, palettes, total, loop, file, stop)


def _write(
    clip: Clip,
    settings: Animation,
    scenes: list[Scene],
    palettes: list[UInt8[np.ndarray, "k 3"]],
    total: int,
    loop: int | None,
    file: Sink,
    stop: Callable[[], bool],
) -> Iterator[Step]:
    writer: GifWriter | None = None
    current = -1
    for number, frame in enumerate(clip.frames()):
        if number == total:  # the survey was cut short
            break
        h, w = frame.srgb8.shape[:2]
        if writer is None:
            if max(h, w) > 65535:
                raise ImageError(clip.name, f"found {w}x{h} pixels", "at most 65535 a side, as a GIF has")
            writer = GifWriter(file, w, h, palettes[0], loop=loop)
        if current + 1 < len(scenes) and number == scenes[current + 1].start:
            current += 1
            choose = _chooser(scenes[current], palettes[current], settings)
        indices = choose(frame, number)
        place = writer.add(indices, frame.delay, opaque=frame.opaque, palette=palettes[current])
        yield Step(name="frames", share=(number + 1) / total, place=place)
        if stop():
            break
    assert writer is not None  # a clip has frames
    writer.close()


def _palette(scene: Scene, settings: Animation) -> UInt8[np.ndarray, "k 3"]:
    """Exactly the scene's colours, or those that serve a dither of its samples best."""
    if scene.colors is not None:
        return colors_from_codes(scene.colors) if len(scene.colors) else np.zeros((1, 3), np.uint8)
    preset: Preset = "balanced" if settings.preset == "best" else settings.preset
    k = settings.colors - 1
    config = palette_config(preset, colors=k, seed=settings.seed)
    spec = config.pipeline
    assert isinstance(spec, Palette)  # that is what the preset is
    step = -(-sum(sample.size for sample in scene.samples) // (3 * COUNTED))
    colors = np.concatenate([sample.reshape(-1, 3)[::step] for sample in scene.samples])[None]
    start = spec.start(colors)
    blocks = sample(labels_of(scene.samples, start), len(start), MOSAIC)
    mosaic = np.concatenate([block.of(np.moveaxis(scene.samples[block.picture], -1, 0)) for block in blocks], axis=1)
    target = jnp.asarray(color.linear_from_srgb8(mosaic))
    pipeline = spec.build_from(start, target)
    *_, (_, artifact) = pipeline.harden(target, tuple(config.losses.values()), key=keys(settings.seed)[1])
    return np.unique(artifact.palette, axis=0)


def _chooser(
    scene: Scene, palette: UInt8[np.ndarray, "k 3"], settings: Animation
) -> Callable[[Frame, int], UInt8[np.ndarray, "h w"]]:
    """What makes the indices of one frame of the scene after another."""
    if (codes := scene.colors) is not None:

        def exact(frame: Frame, number: int) -> UInt8[np.ndarray, "h w"]:
            return codes.searchsorted(codes_from_colors(frame.srgb8)).clip(max=len(palette) - 1).astype(np.uint8)

        return exact
    linear = color.linear_from_srgb8(palette)
    if settings.dither != "steady":
        dither = classical(settings.dither)
        return lambda frame, number: dither.indices(color.linear_from_srgb8(frame.srgb8), linear)
    follower = Follower(linear, eye(settings.colors), settings.steady, SWEEPS[settings.preset], settings.seed)

    def next_one(frame: Frame, number: int) -> UInt8[np.ndarray, "h w"]:
        target = color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(frame.srgb8, -1, 0)))
        return follower(jnp.asarray(target), number)

    return next_one
