"""The loop over steps: chunks, snapshots, and when to stop."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from diffquant.interfaces import Image
from diffquant.training.plan import Plan, PlanError, State
from diffquant.training.tiled import Tiled
from diffquant.training.whole import Whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state after `step` of `steps`, with `pipeline` in it.

    Both are valid until the next snapshot is asked for: buffers are reused. `loss` is the weighted sum, `parts` the
    unweighted losses by name, both at the last step.
    """

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    pipeline: Any
    state: State


def fit(
    pipeline: Any, target: Image, plan: Plan, *, key: jax.Array, start: State | None = None, mesh: Mesh | None = None
) -> Iterator[Snapshot]:
    """Tune `pipeline` on `target`: a snapshot after every chunk. The caller logs, draws, saves or stops.

    Before every chunk but the first a pipeline that is `Refreshable` is refreshed.

    The devices of a `mesh` (`mesh_for`) share the picture's rows and what belongs to them; the same steps, up to
    rounding. In snapshots variables are then shared out too (`gathered`).

    From `start`, the state of a snapshot under the same arguments, follow the snapshots that followed it there, bit for
    bit on the same machine.

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
        PlanError: the plan asks for tiles, and the pipeline renders only whole pictures, or there is a mesh.
        StateError: `start` is the state of another pipeline.
    """
    if plan.steps == 0 or (start is not None and start.over):
        return
    if plan.tiles is not None and mesh is not None:
        raise PlanError(f"tiles: found {mesh.size} devices, expected one")
    work: Whole | Tiled
    if plan.tiles is None:
        work = Whole(pipeline, target, plan, key=key, start=start, mesh=mesh)
    else:
        work = Tiled(pipeline, target, plan, key=key, start=start)
    step, before = (0, math.inf) if start is None else (start.step, start.mean)
    over = False
    while not over:
        if step > 0:
            work.refresh()
        totals, parts = work.advance(min(plan.every, plan.steps - step))
        history = finite(totals, parts, step)
        step += len(history)
        mean = float(history.mean())
        settled = plan.tolerance is not None and before - mean < plan.tolerance * abs(before)
        before, over = mean, settled or step == plan.steps
        yield Snapshot(
            step=step,
            steps=plan.steps,
            loss=float(history[-1]),
            parts={name: float(part[-1]) for name, part in parts.items()},
            pipeline=work.tuned(),
            state=State(step=step, mean=mean, over=over, arrays=work.arrays()),
        )


def finite(totals: Any, parts: dict[str, Any], step: int, what: str = "") -> Float[np.ndarray, " s"]:
    """The losses of a chunk that began at `step`.

    Raises:
        FloatingPointError: one is not finite; the message names `what`, the step and the parts.
    """
    history = np.asarray(totals)
    if not np.isfinite(history).all():
        first = int(np.argmin(np.isfinite(history)))
        found = ", ".join(f"{name} = {float(part[first]):.4g}" for name, part in parts.items())
        raise FloatingPointError(f"{what}the loss is {history[first]} at step {step + first}: {found}")
    return history
