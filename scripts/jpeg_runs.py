"""The work behind `benchmark_jpeg.py`: one file at a time, made here or kept from elsewhere, measured."""

import functools
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, cast

import live_jpeg_peers
from benchmark_rows import Values
from benchmark_runs import measured, warm_up
from jpeg_tables import COLUMNS, METRIC_NAMES, OURS, Point, Table
from PIL import Image

from diffquant import presets, runner
from diffquant.console import UsageError, use_compilation_cache
from diffquant.image import Picture


class Task(NamedTuple):
    """A row to complete, about the picture `source` as `file` shows it.

    The file is made here by the point's encoder, or else it is `kept` from elsewhere.
    """

    source: Path
    file: Path
    point: Point
    values: Values
    kept: bool = False

    @property
    def is_complete(self) -> bool:
        """Nothing is left to measure. Of a file from elsewhere, unless it has another size than what was measured."""
        needed = (*METRIC_NAMES, "bytes") if self.kept else COLUMNS
        changed = self.kept and self.file.stat().st_size != self.values.get("bytes")
        return not changed and all(name in self.values for name in needed)


def encodings(folder: Path, pictures: dict[str, Path], settings: dict[str, list[str]], known: Table) -> list[Task]:
    """A task for each setting of each encoder and each picture. The files are in `folder`."""
    return [
        Task(source, folder / f"{encoder}_{image}_{setting}.jpg", point, known.get(point, {}))
        for encoder, chosen in settings.items()
        for setting in chosen
        for image, source in pictures.items()
        for point in [Point(encoder, image, setting)]
    ]


def kept_files(folder: Path, pictures: dict[str, Path], known: Table) -> list[Task]:
    """A task for each file called ENCODER_IMAGE_SETTING.jpg of these pictures.

    Raises:
        UsageError: there is none.
        OSError: the folder cannot be read.
    """
    tasks = []
    for path in sorted(folder.iterdir()):
        point = _point(path, pictures)
        if point is not None:
            tasks.append(Task(pictures[point.image], path, point, known.get(point, {}), kept=True))
    if not tasks:
        raise UsageError(f"--peer-files: found no ENCODER_IMAGE_SETTING.jpg of these pictures in {folder}")
    return tasks


def _point(path: Path, images: Iterable[str]) -> Point | None:
    """What a file is named after. Encoders and images may have underscores in their names, settings none."""
    rest, _, setting = path.stem.rpartition("_")
    fitting = [image for image in images if rest.endswith(f"_{image}") and rest != f"_{image}"]
    if path.suffix != ".jpg" or not setting or not fitting:
        return None
    image = max(fitting, key=len)
    return Point(rest.removesuffix(f"_{image}"), image, setting)


def work(task: Task) -> tuple[Point, Values] | str:
    """Make the file unless that was done, measure what was not; or one line that says why there is no row."""
    use_compilation_cache()
    encode = None if task.kept else functools.partial(_encode, task.point)
    try:
        return task.point, measured(task.source, task.file, task.values, METRIC_NAMES, encode)
    except (ValueError, OSError, FloatingPointError) as error:
        return f"{', '.join(task.point)}: {error}"


def _encode(point: Point, picture: Picture) -> tuple[bytes, float]:
    """A JPEG file, and the seconds from the picture to its bytes."""
    if point.encoder.startswith(OURS):
        preset = cast(presets.Preset, point.encoder.removeprefix(OURS))
        config = presets.jpeg_config(preset, quality=float(point.setting))
        warm_up(picture, config)
        result = runner.compress(picture, config)
        assert result.report.seconds is not None  # it was made here
        return result.data, result.report.seconds
    image = Image.fromarray(picture.srgb8)
    started = time.perf_counter()
    data = live_jpeg_peers.PEERS[point.encoder](image, int(point.setting))
    return data, time.perf_counter() - started
