"""What `benchmark_speed.py` measures: a case in the process that it is called in."""

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8
from processes import peak_mib

from diffquant.assignment import PixelSoftmax, TopK
from diffquant.color import UPPER
from diffquant.config import Config
from diffquant.export.dither import Polish
from diffquant.image import read
from diffquant.interfaces import Image, Rendered
from diffquant.losses.blur import BlurError
from diffquant.palette.learned import Space
from diffquant.pipelines.palette import Palette, PalettePipeline
from diffquant.presets import Preset, palette_config
from diffquant.runner import compress
from diffquant.training import fit

CHUNK = 10  # steps that are timed together
FEW, CALLS = 2, 3  # sweeps that are subtracted, and calls of which the fastest counts
TRIAD = 64 << 20  # bytes of an array: more than caches hold
PASSES = 4 * 2  # over the logits' bytes: they, two moments and the gradient, read and written
LOSS = BlurError()  # the default of a config

Assignment = Literal["plain", "dense", "top-8"]
Work = Assignment | Literal["polish"] | Preset
SPECS: dict[Work, PixelSoftmax | TopK] = {"plain": PixelSoftmax(), "dense": PixelSoftmax(), "top-8": TopK(n=8)}
Row = dict[str, str | float]


class Task(NamedTuple):
    """A case to measure: steps of relaxation, sweeps of polish, or runs of a preset."""

    width: int
    height: int
    k: int
    work: Work
    steps: int


def picture_of(height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Waves of three hues under noise: more colours than any palette has, and no two rows alike."""
    y, x = np.mgrid[:height, :width] / 32
    waves = np.stack([np.sin(x + y), np.sin(1.7 * x - y), np.sin(0.6 * x * y / (1 + y))], axis=-1)
    noise = np.random.default_rng(0).normal(0, 12, waves.shape)
    return np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8)


def start_of(task: Task, *, space: Space = "oklab") -> tuple[PalettePipeline, Image]:
    """What relaxation starts from, and its target."""
    picture = read(picture_of(task.height, task.width))
    target = jnp.asarray(picture.linear())
    assignment = SPECS.get(task.work, PixelSoftmax())  # a polish takes its likeliest
    return Palette(colors=task.k, space=space, assignment=assignment).build(picture.srgb8, target), target


def plain(pipeline: PalettePipeline, target: Image, steps: int) -> Iterator[float]:
    """The yardstick, in linear light, from where `pipeline` starts: the loss after every chunk."""
    parameters = {"logits": pipeline.assignment.logits[...], "palette": pipeline.palette.linear()}
    rates = {"logits": optax.adam(PixelSoftmax().rate), "palette": optax.adam(Palette().rate)}
    optimizer = optax.partition(rates, {name: name for name in rates})

    def objective(parameters: dict[str, Array]) -> Float[Array, ""]:
        weights = jax.nn.softmax(parameters["logits"])
        colors = jnp.clip(parameters["palette"], 0, 1)
        mean = jnp.einsum("hwk,kc->chw", weights, colors)
        products = jnp.einsum("kc,kd->kcd", colors, colors)
        square = jnp.einsum("hwk,kcd->cdhw", weights, products)
        covariance = jnp.stack([square[i, j] - mean[i] * mean[j] for i, j in UPPER])
        unread = {"entropy": jnp.zeros_like(mean[0]), "bits": jnp.zeros(())}  # by this loss
        return LOSS(Rendered(image=mean, covariance=covariance, **unread), target)

    @jax.jit
    def advance(parameters: dict[str, Array], moments: Any) -> tuple[dict[str, Array], Any, Array]:
        loss, gradient = jax.value_and_grad(objective)(parameters)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, loss

    moments = optimizer.init(parameters)
    for step in range(1, steps + 1):
        parameters, moments, loss = advance(parameters, moments)
        if step % CHUNK == 0:
            jax.block_until_ready(parameters)
            yield float(loss)


def relaxed(pipeline: PalettePipeline, target: Image, steps: int) -> Iterator[float]:
    """This project's: the loss after every chunk."""
    plan = Config(losses={"eye": LOSS}, steps=steps, every=CHUNK).plan()
    for snapshot in fit(pipeline, target, plan, key=jax.random.key(0)):
        jax.block_until_ready(snapshot.state.arrays)
        yield snapshot.loss


def _seconds(chunks: Iterator[float]) -> list[float]:
    """Of each chunk."""
    seconds, started = [], time.perf_counter()
    for _ in chunks:
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    return seconds


def seconds_a_sweep(task: Task) -> float:
    """Of the default preset's polish, the palette re-fitted after each: `task.steps` more sweeps than `FEW`."""
    pipeline, target = start_of(task)
    losses = tuple(palette_config(colors=task.k).losses.values())

    def polish(sweeps: int) -> float:
        started = time.perf_counter()
        spec = Polish(sweeps=sweeps, tolerance=0.0)  # none is left out
        for _ in spec(pipeline.assignment, pipeline.palette, target, losses, key=jax.random.key(1)):
            pass  # each sweep ends in NumPy arrays: nothing is under way
        return time.perf_counter() - started

    polish(FEW)  # compiles
    few, many = (min(polish(sweeps) for _ in range(CALLS)) for sweeps in (FEW, FEW + task.steps))
    return (many - few) / task.steps


def bandwidth() -> float:
    """Bytes a second that a triad moves, the best of ten: a = b + s c, as in McCalpin's STREAM.

    `a` takes the place of `c`, as parameters do in training, so that no fresh memory is paged in.
    """
    triad = jax.jit(lambda b, c: b + 0.5 * c, donate_argnums=1)
    b, c = (jnp.full(TRIAD // 4, value, jnp.float32) for value in (1.0, 2.0))
    fastest = math.inf
    for _ in range(10):
        started = time.perf_counter()
        c = jax.block_until_ready(triad(b, c))
        fastest = min(fastest, time.perf_counter() - started)
    return 3 * TRIAD / fastest


def row_of(task: Task) -> Row | str:
    """What was measured in this process, or a line that says why nothing was."""
    row: Row = {"size": f"{task.width}x{task.height}", "k": task.k, "work": task.work}
    row |= {"device": jax.devices()[0].device_kind, "cores": _cores()}
    try:
        costs = _costs(task)
        pixel_us = 1e3 * float(costs["step_ms"]) / (task.width * task.height)
        return row | costs | {"pixel_us": pixel_us, "peak_mib": peak_mib()}
    except jax.errors.JaxRuntimeError as error:
        return f"{row['size']}, {task.k} colours, {task.work}: {error}"


def _cores() -> int:
    """That this process may use; not every system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _costs(task: Task) -> Row:
    if task.work in SPECS:
        return _step_costs(task)
    return _polish_costs(task) if task.work == "polish" else _picture_costs(task)


def _picture_costs(task: Task) -> Row:
    """Of a preset's whole run, from the picture in memory to the measured file."""
    picture, preset = read(picture_of(task.height, task.width)), cast(Preset, task.work)
    config = palette_config(preset, colors=task.k)
    started = [time.perf_counter()]
    for _ in range(task.steps):
        compress(picture, config)
        started.append(time.perf_counter())
    first, *others = (after - before for before, after in itertools.pairwise(started))
    return {"compile_s": first - min(others), "step_ms": 1e3 * min(others), "steps_per_s": 1 / min(others)}


def _polish_costs(task: Task) -> Row:
    seconds = seconds_a_sweep(task)
    costs: Row = {"step_ms": 1e3 * seconds, "steps_per_s": 1 / seconds}
    return costs | {"pixel_colors_per_s": task.width * task.height * task.k / seconds}


def _step_costs(task: Task) -> Row:
    pipeline, target = start_of(task)
    bytes_moved = PASSES * pipeline.assignment.logits[...].nbytes
    method: Callable[..., Iterator[float]] = plain if task.work == "plain" else relaxed
    first, *others = _seconds(method(pipeline, target, task.steps))
    seconds = min(others) / CHUNK
    costs: Row = {"compile_s": first - min(others), "step_ms": 1e3 * seconds, "steps_per_s": 1 / seconds}
    costs |= {"pixel_colors_per_s": task.width * task.height * task.k / seconds}
    costs |= {"bytes_moved": bytes_moved}
    moved = bandwidth()
    return costs | {"bandwidth_gb_per_s": moved / 1e9, "bandwidth_share": bytes_moved / seconds / moved}
