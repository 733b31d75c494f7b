"""Descent on hard indices under any differentiable losses: propose by slope and curvature, accept by the losses.

With slope g in a pixel's light and curvature D along OkLab's axes, giving the pixel another entry changes the loss by
about g.d + (d.D d) / 2, d being the move in light. In each round the pixels that would gain most, each the best within
REACH of it, take their best entries all at once. Then the slope g' of the new picture tells what each has really
brought: (g + g').d / 2. Where the loss is quadratic along the way (the trapezoid rule) that is exact, and its sum over
the pixels is the change of the loss. Pixels that brought nothing go back, and are more cautious next time.
"""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffquant import color
from diffquant.export import polish
from diffquant.export.judged import Colors, Found, Index, Problem, curvature_of
from diffquant.export.lattice import Grid
from diffquant.export.proposals import REACH, accept, propose, remember
from diffquant.interfaces import Image
from diffquant.losses.blur import BlurError
from diffquant.programs import traced_once

FARTHEST_REACH = 16  # pixels
WINDOW = 4  # rounds between two looks at the loss itself, each followed by a step of the palette
FRESH = 3  # windows between two measurements of the curvature
CAUTION, DOUBT, TRUST = 1.0, 2.0, 0.7  # factor of a pixel's curvature, at least; its change by windows that fail, help
SHY, BOLD = 3.0, 0.2  # factor while pixels settle: at first what is sure to help, at the end whatever might
SHYER, BOLDER = 1.3, 0.85  # its change by rounds that fail, and by others
TRIES = 4  # entries that a pixel remembers to have tried
TRIAL, FARTHEST = 0.002, 10.0  # light: the palette's trial step; trial steps in one


def descend(
    index: Index, colors: Colors, problem: Problem, rounds: int, *, tolerance: float, key: jax.Array
) -> Iterator[tuple[float, Colors, Index]]:
    """Rounds of descent: (share done, palette in linear light, indices). The loss never rises, but by rounding once.

    The palette moves after every WINDOW of them. For the last third it is rounded as a file of 8 bits does it, and
    pixels settle. Goes over to that, or ends, when fewer than `tolerance` of the pixels are still proposed to change.
    """
    best = problem.at(index, colors)
    caution = jnp.full(index.shape, CAUTION)
    settling = max(rounds // 3, 1)
    moving = -(-(rounds - settling) // WINDOW)
    for done in range(moving):
        if done % FRESH == 0:
            curvature = curvature_of(best, problem, jax.random.fold_in(key, done))
        found, caution, proposed = _window(best, problem, curvature, caution)
        if found.loss < best.loss:
            best, caution = found, jnp.maximum(TRUST * caution, CAUTION)
        else:
            caution = DOUBT * caution
        if problem.quadratic is not None:
            best = _moved(best, problem, problem.quadratic)
        yield (done + 1) * WINDOW / (moving * WINDOW + settling), best.colors, best.index
        if proposed < tolerance * problem.changing:
            break
    best = problem.at(best.index, jnp.asarray(_as_written(best.colors)))
    for share, index in _settle(best, problem, settling, tolerance, key):
        yield 1 - (1 - share) * settling / (moving * WINDOW + settling), best.colors, index


def _settle(
    best: Found, problem: Problem, rounds: int, tolerance: float, key: jax.Array
) -> Iterator[tuple[float, Index]]:
    """Until every pixel has tried its TRIES most promising other entries, or for so many rounds: share, indices.

    The slope is that of the picture as it is, in every round. Changes that each seem to help may not do so together:
    after such a round pixels are proposed more cautiously, after others more boldly. What failed is not tried again
    until a pixel near it has changed. Where changes far away matter, or a pixel has more than TRIES other entries, one
    may still help.
    """
    tried = jnp.full((TRIES, *best.index.shape), -1, jnp.int32)
    waiting = jnp.zeros(best.index.shape, bool) | problem.held
    curvature, factor, reach = curvature_of(best, problem, key), SHY, REACH
    for done in range(1, rounds + 1):
        caution = jnp.full(best.index.shape, factor)
        proposed, chosen = propose(best.index, best.colors, best.slope, curvature, caution, waiting, tried, reach)
        all_taken = problem.at(proposed, best.colors)
        index, _, _ = accept(best.index, proposed, best.colors, best.slope, all_taken.slope, chosen, caution)
        found = min(problem.at(index, best.colors), all_taken, key=lambda candidate: candidate.loss)
        helped = found.loss < best.loss
        kept = (found.index if helped else index) != best.index
        failed = chosen & ~kept
        if not helped and not jnp.any(failed):  # each seemed to help, but all together did not
            failed = chosen
        best = found if helped else best
        tried = remember(tried, proposed, failed, kept & helped)
        yield done / rounds, best.index
        few = int(jnp.sum(chosen)) <= tolerance * problem.changing
        if few and factor <= BOLD:
            if reach >= FARTHEST_REACH:
                return
            reach, tried = 2 * reach, jnp.full_like(tried, -1)  # they may have been in each other's way
            factor = 0.0  # all that may help if the loss is convex
        elif factor > 0:
            factor = max(factor * (BOLDER if helped or few else SHYER), BOLD)


def _as_written(colors: Colors) -> Float[np.ndarray, "k 3"]:
    return color.linear_from_srgb8(color.srgb8_from_linear(np.asarray(colors)))


def _window(
    found: Found, problem: Problem, curvature: Float[Array, "6 h w"], caution: Float[Array, "h w"]
) -> tuple[Found, Float[Array, "h w"], int]:
    """Rounds between two looks at the loss. Between them the slope is that of the last proposals, taken all.

    It is out of date where one of them went back, so pixels near those wait.
    """
    index, slope, colors = found.index, found.slope, found.colors
    waiting = jnp.zeros(index.shape, bool) | problem.held
    nothing, total = jnp.full((0, *index.shape), -1, jnp.int32), jnp.int32(0)
    for _ in range(WINDOW):
        proposed, chosen = propose(index, colors, slope, curvature, caution, waiting, nothing, REACH)
        after = problem.at(proposed, colors).slope
        index, caution, unsure = accept(index, proposed, colors, slope, after, chosen, caution)
        waiting = unsure | problem.held
        slope, total = after, total + jnp.sum(chosen)
    return problem.at(index, colors), caution, int(total)


def _moved(found: Found, problem: Problem, quadratic: polish.Quadratic) -> Found:
    """The palette after a step along the way that would be best if the losses bent as `eye` does.

    A trial step tells how they do bend along it, and so how far to go. The best of all three, which may be none.
    """
    slope = _palette_slope(found.index, found.slope, found.colors)
    way = _palette_way(found.index, slope, problem.free, quadratic, problem.eye, problem.grid)
    way = TRIAL * way / np.maximum(np.max(np.abs(way)), 1e-12)

    def at(length: float) -> Found:
        return problem.at(found.index, jnp.clip(found.colors + length * way, 0.0, 1.0))

    trial = at(1.0)
    descent = float(np.vdot(slope, way))
    bend = float(np.vdot(_palette_slope(trial.index, trial.slope, trial.colors), way)) - descent
    length = min(-descent / bend, FARTHEST) if bend > 0 else FARTHEST
    return min(found, trial, at(length), key=lambda candidate: candidate.loss)


@jax.jit
def _palette_slope(index: Index, slope: Image, colors: Colors) -> Colors:
    return polish.by_entry(slope, index, len(colors))


@traced_once(static=("eye", "grid"))
def _palette_way(
    index: Index, slope: Colors, free: Float[Array, " k"], quadratic: polish.Quadratic, eye: BlurError, grid: Grid
) -> Colors:
    return polish.newton_step(-slope * free[:, None], index, free, quadratic, eye, grid, 3)
