"""The work behind `benchmark_quality.py`: one indexed PNG at a time, made and measured."""

import functools
import time
from pathlib import Path
from typing import NamedTuple, cast

import live_peers
import numpy as np
from benchmark_rows import Values
from benchmark_runs import measured, warm_up
from PIL import Image
from quality_tables import COSTS, OURS, Case

from diffquant.api import palette_recipe
from diffquant.console import use_compilation_cache
from diffquant.image import Picture
from diffquant.interfaces import Artifact
from diffquant.metrics import METRICS
from diffquant.pipelines import Palette
from diffquant.presets import Preset
from diffquant.runner import stages

_warm: set[tuple[tuple[int, ...], str, int]] = set()  # sizes, methods, colours that this process has compiled for


class Task(NamedTuple):
    """A row to complete, from the picture `source`. The result is kept in `file`."""

    source: Path
    file: Path
    case: Case
    values: Values

    @property
    def is_complete(self) -> bool:
        """Nothing is left to measure."""
        return all(name in self.values for name in (*METRICS, *COSTS))


def work(task: Task) -> tuple[Case, Values] | str:
    """Quantize unless that was done, measure what was not; or one line that says why there is no row."""
    use_compilation_cache()
    try:
        return task.case, measured(
            task.source, task.file, task.values, list(METRICS), functools.partial(_quantized, task.case)
        )
    except (ValueError, OSError, FloatingPointError) as error:
        return f"{task.case.image}, {task.case.method}, {task.case.k} colours: {error}"


def _quantized(case: Case, picture: Picture) -> tuple[bytes, float]:
    """An indexed PNG, and the seconds of that call."""
    _, method, k = case
    if method.startswith(OURS):
        config = palette_recipe(picture, preset=cast(Preset, method.removeprefix(OURS)), colors=k)
        if (kind := (picture.srgb8.shape, method, k)) not in _warm:
            warm_up(picture, config)
            _warm.add(kind)
        started = time.perf_counter()
        artifact: Artifact | None = None
        for stage in stages(picture, config):
            artifact = stage.artifact
        assert artifact is not None  # the last stage holds one
        data = artifact.to_bytes()
        return data, time.perf_counter() - started
    image = Image.fromarray(picture.srgb8)
    started = time.perf_counter()
    result = live_peers.PEERS[method](image, k).convert("RGB")
    seconds = time.perf_counter() - started
    encoded = Palette(colors=k).exact(np.asarray(result))
    if encoded is None:
        raise ValueError(f"found more colours in the result, expected at most {k}")
    return encoded.to_bytes(), seconds
