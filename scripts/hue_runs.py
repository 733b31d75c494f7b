"""The work behind `hue_study.py`: one picture in few colours at a time, made and measured."""

import dataclasses
import functools
import io
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from benchmark_rows import Columns, Values
from hue_measures import Codes, Hues, hues_of
from PIL import Image

from diffquant.console import use_compilation_cache
from diffquant.files import write_atomically
from diffquant.image import read
from diffquant.metrics import measure
from diffquant.palette.chroma import chroma_weight
from diffquant.presets import palette_config
from diffquant.runner import compress

AUTO = "auto"
HUES = tuple(field.name for field in dataclasses.fields(Hues))
METRICS = ("scielab", "ssimulacra2", "oklab_mse_blur")
COSTS = ("weight", "seconds")  # the chroma weight; of the palette's choice and the dither, compiling included
OUTPUTS = ("nearest", "diffusion", "polish")


class Case(NamedTuple):
    """A picture, how it got its few colours, with what chroma weight, and how many they are."""

    image: str
    output: str
    chroma: str
    k: int


COLUMNS = Columns(
    keys=("image", "output", "chroma", "k"),
    key=lambda image, output, chroma, k: Case(image, output, chroma, int(k)),
    names=(*HUES, *METRICS, *COSTS),
    costs=COSTS,
)


class Task(NamedTuple):
    """A row to complete, from the middle of the picture `source`. The result is kept in `file`."""

    source: Path
    size: tuple[int, int]
    file: Path
    case: Case
    values: Values

    @property
    def is_complete(self) -> bool:
        """Nothing is left to make or to measure."""
        return self.file.exists() and all(name in self.values for name in (*HUES, *METRICS))


@functools.lru_cache(maxsize=2)
def middle(source: Path, size: tuple[int, int]) -> Codes:
    """At most `size`, width and height, of the picture."""
    pixels = read(source).srgb8
    h, w, _ = pixels.shape
    top, left = max(h - size[1], 0) // 2, max(w - size[0], 0) // 2
    return np.ascontiguousarray(pixels[top : top + size[1], left : left + size[0]])


def work(task: Task) -> tuple[Case, Values] | str:
    """Quantize, keep the picture, measure it; or one line that says why there is no row."""
    use_compilation_cache()
    try:
        original = middle(task.source, task.size)
        started = time.perf_counter()
        weight = chroma_weight(original, task.case.k) if task.case.chroma == AUTO else float(task.case.chroma)
        result = quantized(original, task.case.k, weight, task.case.output)
        costs = {"weight": weight, "seconds": time.perf_counter() - started}
        data = io.BytesIO()
        Image.fromarray(result).save(data, "PNG")
        write_atomically(task.file, data.getvalue())
        return task.case, hues_of(original, result).as_dict() | measure(original, result, METRICS) | costs
    except (ValueError, OSError, FloatingPointError) as error:
        return f"{', '.join(map(str, task.case))} colours: {error}"


def quantized(pixels: Codes, k: int, chroma: float, output: str) -> Codes:
    """The picture in at most `k` colours, by one of `OUTPUTS`."""
    make = functools.partial(palette_config, colors=k, chroma=chroma)
    configs = {
        "nearest": make(dither="floyd-steinberg", strength=0.0),  # nothing is passed on
        "diffusion": make(dither="floyd-steinberg"),
        "polish": make("balanced"),
    }
    return compress(read(pixels), configs[output]).image
