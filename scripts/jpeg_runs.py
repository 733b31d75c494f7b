"""The work behind `benchmark_jpeg.py`: one file at a time, made here or kept from elsewhere, measured."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, cast

import live_jpeg_peers
from benchmarks import Results, Table, Values
from jpeg_tables import COLUMNS, METRIC_NAMES, OURS, Point
from PIL import Image

from diffquant import presets, runner
from diffquant.config import Config
from diffquant.console import UsageError, use_compilation_cache
from diffquant.export.files import write_atomically
from diffquant.image import Picture, read
from diffquant.metrics import measure
from diffquant.report import decode


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


def open_results(path: Path) -> Results:
    """The CSV of rows, by encoder, image and setting."""
    return Results(path, Point._fields, COLUMNS)


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
    try:
        picture = read(task.source)
        values = dict(task.values)
        if not task.kept and not (task.file.exists() and "seconds" in values):
            data, values["seconds"] = _encode(picture, task.point)
            write_atomically(task.file, data)
        data = task.file.read_bytes()
        if len(data) != values.get("bytes"):
            values = {"bytes": len(data)} | ({} if task.kept else {"seconds": values["seconds"]})
        missing = [name for name in METRIC_NAMES if name not in values]
        return task.point, values | measure(picture.srgb8, decode(data), missing)
    except (ValueError, OSError, FloatingPointError) as error:  # as text: not every error survives the way back
        return f"{', '.join(task.point)}: {error}"


def _encode(picture: Picture, point: Point) -> tuple[bytes, float]:
    """A JPEG file, and the seconds from the picture to its bytes."""
    if point.encoder.startswith(OURS):
        preset = cast(presets.Preset, point.encoder.removeprefix(OURS))
        config = presets.jpeg_config(preset, quality=float(point.setting))
        _warm_up(picture, config)
        result = runner.compress(picture, config)
        assert result.report.seconds is not None  # it was made here
        return result.data, result.report.seconds
    image = Image.fromarray(picture.srgb8)
    started = time.perf_counter()
    data = live_jpeg_peers.PEERS[point.encoder](image, int(point.setting))
    return data, time.perf_counter() - started


def _warm_up(picture: Picture, config: Config) -> None:
    """Compile what `config` runs on pictures of this size: one dispatch of steps, one round of the search."""
    seen: list[str] = []
    for stage in runner.stages(picture, config, stop=lambda: seen[-1] == "relax"):
        seen.append(stage.name)
        if stage.name == "harden" and stage.share > 0:
            return
