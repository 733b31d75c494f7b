"""How a config is made to fit into a budget of memory: fewer candidates at each pixel, then training by tiles, then
smaller tiles of a polish."""

import dataclasses
from collections.abc import Iterator

from diffquant.assignment import AnyAssignment, PixelSoftmax, TopK
from diffquant.config import Config
from diffquant.export.dither import AnyDither, Polish
from diffquant.losses.base import LocalLoss
from diffquant.memory.model import peak
from diffquant.memory.size import in_words
from diffquant.pipelines.palette import Palette
from diffquant.signal.windows import windows
from diffquant.training import Tiles

SIDES = (1024, 896, 768, 640, 512)  # of tiles: below that the palette's sample takes more than a tile
SPARE = 1.1  # a budget is at least so many times the estimate: runs have taken up to 8 % more
CANDIDATES = (64, 32, 16, 8, 4)
TRAINING_SIDES = (512, 256, 128)  # of tiles that are trained: the smaller, the more of a window is halo


class BudgetError(ValueError):
    """Nothing fits. One line: what was found, and the least that would do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """A config that fits, and the bytes that it is estimated to take at the most, of so many."""

    config: Config
    estimate: int
    budget: int
    shape: tuple[int, int]

    def __str__(self) -> str:
        """One line."""
        assert isinstance(self.config.pipeline, Palette)
        ways = [*_of_training(self.config), *_of_dither(self.config, *self.shape)]
        return f"plan: {', '.join(ways)}, about {in_words(self.estimate)} of {in_words(self.budget)}"


def fit_to(config: Config, h: int, w: int, budget: int, *, host: bool = True) -> MemoryPlan:
    """The first of the `variants` of `config` whose estimate leaves a tenth of itself of the `budget`, in bytes.

    `host`: the budget is that of the process; otherwise that of an accelerator's arrays.

    Raises:
        BudgetError: none is.
    """
    if not isinstance(config.pipeline, Palette):
        raise BudgetError("found a codec without a palette, expected one with: of others the memory is not known")
    least = None
    for variant in variants(config):
        estimate = peak(variant, h, w, host=host)
        if SPARE * estimate <= budget:
            return MemoryPlan(config=variant, estimate=estimate, budget=budget, shape=(h, w))
        least = estimate if least is None else min(least, estimate)
    assert least is not None  # the config itself is a variant
    raise BudgetError(f"found {in_words(budget)}, expected at least {in_words(SPARE * least)} for {w}x{h} pixels")


def variants(config: Config) -> Iterator[Config]:
    """The config, then what takes less and less.

    Fewer candidates come first: they cost hardly any quality, and save time. Then training by tiles, whose steps are
    the same and take longer. Tiles of the polish last: they change what it finds.
    """
    pipeline = config.pipeline
    assert isinstance(pipeline, Palette)
    for dither in _in_smaller_tiles(pipeline.dither):
        for tiles in _by_smaller_tiles(config):
            for assignment in _with_fewer_candidates(pipeline.assignment, config):
                changed = dataclasses.replace(pipeline, dither=dither, assignment=assignment)
                yield dataclasses.replace(config, pipeline=changed, tiles=tiles)


def _in_smaller_tiles(dither: AnyDither) -> Iterator[AnyDither]:
    yield dither
    if isinstance(dither, Polish):
        yield from (dataclasses.replace(dither, tile=side) for side in SIDES if side < dither.tile)


def _by_smaller_tiles(config: Config) -> Iterator[Tiles | None]:
    assert isinstance(config.pipeline, Palette)
    now, assignment = config.tiles, config.pipeline.assignment
    yield now
    fixed = not (isinstance(assignment, TopK) and assignment.refresh)
    if config.steps > 0 and fixed and all(isinstance(loss, LocalLoss) for loss in config.losses.values()):
        batch = None if now is None else now.batch
        yield from (Tiles(side=side, batch=batch) for side in TRAINING_SIDES if now is None or side < now.side)


def _with_fewer_candidates(assignment: AnyAssignment, config: Config) -> Iterator[AnyAssignment]:
    yield assignment
    assert isinstance(config.pipeline, Palette)
    if config.steps == 0:  # nothing is trained
        return
    match assignment:
        case PixelSoftmax(rate=rate, sharpness=sharpness, relaxation=relaxation):
            for n in CANDIDATES:
                if n < config.pipeline.colors:
                    yield TopK(n=n, rate=rate, sharpness=sharpness, relaxation=relaxation)
        case TopK():
            yield from (dataclasses.replace(assignment, n=n) for n in CANDIDATES if n < assignment.n)


def _of_training(config: Config) -> list[str]:
    """In words, what is trained."""
    assert isinstance(config.pipeline, Palette)
    if config.steps == 0:
        return []
    by = "" if config.tiles is None else f" by tiles of {config.tiles.side}"
    match config.pipeline.assignment:
        case PixelSoftmax():
            return [f"training all {config.pipeline.colors} at each pixel{by}"]
        case TopK(n=n):
            nearest = min(n, config.pipeline.colors)
            return [f"training the nearest {nearest} of {config.pipeline.colors} at each pixel{by}"]
    return [f"training{by}"]


def _of_dither(config: Config, h: int, w: int) -> list[str]:
    """In words, how the choices are made hard."""
    assert isinstance(config.pipeline, Palette)
    dither = config.pipeline.dither
    if not isinstance(dither, Polish):
        return ["dither in one pass"]
    if h * w <= dither.tile**2:
        return ["polish of the whole"]
    (rows, columns), parts = windows(h, w, dither.tile, halo=0)
    return [f"polish in {len(parts)} tiles of {columns}x{rows}"]
