"""Many pictures: some are read, encoded and measured while others are computed, and few programs serve all sizes."""

import collections
import concurrent.futures
import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from diffquant.config import Config
from diffquant.export.together import sides
from diffquant.image import Picture
from diffquant.interfaces import Companionable
from diffquant.losses.base import LocalLoss
from diffquant.pipelines.palette import Palette
from diffquant.runner import Result, finish, keys, never, stages
from diffquant.training import fit_batch

Job = Callable[[], tuple[Picture, Config]]  # reads a picture, and says how it is to be compressed
Outcome = Result | Exception | None

MOST_WORKERS = 8  # each holds a picture and its polish
CHUNK = 16  # pictures that a worker takes at once where an accelerator computes them together


def compress_many(
    jobs: Iterable[Job], *, stop: Callable[[], bool] = never, alone: bool = False
) -> Generator[Outcome, None, None]:
    """What becomes of every job, in order: a result, or why there is none (a picture that cannot be read, or used).

    Pictures whose codec takes companions share compiled programs, by padding to few sizes: 40 pictures of 40 sizes from
    60 to 400 pixels a side need 15 of them. Each of a CPU's cores takes a picture. Those that are trained, in such
    arrays too, and the rest, by `stages`, go one by one.

    Jobs are taken lazily: twice as many as there are workers are under way. Once `stop` says yes no more are begun, and
    what is not finished is None. `alone`: one at a time, all by `stages`, in the memory of one.

    A file depends on its picture and config only. It is that of `compress` but for rounding, where two colours are as
    good: other compiled programs, other last bits, and one choice changes those around it. Of 60 pictures of 96x64,
    `balanced`, 16 colours, 47 were the same bytes, and of eight of 768x512 four; where thumbnails differed, the blurred
    error did by -5 to +4 %, SSIMULACRA2 by -1.2 to +0.3 points.
    """
    workers = 1 if alone else min(_cores(), MOST_WORKERS)
    size = 1 if alone or jax.default_backend() == "cpu" else CHUNK
    left = threading.Event()  # by whoever takes the results
    turn = None if alone else threading.Lock()  # of what goes one by one

    def ended() -> bool:
        return left.is_set() or stop()

    waiting = iter(jobs)
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    pending: collections.deque[concurrent.futures.Future[list[Outcome]]] = collections.deque()
    try:
        while True:
            while len(pending) < 2 * workers and not ended() and (chunk := list(itertools.islice(waiting, size))):
                pending.append(pool.submit(_outcomes, chunk, turn, ended))
            if not pending:
                return
            yield from pending.popleft().result()
    finally:
        left.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _outcomes(jobs: Sequence[Job], turn: "threading.Lock | None", stop: Callable[[], bool]) -> list[Outcome]:
    """Without `turn` everything goes one by one anyway."""
    started = time.perf_counter()
    outcomes: list[Outcome] = [None] * len(jobs)
    loaded: dict[int, tuple[Picture, Config]] = {}
    for n, job in enumerate(jobs):
        try:
            if not stop():
                loaded[n] = job()
        except (ValueError, OSError) as error:
            outcomes[n] = error
    artifacts = _shared(loaded, stop) if turn is not None else {}
    for n, (picture, config) in loaded.items():
        try:
            if artifacts.get(n) is None and not stop() and (turn is None or not _is_shared(picture, config)):
                with turn or contextlib.nullcontext():
                    artifacts[n] = _by_itself(picture, config, stop)
            if (artifact := artifacts.get(n)) is not None:
                outcomes[n] = finish(picture, artifact, started=started, names=config.pipeline.figures)
        except FloatingPointError as error:
            outcomes[n] = error
    return outcomes


def _is_shared(picture: Picture, config: Config) -> bool:
    """Whether its choices are made by a program that serves others too."""
    spec: Any = config.pipeline
    return config.steps == 0 and isinstance(spec, Companionable) and spec.takes_companions(picture.srgb8)


def _shared(loaded: dict[int, tuple[Picture, Config]], stop: Callable[[], bool]) -> dict[int, Any]:
    """Artifacts by number, of those pictures that take companions."""
    artifacts: dict[int, Any] = {}
    groups: list[tuple[Config, list[int]]] = []
    for n, (picture, config) in loaded.items():
        if not _is_shared(picture, config):
            continue
        if (exact := config.pipeline.exact(picture.srgb8)) is not None:
            artifacts[n] = exact
            continue
        members = next((members for other, members in groups if other == config), None)
        if members is None:
            groups.append((config, members := []))
        members.append(n)
    for config, members in groups:
        spec: Any = config.pipeline
        pictures = [(loaded[n][0].srgb8, loaded[n][0].linear()) for n in members]
        _, hardening = keys(config.seed)
        found = spec.together(pictures, tuple(config.losses.values()), key=hardening, stop=stop)
        artifacts |= {n: artifact for n, artifact in zip(members, found, strict=True) if artifact is not None}
    return artifacts


def _by_itself(picture: Picture, config: Config, stop: Callable[[], bool]) -> Any:
    """The artifact of the last stage; None if it is not finished."""
    artifact = None
    if _is_trained_in_larger_arrays(config) and config.pipeline.exact(picture.srgb8) is None:
        return _trained(picture, config, stop)
    for stage in stages(picture, config, stop=stop):
        artifact = stage.artifact
    return None if stop() else artifact


def _is_trained_in_larger_arrays(config: Config) -> bool:
    """Whether its descent can be that of a program for several sizes."""
    alike = isinstance(config.pipeline, Palette) and config.steps > 0
    local = all(isinstance(loss, LocalLoss) and not loss.fills for loss in config.losses.values())
    return alike and local and config.tiles is None and config.tolerance is None


def _trained(picture: Picture, config: Config, stop: Callable[[], bool]) -> Any:
    """As `stages`, but for a descent in arrays of one of few sizes."""
    relaxing, hardening = keys(config.seed)
    target, losses = jnp.asarray(picture.linear()), tuple(config.losses.values())
    pipeline: Any = config.pipeline.build(picture.srgb8, target)
    size = sides(*target.shape[1:])
    for (snapshot,) in fit_batch([pipeline], [target], config.plan(), keys=[relaxing], size=size):
        pipeline = snapshot.pipeline
        if stop():
            return None
    *_, (_, artifact) = pipeline.harden(target, losses, key=hardening)
    return None if stop() else artifact
