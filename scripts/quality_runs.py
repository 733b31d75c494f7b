"""The work behind `benchmark_quality.py`: one row at a time, kept in a CSV that survives interruptions."""

import concurrent.futures
import csv
import io
import multiprocessing
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, cast

import live_peers
import numpy as np
from PIL import Image
from quality_tables import COSTS, ELSEWHERE, OURS, Row, read_rows

from diffquant.config import Config
from diffquant.console import use_compilation_cache
from diffquant.export.files import write_atomically
from diffquant.image import Picture, read
from diffquant.interfaces import Artifact
from diffquant.metrics import METRICS, measure
from diffquant.pipelines import Palette
from diffquant.presets import Preset, palette_config
from diffquant.report import decode
from diffquant.runner import stages

_warm: set[tuple[tuple[int, ...], str, int]] = set()  # sizes, methods, colours that this process has compiled for


class Task(NamedTuple):
    """A row to complete, from the picture `source`. The result is kept in `file`."""

    source: Path
    file: Path
    row: Row


class Results:
    """The CSV of rows: read, brought up to date with today's metrics, then appended to row by row.

    A last line without an end was cut short, and is forgotten. Of rows for the same thing the last one counts.

    Raises:
        UsageError: what is there is no such CSV.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        rows = read_rows(path, whole, "method") if whole else []
        self.rows = {(row.image, row.method, row.k): row for row in rows}
        former = [name for name in ELSEWHERE if any(name in row.values for row in rows)]
        self._columns = list(dict.fromkeys([*METRICS, *former, *COSTS]))
        today = self._text([["image", "method", "k", *self._columns], *map(self._cells, self.rows.values())])
        if today != text:
            write_atomically(path, today.encode())
        self._file: IO[str] = path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def known(self, image: str, method: str, k: int) -> Row:
        """What there is, maybe nothing."""
        return self.rows.get((image, method, k), Row(image, method, k, {}))

    def add(self, row: Row) -> None:
        """To the file, at once."""
        self.rows[row.image, row.method, row.k] = row
        self._file.write(self._text([self._cells(row)]))
        self._file.flush()

    def _cells(self, row: Row) -> list[str]:
        values = [f"{row.values[name]:.8g}" if name in row.values else "" for name in self._columns]
        return [row.image, row.method, str(row.k), *values]

    @staticmethod
    def _text(cells: Sequence[Sequence[str]]) -> str:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(cells)
        return text.getvalue()


def is_complete(row: Row) -> bool:
    """Nothing is left to measure."""
    return all(name in row.values for name in (*METRICS, *COSTS))


def completed(tasks: Sequence[Task], jobs: int) -> Iterator[Row | str]:
    """Each task's row as soon as it is known, or one line that says why there is none.

    Several processes at a time if `jobs` is above 1; they end when the generator is closed.
    """
    if jobs == 1:
        yield from map(_work, tasks)
        return
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process: children inherit deafness
        futures = [pool.submit(_work, task) for task in tasks]
        signal.signal(signal.SIGINT, before)
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _work(task: Task) -> Row | str:
    """Compress unless that was done, measure what was not."""
    use_compilation_cache()
    try:
        picture = read(task.source)
        values = dict(task.row.values)
        if not (task.file.exists() and all(cost in values for cost in COSTS)):
            data, seconds = _compress(picture, task.row.method, task.row.k)
            write_atomically(task.file, data)
            values = {"bytes": len(data), "seconds": seconds}
        decoded = decode(task.file.read_bytes())
        missing = [name for name in METRICS if name not in values]
        return task.row._replace(values=values | measure(picture.srgb8, decoded, missing))
    except (ValueError, OSError, FloatingPointError) as error:  # as text: not every error survives the way back
        return f"{task.row.image}, {task.row.method}, {task.row.k} colours: {error}"


def _compress(picture: Picture, method: str, k: int) -> tuple[bytes, float]:
    """An indexed PNG, and the seconds of that call."""
    if method.startswith(OURS):
        config = palette_config(cast(Preset, method.removeprefix(OURS)), colors=k)
        if (kind := (picture.srgb8.shape, method, k)) not in _warm:
            _warm_up(picture, config)
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


def _warm_up(picture: Picture, config: Config) -> None:
    """Compile what `config` runs on pictures of this size: one dispatch of steps, one sweep of the polish."""
    seen: list[str] = []
    for stage in stages(picture, config, stop=lambda: seen[-1] == "relax"):
        seen.append(stage.name)
        if stage.name == "harden" and stage.share > 0:
            return
