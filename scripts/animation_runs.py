"""The work behind `benchmark_animation.py`: one GIF at a time, made and measured."""

import dataclasses
import functools
import itertools
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from animation_peers import PEERS
from benchmark_rows import Values
from jaxtyping import UInt8
from PIL import Image

from diffquant.animation.animate import Animation, animate
from diffquant.animation.clip import Clip, Frame
from diffquant.animation.report import Judge, decoded_frames
from diffquant.animation.steady import Steady
from diffquant.console import use_compilation_cache
from diffquant.files import write_atomically
from diffquant.metrics import measure

DEAR = 5e-5  # of `Steady.price`
OURS = {
    "diffquant-balanced": Animation(),
    "diffquant-fast": Animation(preset="fast"),
    "diffquant-dear": Animation(steady=Steady(price=DEAR)),
    "diffquant-scene": Animation(palettes="scene"),
}
EVERY_FRAME = ("oklab_mse_blur", "flicker")
EIGHTH = "scielab"  # of every eighth frame: it takes long
COSTS = ("bytes", "seconds", "start")  # seconds per frame; seconds until ours has its first


class Case(NamedTuple):
    """A clip, how much of it, who made it a GIF, and of how many colours."""

    clip: str
    frames: int
    width: int  # 0: its own
    method: str
    k: int


class Task(NamedTuple):
    """A row to complete, from the clip `source`. The result is kept in `file`."""

    source: Path
    file: Path
    delay: int
    case: Case
    values: Values

    @property
    def is_complete(self) -> bool:
        """Nothing is left to measure."""
        return self.file.exists() and all(name in self.values for name in (*EVERY_FRAME, EIGHTH, "bytes", "seconds"))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Excerpt(Clip):
    """Frames that are in memory."""

    pictures: tuple[Frame, ...]

    def frames(self) -> Iterator[Frame]:
        """The same at each call."""
        return iter(self.pictures)

    def estimate(self) -> int | None:
        """It is known."""
        return len(self.pictures)

    def loops(self) -> int | None:
        """For ever, as peers' files."""
        return 0


@functools.lru_cache(maxsize=1)
def excerpt(source: Path, frames: int, width: int, delay: int) -> Excerpt:
    """The first `frames` of a clip, on white, each for `delay` hundredths of a second.

    Raises:
        ImageError, OSError: it cannot be read.
    """
    clip = Clip(sources=(source,), width=width or None)
    with_time = (
        dataclasses.replace(frame, delay=delay, opaque=None) for frame in itertools.islice(clip.frames(), frames)
    )
    return Excerpt(sources=(source,), pictures=tuple(with_time))


def work(task: Task) -> tuple[Case, Values] | str:
    """Make the GIF unless that was done, and measure it; or one line that says why there is no row."""
    use_compilation_cache()
    case, values = task.case, task.values
    try:
        clip = excerpt(task.source, case.frames, case.width, task.delay)
        if not (task.file.exists() and "seconds" in values):
            data, values = _made(clip, case)
            write_atomically(task.file, data)
        return case, values | {"bytes": task.file.stat().st_size} | scores(clip, task.file)
    except (ValueError, OSError, FloatingPointError, subprocess.CalledProcessError) as error:
        return f"{case.clip}, {case.method}, {case.k} colours: {error}"


def scores(clip: Excerpt, file: Path) -> Values:
    """Means over the frames of what a decoder shows when each of them is due."""
    judge, eighth = Judge(), []
    for number, (frame, shown) in enumerate(zip(clip.pictures, shown_at_their_time(clip, file), strict=True)):
        judge.add(frame.srgb8, shown)
        if number % 8 == 0:
            eighth.append(measure(frame.srgb8, shown, [EIGHTH])[EIGHTH])
    return judge.metrics() | {EIGHTH: float(np.mean(eighth))}


def shown_at_their_time(clip: Excerpt, file: Path) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """What the GIF shows in the middle of each frame's time: encoders drop frames that are alike."""
    with Image.open(file) as image:
        decoded = decoded_frames(image)
        delay, shown = next(decoded)
        end, due = delay, 0
        for frame in clip.pictures:
            while end <= due + frame.delay // 2 and (following := next(decoded, None)) is not None:
                delay, shown = following
                end += delay
            yield shown
            due += frame.delay


def _made(clip: Excerpt, case: Case) -> tuple[bytes, Values]:
    """A GIF; seconds per frame, and of ours the seconds before: survey, palette, compilation, the first frame."""
    if case.method in PEERS:
        started = time.perf_counter()
        data = PEERS[case.method](_codes(clip), clip.pictures[0].delay, case.k)
        return data, {"seconds": (time.perf_counter() - started) / len(clip.pictures)}
    settings = dataclasses.replace(OURS[case.method], colors=case.k)
    with tempfile.TemporaryFile() as file:
        times = [time.perf_counter()]
        times += [time.perf_counter() for step in animate(clip, settings, file) if step.name == "frames"]
        file.seek(0)
        seconds = (times[-1] - times[1]) / max(len(times) - 2, 1)
        return file.read(), {"seconds": seconds, "start": times[1] - times[0]}


def _codes(clip: Excerpt) -> Sequence[UInt8[np.ndarray, "h w 3"]]:
    return [frame.srgb8 for frame in clip.pictures]
