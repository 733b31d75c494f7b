"""Many pictures on the command line: those of a folder, what need not be made again, a line for each, and a summary."""

import collections
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffquant.console import INTERRUPTED, UsageError, complain, interruptible, progress, use_compilation_cache
from diffquant.files import write_atomically
from diffquant.image import Picture

if TYPE_CHECKING:
    from diffquant.batch import Job, Outcome
    from diffquant.config import Config
    from diffquant.report import Report

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp")
RECORD = ".diffquant.json"
EVERY = 2.0  # seconds between two savings of the record, which a kill may cost


def pictures_of(inputs: Sequence[Path], output: Path, suffixes: Sequence[str]) -> list[Path]:
    """The inputs, folders being replaced by their pictures: by name, without hidden files, and not those of subfolders.

    Raises:
        UsageError: a folder holds no picture, or `output` is the name of a file, ending in one of `suffixes`.
    """
    found = []
    for path in inputs:
        if not path.is_dir():
            found.append(path)
            continue
        if output.suffix.lower() in suffixes and not output.is_dir():
            raise UsageError(f"{path}: a directory; expected --output to be a folder for its pictures, found {output}")
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not (pictures := [p for p in inside if not p.is_dir()]):
            raise UsageError(f"{path}: found no picture, expected names ending in {', '.join(SUFFIXES)}")
        found += pictures
    return found


class Record:
    """By which settings, version and input each file of a folder was made: its file `.diffquant.json`.

    A file is there if its bytes are those that were written, and nothing that decides them has changed.
    """

    def __init__(self, folder: Path, settings: str, *, heeded: bool = True, share: str = "") -> None:
        """If it is not `heeded`, every file is taken to be missing. Each `share` of the pictures has a record."""
        self._path = folder / (f".diffquant-{share.replace('/', '-of-')}.json" if share else RECORD)
        self._settings = f"{importlib.metadata.version('diffquant')} {settings} ".encode()
        self._heeded = heeded
        self._saved = time.monotonic()
        self._files: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # none yet, or not ours: then nothing is known
            files = json.loads(self._path.read_bytes())
            self._files = files if isinstance(files, dict) else {}

    def holds(self, source: Path, target: Path) -> bool:
        """Whether `target` is what would be made of `source`."""
        entry = self._files.get(target.name)
        try:
            return self._heeded and entry == {"from": self.origin(source), "to": _digest(target.read_bytes())}
        except OSError:
            return False  # no such target; or a source that is complained of once it is read

    def origin(self, source: Path) -> str:
        """What decides the file that is made of `source`."""
        return _digest(self._settings + source.read_bytes())

    def note(self, origin: str, target: Path, data: bytes) -> None:
        """That `target` now holds these bytes. Saved now and then."""
        self._files[target.name] = {"from": origin, "to": _digest(data)}
        if time.monotonic() - self._saved > EVERY:
            self.save()

    def save(self) -> None:
        """Write the file."""
        write_atomically(self._path, json.dumps(self._files, indent=0, sort_keys=True).encode())
        self._saved = time.monotonic()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Work:
    """What is begun and not yet written, and what became of the rest."""

    def __init__(self, jobs: Sequence[tuple[Path, Path]], record: Record | None) -> None:
        self.jobs = jobs
        self.record = record
        self.begun: collections.deque[tuple[Path, Path, str]] = collections.deque()
        self.reports: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.written = self.skipped = 0

    def wanted(self, load: Callable[[Path], tuple[Picture, "Config"]]) -> Iterator["Job"]:
        """What is to be done, to be taken one by one as others are done."""
        for source, target in self.jobs:
            if self.record is not None and self.record.holds(source, target):
                self.skipped += 1
                continue
            origin = ""
            if self.record is not None:
                with contextlib.suppress(OSError):  # whoever reads it says so
                    origin = self.record.origin(source)
            self.begun.append((source, target, origin))
            yield functools.partial(load, source)

    def finish(self, outcome: "Outcome", *, as_json: bool) -> None:
        """Write what has become of the first that was begun, or say why there is nothing to write."""
        source, target, origin = self.begun.popleft()
        if outcome is None:  # interrupted
            return
        try:
            if isinstance(outcome, Exception):
                raise outcome
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, outcome.data)
            if self.record is not None:
                self.record.note(origin, target, outcome.data)
        except (ValueError, OSError, FloatingPointError) as error:
            complain(error)
            self.failures.append(error)
            return
        self.written += 1
        if as_json:
            self.reports.append({"input": str(source), "output": str(target)} | outcome.report.as_dict())
        else:
            print(_line(target, outcome.report))


def many(
    jobs: Sequence[tuple[Path, Path]],
    load: Callable[[Path], tuple[Picture, "Config"]],
    record: Record | None,
    *,
    as_json: bool,
    alone: bool = False,
) -> int:
    """Run every job that the `record` does not hold, several at a time, and report each file as it is written.

    `alone`: one at a time, each by a program of its own, as the command for a single picture does.

    Failures are named when they are met, and again at the end. A first Ctrl-C ends the run with the files that are
    done, a second at once; the same command then makes the rest. The status is 0 if all went well, 2 if some did not,
    130 if interrupted.
    """
    work = _Work(jobs, record)
    with interruptible() as interrupted:
        try:
            _compute(work, load, interrupted, as_json=as_json, alone=alone)
        except KeyboardInterrupt:
            interrupted.append(0)
        finally:
            if record is not None and work.written:
                record.save()
    if as_json:
        from diffquant.report import to_json

        print(to_json(work.reports))
    else:
        counts = {"written": work.written, "already there": work.skipped, "failed": len(work.failures)}
        print(f"{_pictures(len(jobs))}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count))
    if work.failures:
        print(f"diffquant: {len(work.failures):,} of {len(jobs):,} failed:", file=sys.stderr)
        for error in work.failures:
            complain(error)
    if interrupted:
        print(f"diffquant: interrupted; {work.written:,} of {_pictures(len(jobs))} written", file=sys.stderr)
        return INTERRUPTED
    return 2 if work.failures else 0


def _compute(
    work: _Work,
    load: Callable[[Path], tuple[Picture, "Config"]],
    interrupted: list[int],
    *,
    as_json: bool,
    alone: bool,
) -> None:
    wanted = work.wanted(load)
    if (first := next(wanted, None)) is None:
        return  # without waiting for JAX
    from diffquant.batch import compress_many

    use_compilation_cache()

    def all_wanted() -> Iterator["Job"]:
        yield first
        yield from wanted

    with progress(_pictures(len(work.jobs))) as show:
        show("quantize", 0.0)
        with contextlib.closing(compress_many(all_wanted(), stop=lambda: bool(interrupted), alone=alone)) as outcomes:
            for outcome in outcomes:
                work.finish(outcome, as_json=as_json)
                show("quantize", (work.written + work.skipped + len(work.failures)) / len(work.jobs))


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count:,} pictures"


def _line(path: Path, report: "Report") -> str:
    """A file in one line."""
    from diffquant.metrics import METRICS

    colors = [] if report.colors is None else [f"{report.colors} colours"]
    score = report.metrics.get("ssimulacra2", float("nan"))
    scores = [] if score != score else [f"SSIMULACRA2 {METRICS['ssimulacra2'].format(score)}"]
    return f"{path}: " + ", ".join([*colors, f"{report.size:,} bytes", *scores])
