"""How much memory a palette takes: the most that the process holds at a time, estimated before it starts.

Each phase holds something whatever the picture, bytes for each of its pixels, and, where it works in windows, bytes for
each pixel of one. The latter two follow from the arrays; what a compiler makes of an expression was asked of it (its
temporaries of the sweep, of the re-fitting and of a step of training, by widths of the eye and by candidates). The
first was measured, on Linux and a CPU, with nothing compiled beforehand: that is the worst case. With programs from the
cache a small picture takes up to a fifth less.
"""

import dataclasses
import math

from diffquant.assignment import Network, PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.export import tiled_descent, tiles
from diffquant.export.classical import ErrorDiffusion, Ordered, Riemersma
from diffquant.export.dither import BlueNoise, Polish, Sample
from diffquant.losses import AnyLoss, BlurError, Butteraugli
from diffquant.metrics.registry import LARGE, WORKERS
from diffquant.pipelines.palette import Palette
from diffquant.signal.windows import Tile, windows

MIB = 2**20
# Bytes a pixel.
CODES, LIGHT, INDICES, ARTIFACT = 3, 12, 4, 2  # uint8 [h w 3]; float32 [3 h w]; int32 [h w]; uint8 [h w], twice
METRIC = 76  # of the metric that takes the most, beside the two pictures
BEYOND = 24  # measured at 3840x2160 beyond the arrays, in training and when all is done
# MiB whatever the picture: the interpreter, JAX and its programs, and the most while these are compiled.
LOADED = {"classical": 330, "training": 380, "polish": 410, "all losses": 620, "Butteraugli": 820}
COMPILING = {"classical": 420, "training": 600, "polish": 505, "all losses": 985, "Butteraugli": 1290}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phase:
    """What a phase of a run holds at the most, in bytes."""

    fixed: float  # whatever the picture: only where the arrays are the CPU's
    arrays: float


def phases(config: Config, h: int, w: int) -> dict[str, Phase]:
    """Those that may be the largest, for a picture of `h` x `w` pixels whose palette `config` tunes."""
    pipeline = config.pipeline
    assert isinstance(pipeline, Palette)  # what the command lines let through
    n, kinds = h * w, _kinds(config)
    loaded, compiling = (max(table[kind] for kind in kinds) * MIB for table in (LOADED, COMPILING))
    kept = n * (CODES + LIGHT + ARTIFACT + _state(pipeline, trained=config.steps > 0))
    dither = pipeline.dither
    during, after = _polish(dither, config, h, w) if isinstance(dither, Polish) else (0.0, 0.0)
    found = {
        "compiling": Phase(fixed=compiling, arrays=kept + during),
        "measuring": Phase(fixed=loaded, arrays=n * (2 * CODES + ARTIFACT + _measured(n))),
    }
    if config.steps > 0:
        found["training"] = Phase(fixed=loaded, arrays=kept + n * BEYOND + _training(config, h, w))
    match dither:
        case Polish():
            found["polishing"] = Phase(fixed=loaded, arrays=kept + after)
        case ErrorDiffusion() | Ordered() | Riemersma():
            found["dithering"] = Phase(fixed=loaded, arrays=kept + 2 * n * LIGHT)
        case Sample() | BlueNoise():
            drawn = 4 * 4 * _entries(pipeline)  # floats: cooled logits, their softmax, its sums, while these are made
            found["drawing"] = Phase(fixed=loaded, arrays=kept + n * drawn)
    return found


def _kinds(config: Config) -> set[str]:
    """Of programs that are loaded."""
    assert isinstance(config.pipeline, Palette)
    dither = config.pipeline.dither
    kinds = {"classical"}
    if config.steps > 0:
        kinds.add("training")
    if isinstance(dither, Polish):
        kinds.add("polish")
    judged = config.steps > 0 or (isinstance(dither, Polish) and dither.rounds > 0)
    if judged and not all(isinstance(loss, BlurError) for loss in config.losses.values()):
        kinds.add("all losses")
        if any(isinstance(loss, Butteraugli) for loss in config.losses.values()):
            kinds.add("Butteraugli")
    return kinds


def peak(config: Config, h: int, w: int, *, host: bool = True) -> int:
    """Bytes at the highest point. `host`: of the whole process; otherwise of an accelerator's arrays alone."""
    return math.ceil(max(host * phase.fixed + phase.arrays for phase in phases(config, h, w).values()))


def _measured(n: int) -> float:
    """Bytes a pixel: of large pictures one metric after another is measured."""
    return METRIC + BEYOND if n > LARGE else METRIC * WORKERS


def _entries(pipeline: Palette) -> int:
    """Logits at each pixel."""
    match pipeline.assignment:
        case PixelSoftmax():
            return pipeline.colors
        case TopK(n=n):
            return min(n, pipeline.colors)
    return 0


def _state(pipeline: Palette, *, trained: bool) -> float:
    """Bytes a pixel of the assignment: logits and two moments as floats; candidates."""
    match pipeline.assignment:
        case PixelSoftmax():
            return (12 if trained else 4) * _entries(pipeline)
        case TopK():
            return (13 if trained else 5) * _entries(pipeline)
        case Network():
            return 2 * LIGHT
    return INDICES


def _training(config: Config, h: int, w: int) -> float:
    """Bytes beside what belongs to pixels: of a step; by tiles also what neighbours still read, and a window's own."""
    if config.tiles is None:
        return h * w * _step(config)
    pipeline = config.pipeline
    assert isinstance(pipeline, Palette)
    reach = max(loss.reach() or 0 for loss in config.losses.values())
    window = _area(windows(h, w, config.tiles.side, 2 * reach))
    return h * w * 4 * _entries(pipeline) + window * (LIGHT + _step(config) + _state(pipeline, trained=True))


def _step(config: Config) -> float:
    """Bytes a pixel of a training step's temporaries: of the losses, and of each logit's weight and gradient."""
    pipeline = config.pipeline
    assert isinstance(pipeline, Palette)
    match pipeline.assignment:
        case PixelSoftmax():
            relaxed = 7.2 * _entries(pipeline)
        case TopK():
            relaxed = 52 + 12 * _entries(pipeline)  # also candidates as int32
        case _:
            relaxed = 70
    return relaxed + sum(_loss(loss) for loss in config.losses.values())


def _loss(loss: AnyLoss) -> float:
    return 141 + 96 * len(loss.sigmas) if isinstance(loss, BlurError) else 400


def _polish(dither: Polish, config: Config, h: int, w: int) -> tuple[float, float]:
    """Bytes beside the picture's own, while programs are compiled and while they run."""
    eye = dither.judge(config.losses.values())
    widths = sum(sigma > 0 for sigma in eye.sigmas)
    problem = 104 + 26 * widths  # forms at each pixel: of every width, unblurred, OkLab's own, curvature; the light
    sweep = 110 + 82 * widths  # errors and windows of every width
    judged = 450 + 400 * (len(config.losses) - 1)  # a round's slopes, of every loss
    if h * w <= dither.tile**2:
        return h * w * problem, h * w * (problem + (judged if dither.rounds else sweep))
    sampled = min(dither.sampled(), h * w)
    refit = 92 + 165 * widths
    steps = [
        sampled * (LIGHT + problem + sweep),
        _area(windows(h, w, dither.tile, tiles.halo_of(eye))) * (LIGHT + refit),
    ]
    if dither.rounds:
        losses = tuple(config.losses.values())
        steps.append(_area(tiled_descent.windows(h, w, losses, dither.tile)) * (LIGHT + judged))
    return sampled * (LIGHT + problem), max(steps)


def _area(found: tuple[tuple[int, int], list[Tile]]) -> int:
    """Pixels of a window."""
    return math.prod(found[0])
