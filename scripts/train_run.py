"""What a run of `train.py` leaves in its folder: its manifest, its log, its checkpoints; and how SIGTERM ends it."""

import contextlib
import dataclasses
import importlib.util
import io
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train_hosts import Asked, Lone

from diffquant.console import UsageError
from diffquant.files import write_atomically

if TYPE_CHECKING:
    from diffquant.runner import Stage
    from diffquant.training import Snapshot

PROG = "train.py"
PAUSE = 30.0  # seconds of work between checkpoints, unless a number of steps is asked for
REST = 10.0  # seconds of relaxing that may be lost when hardening is killed
SPARING = 25.0  # both are at least so many times as long as a checkpoint takes: 4 % of the time
SPEED = 1e8  # bytes a second, of which the first one's time is guessed


class Terminated(BaseException):
    """SIGTERM came."""


class Termination:
    """Answers the first SIGTERM: at once by `Terminated`, or while `waits` by noting it. Later ones change nothing."""

    def __init__(self) -> None:
        self.asked = self.waits = False

    def __call__(self, number: int, frame: Any) -> None:
        """The handler."""
        if not self.asked:
            self.asked = True
            self.check()

    def check(self) -> None:
        """Raise `Terminated` if it came and need not wait any longer."""
        if self.asked and not self.waits:
            raise Terminated

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """While the block runs."""
        before = signal.signal(signal.SIGTERM, self)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What run.json says: with config.py beside it, all from which a run is made again from its start."""

    image: str  # absolute path
    background: str
    fingerprint: dict[str, Any]
    checkpoint_every: int | None
    pictures_every: int | None
    tensorboard: bool
    devices: int | None = None
    finished: bool = False

    def write(self, folder: Path) -> None:
        """As run.json in `folder`."""
        write_atomically(folder / "run.json", (json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())


def manifest_of(folder: Path) -> Manifest:
    """Read run.json.

    Raises: UsageError if there is none, or it is none.
    """
    path, expected = folder / "run.json", f"expected the folder of a run that {PROG} has begun"
    if not path.is_file():
        raise UsageError(f"--resume: found no file {path}, {expected}")
    try:
        manifest = Manifest(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise UsageError(f"--resume: {path}: found what is not a run's ({error}), {expected}") from None
    if not (isinstance(manifest.image, str) and isinstance(manifest.fingerprint, dict)):
        raise UsageError(f"--resume: {path}: found no picture or fingerprint, {expected}")
    return manifest


def clear(folder: Path) -> None:
    """Remove what an earlier run has left, but for its checkpoints and what it is made again from."""
    for name in ("metrics.jsonl", "metrics.json", *(path.name for path in folder.glob("result.*"))):
        (folder / name).unlink(missing_ok=True)
    for name in ("pictures", "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)


def need_tensorboard() -> None:
    """Raises: UsageError if TensorBoard's events cannot be written."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise UsageError("--tensorboard: found no module tensorboardX, expected it to be installed")


class Log:
    """metrics.jsonl, pictures and TensorBoard's events of a run, from the snapshot at `step` on; 0 is the beginning."""

    def __init__(self, folder: Path, manifest: Manifest, step: int) -> None:
        self.folder, self.pictures_every, self.step = folder, manifest.pictures_every, step
        self.path = folder / "metrics.jsonl"
        # A run that was killed may have got further than its last checkpoint, or stopped within a line.
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        try:
            figures = [json.loads(line) for line in lines if line.endswith(b"\n")]
            kept = [line for line, figure in zip(lines, figures, strict=False) if figure["step"] <= step]
            before = figures[len(kept) - 1]["seconds"] if kept else 0.0
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{self.path}: found what is no line of figures ({error}), expected JSON") from None
        write_atomically(self.path, b"".join(kept))
        self.started = time.perf_counter() - before
        self.board: Any = None
        if manifest.tensorboard:
            from tensorboardX import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def seconds(self) -> float:
        """Of work on this run, those before a checkpoint included."""
        return time.perf_counter() - self.started

    def write(self, stage: "Stage") -> None:
        """What the stage's snapshot says."""
        snapshot = stage.snapshot
        assert snapshot is not None
        figures = {"step": snapshot.step, "loss": snapshot.loss, "parts": snapshot.parts, "seconds": self.seconds()}
        with self.path.open("ab", buffering=0) as file:  # one call for a line: it is there or not
            file.write((json.dumps(figures) + "\n").encode())
        every = self.pictures_every
        picture = None
        if every is not None and snapshot.step // every > self.step // every:
            assert stage.draft is not None
            if (draft := stage.draft()) is not None:
                picture = draft.decode()
                self._save(picture, snapshot.step)
        if self.board is not None:
            self.board.add_scalar("loss", snapshot.loss, snapshot.step)
            for name, part in snapshot.parts.items():
                self.board.add_scalar(f"parts/{name}", part, snapshot.step)
            if picture is not None:
                self.board.add_image("picture", picture, snapshot.step, dataformats="HWC")
            self.board.flush()
        self.step = snapshot.step

    def _save(self, picture: Any, step: int) -> None:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        (self.folder / "pictures").mkdir(exist_ok=True)
        write_atomically(self.folder / "pictures" / f"{step:06}.png", file.getvalue())

    def close(self) -> None:
        """Let TensorBoard's writer go."""
        if self.board is not None:
            self.board.close()


class Saver:
    """Decides at each snapshot, with all hosts, whether to save it, and whether to go on.

    `relaxing`: a snapshot is to come, for which signals wait.
    """

    def __init__(
        self,
        checkpoints: Any,
        every: int | None,
        step: int,
        termination: Termination,
        hosts: Lone,
        *,
        relaxing: bool = True,
    ) -> None:
        self.checkpoints, self.every, self.termination, self.hosts = checkpoints, every, termination, hosts
        self.relaxing = relaxing
        self.interrupted: list[int] = []  # filled by the handler of Ctrl-C
        self.stopped = False  # by Ctrl-C
        self.saved, self.time = step, time.perf_counter()
        self.cost: float | None = None  # seconds of the last checkpoint
        self.snapshot: Snapshot | None = None

    def see(self, snapshot: "Snapshot") -> None:
        """Save its state if that is due.

        Raises: Terminated if any process has been asked to end.
        """
        self.snapshot = snapshot
        asked = Asked(terminate=self.termination.asked, interrupt=bool(self.interrupted), save=self._is_due(snapshot))
        agreed = self.hosts.agree(asked)
        if agreed.save:
            self.save()
        if agreed.terminate:
            raise Terminated
        self.relaxing = not snapshot.state.over
        if agreed.interrupt:
            self._stop()

    def _is_due(self, snapshot: "Snapshot") -> bool:
        passed, over = time.perf_counter() - self.time, snapshot.state.over
        if self.every is not None:
            return over or snapshot.step // self.every > self.saved // self.every
        if self.cost is None:
            self.cost = sum(array.nbytes for array in snapshot.state.arrays.values()) / SPEED
        return passed >= max(REST if over else PAUSE, SPARING * self.cost)

    def stop(self) -> bool:
        """Whether Ctrl-C has come: once a process is alone nobody else need agree."""
        if self.hosts.alone and self.interrupted:
            self._stop()
        return self.stopped

    def _stop(self) -> None:
        self.save()
        self.stopped, self.relaxing = True, False
        self.heed()

    def heed(self) -> None:
        """Raise `Terminated` if SIGTERM came and need not wait for the next snapshot, or for the others."""
        self.termination.waits = self.relaxing or not self.hosts.alone
        self.termination.check()

    def part(self) -> None:
        """Let the other processes go: what all share is saved before."""
        self.save()
        self.hosts.part()

    def save(self) -> None:
        """Save the last state now, if there is one that is not saved."""
        if self.snapshot is not None and self.snapshot.step > self.saved:
            waited, self.termination.waits = self.termination.waits, True
            before = time.perf_counter()
            self.checkpoints.save(self.snapshot.state)
            self.saved, self.time = self.snapshot.step, time.perf_counter()
            self.cost = self.time - before
            self.termination.waits = waited
