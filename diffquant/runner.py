"""A picture and a config in, a file out: relax, then harden, one stage after another."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import UInt8

from diffquant.config import Config
from diffquant.files import write_atomically
from diffquant.image import Picture
from diffquant.interfaces import Artifact, Image, Shareable
from diffquant.memory.heap import trim
from diffquant.report import Report, decode, report_of
from diffquant.training import PlanError, Snapshot, State, fit, gathered, mesh_for, of_first, restored, shared_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a run stands: what it is doing, the share done of that, the best file so far.

    While relaxing: the loss, the snapshot, and `draft`, which makes the choices as they stand, as stopping would; each
    of several processes has to ask for it, and the first one gets it. From the stage "alone" on no process waits for
    another: the first one goes on, and the others end.
    """

    name: str
    share: float
    loss: float | None = None
    artifact: Artifact | None = None
    snapshot: Snapshot | None = None
    draft: Callable[[], Artifact | None] | None = None


def never() -> bool:
    """Run to the end."""
    return False


def keys(seed: int) -> list[jax.Array]:
    """Two independent keys: for relaxing, and for making choices hard.

    NumPy mixes the seed: to compile JAX's own split takes longer than to read a picture.
    """
    words = np.random.SeedSequence(seed).generate_state(4)
    return [jax.random.wrap_key_data(jnp.asarray(half)) for half in (words[:2], words[2:])]


def stages(
    picture: Picture,
    config: Config,
    *,
    stop: Callable[[], bool] = never,
    start: State | None = None,
    devices: Sequence[jax.Device] = (),
) -> Iterator[Stage]:
    """Run `config` on `picture`. The last stage holds the result.

    `stop` is asked at every stage: once it says yes, the choices are made as they stand, and that is the last stage.
    From `start`, the state of an earlier run's snapshot, the run continues as that one did: the same file. If there are
    several `devices`, they share out the picture's rows in gradient descent, unless that goes by tiles.

    Raises:
        PlanError: tiles do not suit the pipeline; devices of several processes cannot share out the rows equally,
            or the pipeline needs more than these, or goes by tiles.
        StateError: `start` is the state of another pipeline.
    """
    spec, several, first = config.pipeline, jax.process_count() > 1, jax.process_index() == 0
    exact = spec.exact(picture.srgb8) if first else None
    shares = len(devices) > 1 and config.steps > 0 and config.tiles is None
    if several and config.steps > 0 and not (shares and isinstance(spec, Shareable)):
        found = "tiles" if config.tiles is not None else f"the pipeline {type(spec).__name__}"
        raise PlanError(f"processes: found {jax.process_count()}, expected one with {found}")
    if several:
        shares = shares and not of_first(np.array(exact is not None))
        if not shares:
            yield Stage(name="alone", share=1.0)
            if not first:
                return
    if exact is not None:
        yield Stage(name="exact", share=1.0, artifact=exact)
        return
    relaxing, hardening = keys(config.seed)
    mesh = mesh_for(len(picture.srgb8), devices) if shares else None
    target, pipeline = _built(spec, picture, mesh)
    if start is not None:
        pipeline = restored(pipeline, start)
    yield Stage(name="relax", share=0.0 if start is None else start.step / config.steps)

    def harden(pipeline: Any) -> Iterator[tuple[float, Artifact]]:
        whole = target if mesh is None else jnp.asarray(picture.linear())
        return pipeline.harden(whole, tuple(config.losses.values()), key=hardening)

    def draft() -> Artifact | None:
        whole = pipeline if mesh is None else gathered(pipeline)
        return next(harden(whole))[1] if first else None

    for snapshot in fit(pipeline, target, config.plan(), key=relaxing, start=start, mesh=mesh):
        pipeline = snapshot.pipeline
        share = snapshot.step / snapshot.steps
        yield Stage(name="relax", share=share, loss=snapshot.loss, snapshot=snapshot, draft=draft)
        if stop():
            break
    if mesh is not None:
        pipeline = gathered(pipeline)
        if several:
            yield Stage(name="alone", share=1.0)
            if not first:
                return
    for share, artifact in harden(pipeline):
        yield Stage(name="harden", share=share, artifact=artifact)
        if stop():
            return


def _built(spec: Any, picture: Picture, mesh: Mesh | None) -> tuple[Image, Any]:
    """The picture in linear light and its pipeline; on a `mesh` each process has only what belongs to its rows."""
    if mesh is None:
        target = jnp.asarray(picture.linear())
        return target, spec.build(picture.srgb8, target)
    target = shared_rows(picture.linear, (3, *picture.srgb8.shape[:2]), mesh)
    if not isinstance(spec, Shareable):
        return target, spec.build(picture.srgb8, target)
    start = of_first(spec.start(picture.srgb8) if jax.process_index() == 0 else None)
    with jax.set_mesh(mesh):
        return target, spec.build_from(start, target)


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished file. `image` is decoded from `data`; `report` was measured on that."""

    artifact: Any
    data: bytes
    report: Report

    @property
    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture that the file shows, sRGB."""
        return decode(self.data)

    @property
    def palette(self) -> UInt8[np.ndarray, "k 3"]:
        """Colours of an indexed file, sRGB codes."""
        return self.artifact.palette

    @property
    def indices(self) -> UInt8[np.ndarray, "h w"]:
        """Which colour each pixel has."""
        return self.artifact.indices

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        write_atomically(path, self.data)


def finish(picture: Picture, artifact: Artifact, *, started: float, names: Iterable[str]) -> Result:
    """Write the bytes, read them back, measure `names`: metrics, or colors. `started`: from `time.perf_counter()`.

    Colours are compared as sRGB, or if the picture has kept its profile, the file having the same, as codes of that.
    """
    data = artifact.to_bytes()
    seconds = time.perf_counter() - started
    trim()  # measuring a large picture takes more than some ways of making it
    decoded = decode(data, managed=picture.icc is None)
    report = report_of(picture.srgb8, decoded, len(data), names=names, seconds=seconds)
    return Result(artifact, data, report)


def compress(picture: Picture, config: Config) -> Result:
    """Run `config` on `picture` to its end."""
    started = time.perf_counter()
    artifact = None
    for stage in stages(picture, config):
        artifact = stage.artifact
    assert artifact is not None  # the last stage holds one
    return finish(picture, artifact, started=started, names=config.pipeline.figures)
