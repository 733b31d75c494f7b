"""The choice of levels under any differentiable losses: propose by slope, curvature and bits, accept by the losses.

In each round a random share of the blocks take the levels that a trellis finds best under a quadratic model of the
losses. The slope of the new picture then tells what each block has really brought: by the trapezoid rule,
(slope before + slope after) / 2 times its move, plus the price of its bits. Blocks that brought nothing go back.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from diffquant.jpeg import trellis
from diffquant.jpeg.curvature import Curvature, plausible
from diffquant.jpeg.judge import Found, Levels, Plane, Problem, Steps
from diffquant.jpeg.prices import Prices, prices
from diffquant.jpeg.search import Search

BANDS = ((1, 9), (1, 9))  # first positions of the scans' bands: of luma, of chroma
WINDOW = 4  # rounds between two looks at the losses themselves, each followed by a step of the tables
MORE, LESS, LEAST_CAUTION = 2.0, 0.85, 0.5  # factors of a block's curvature after failure and success
INERTIA, TRUST = 0.6, (0.5, 8.0)  # how slowly a component's curvature is corrected, and by how much at most
LONGEST = 255


def rounded(ideal: Sequence[Plane], steps: Steps, threshold: float) -> tuple[Levels, ...]:
    """Levels nearest to the ideal, AC rounded up from `threshold` on: what costs many bits starts lower."""
    levels = []
    for plane, step in zip(ideal, steps, strict=True):
        level = np.sign(plane) * np.floor(np.abs(plane / step) + 1 - threshold)
        level[:, 0] = np.round(plane[:, 0] / step[0])
        levels.append(level.astype(np.int32))
    return tuple(levels)


def price_lists(levels: Sequence[Levels]) -> list[Prices]:
    """For each component: luma has its own Huffman tables, both chromas share theirs."""
    luma = prices(levels[:1], BANDS[0])
    return [luma] if len(levels) == 1 else [luma, *[prices(levels[1:], BANDS[1])] * 2]


def _cubes(levels: Levels, ideal: Plane) -> Plane:
    return np.abs(levels - ideal) ** 3


@dataclasses.dataclass
class _Component:
    """What is remembered of one component's blocks, which have neither moved nor failed yet."""

    count: int
    trust: float = 1.0  # factor of its curvature: how much more it bent than was thought

    def __post_init__(self) -> None:
        self.caution: Float[np.ndarray, " n"] = np.ones(self.count, np.float32)
        self.waiting: Bool[np.ndarray, " n"] = np.zeros(self.count, bool)  # for a slope that is up to date

    def judge(self, changed: Bool[np.ndarray, " n"], failed: Bool[np.ndarray, " n"]) -> None:
        """Blocks that failed are more cautious from now on, and wait."""
        bolder = np.maximum(LESS * self.caution, LEAST_CAUTION)
        self.caution = np.where(failed, MORE * self.caution, np.where(changed, bolder, self.caution))
        self.waiting = failed


class Descent:
    """Levels and tables on their way down: `best` is the best found so far, under `price`, that of a bit.

    May go on after its end, with another `price` too: then what was best before is forgotten.
    """

    def __init__(self, problem: Problem, levels: Sequence[Levels], steps: Steps, search: Search, *, seed: int) -> None:
        self._problem, self._search = problem, search
        self._random = np.random.default_rng(seed)
        self._components = [_Component(len(level)) for level in levels]
        self._curvature = Curvature(problem.geometry.blocks)
        self._now = problem.at(levels, steps)
        for _ in range(search.probes):
            self._probe()
        unit = max(self._curvature.mean(), 0.0)  # which a loss that bends down would have below 0
        self.price = problem.price if problem.price > 0 else search.price * unit
        self._drift = search.drift * unit
        self.best, self._least = self._now, self._cost(self._now)

    def run(self, rounds: int) -> Iterator[tuple[int, Found]]:
        """Rounds done and the best so far, after each round."""
        self.best, self._least = self._now, self._cost(self._now)
        for done in range(1, rounds + 1):
            levels, after = self._round()
            if done % WINDOW and done < rounds:
                self._now = dataclasses.replace(after, levels=levels)
            else:
                self._now = self._problem.at(levels, self._now.steps)
                for component in self._components:
                    component.waiting[:] = False
                self._keep(self._now)
                if done < rounds:
                    self._probe()
            yield done, self.best
        self._now = self.best

    def _keep(self, found: Found) -> None:
        """Remember what is best. Other tables are another measure of drift, so that what costs least starts anew."""
        if (cost := self._cost(found)) < self._least:
            self.best, self._least = found, cost
            if self._search.refit:
                self.best = self._now = self._refitted(found)
                self._least = self._cost(self.best)

    def _cost(self, found: Found) -> float:
        """All that a round weighs: the losses, the bits, the drift."""
        lists = price_lists(found.levels)
        bits = sum(one.bits(level).sum() for one, level in zip(lists, found.levels, strict=True))
        drift = sum(_cubes(level, u).sum() for level, u in zip(found.levels, self._ideal(found.steps), strict=True))
        return found.loss + self.price * float(bits) + self._drift * float(drift)

    def _ideal(self, steps: Steps) -> list[Plane]:
        return [(plane / step).astype(np.float32) for plane, step in zip(self._problem.ideal, steps, strict=True)]

    def _probe(self) -> None:
        """Measure the curvature once more."""
        now = self._now
        moves = [plausible(level, u, self._random) for level, u in zip(now.levels, self._ideal(now.steps), strict=True)]
        there = self._problem.at([a + b for a, b in zip(now.levels, moves, strict=True)], now.steps)
        change = [b - a for a, b in zip(now.slopes, there.slopes, strict=True)]
        self._curvature.add(now.levels, moves, change)

    def _round(self) -> tuple[tuple[Levels, ...], Found]:
        """Levels after one round; and what the proposals were, all taken."""
        now, ideal, lists = self._now, self._ideal(self._now.steps), price_lists(self._now.levels)
        bends = self._curvature.of(now.levels)
        proposed = [
            self._proposal(c, now.levels[c], ideal[c], now.slopes[c], bends[c], lists[c])
            for c in range(len(now.levels))
        ]
        after = self._problem.at(proposed, now.steps)
        accepted = []
        for c, (old, new) in enumerate(zip(now.levels, proposed, strict=True)):
            move = new - old
            brought = 0.5 * np.sum((now.slopes[c] + after.slopes[c]) * move, axis=1)
            brought += self.price * (lists[c].bits(new) - lists[c].bits(old))
            brought += self._drift * np.sum(_cubes(new, ideal[c]) - _cubes(old, ideal[c]), axis=1)
            changed = np.any(move != 0, axis=1)
            failed = changed & (brought >= 0)
            component = self._components[c]
            component.judge(changed, failed)
            thought = component.trust * float(np.sum(bends[c] * np.square(move)))
            found = 0.5 * float(np.sum((after.slopes[c] - now.slopes[c]) * move))
            ratio = found / thought if thought > 0 else 1.0
            component.trust = float(np.clip(component.trust * (INERTIA + (1 - INERTIA) * ratio), *TRUST))
            accepted.append(np.where(failed[:, None], old, new))
        return tuple(accepted), after

    def _proposal(self, c: int, old: Levels, ideal: Plane, slope: Plane, bend: Plane, one: Prices) -> Levels:
        """The trellis's choice for a random share of a component's blocks."""
        component, (below, zero, dc) = self._components[c], self._search.limits
        active = (self._random.random(len(old)) < self._search.share) & ~component.waiting
        bend = bend * (component.trust * component.caution)[:, None].astype(np.float32)
        new = old.copy()
        model = (ideal, slope, bend, active)
        ends = (one.symbols, one.early, one.empty, one.band, one.first, one.last)
        trellis.choose_ac(new, *model, *ends, self.price, below, zero, self._drift)
        trellis.choose_dc(new, *model, one.sizes, self.price, dc, self._drift)
        return new

    def _refitted(self, found: Found) -> Found:
        """With the tables that would be best for these levels if the losses were quadratic, if they are better."""
        bends = self._curvature.of(found.levels)
        steps = []
        for level, slope, bend, step in zip(found.levels, found.slopes, bends, found.steps, strict=True):
            pull = np.sum(slope * level, axis=0) / step
            stiff = 2 * np.sum(bend * np.square(level.astype(np.float32)), axis=0) / np.square(step)
            way = np.where(stiff > 0, -pull / np.maximum(stiff, 1e-30), 0)
            steps.append(np.clip(np.round(step + way), 1, LONGEST).astype(np.float32))
        moved = self._problem.at(found.levels, tuple(steps))
        return moved if moved.loss < found.loss else found
