"""Checkpoints: all that a descent remembers, on disk, so that a run that was killed continues from there.

A checkpoint is a folder named by its step: the arrays as Orbax writes them, and about.json, with the rest of the state,
what the run is, and a checksum of every file: Orbax hands out arrays whose bytes were altered on disk as if nothing had
happened, and prints pages about files that were cut short. The folder appears when it is whole, by being renamed.
Orbax is imported when the first one is written or read: that takes a quarter of a second.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffquant.files import write_atomically
from diffquant.interfaces import Pixels

if TYPE_CHECKING:
    from diffquant.training import State

FORMAT = 1  # of the folders; to be raised whenever older ones cannot be continued
UNFINISHED = ".unfinished"  # ends the names of folders that are being written or removed


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: one line, which names the folder, what was found and what was expected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a run is: digests of its config and of its picture's pixels, and the format of the checkpoints."""

    config: str
    picture: str
    format: int = FORMAT

    @classmethod
    def of(cls, config: Any, pixels: Pixels) -> "Fingerprint":
        """Of a config, which is its own `repr`, and a picture as it was read."""
        shape = np.array(pixels.shape, np.int64).tobytes()
        return cls(config=_digest(repr(config).encode()), picture=_digest(shape, np.ascontiguousarray(pixels)))

    def check(self, found: dict[str, Any], name: str) -> None:
        """Compare with what was `found` in the file or folder `name`.

        Raises:
            CheckpointError: they differ.
        """
        if found.get("format") != self.format:  # which may be why the others differ
            raise CheckpointError(f"{name}: found format {found.get('format')}, expected format {self.format}")
        for kind in ("config", "picture"):
            if found.get(kind) != getattr(self, kind):
                raise CheckpointError(f"{name}: found a run of another {kind}, expected that of the run to be resumed")


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The last `keep` checkpoints of one run, in `folder`."""

    folder: Path
    fingerprint: Fingerprint
    keep: int = 2

    def save(self, state: "State") -> None:
        """Write a checkpoint, then remove those before the last few. Returns when it is on the disk.

        Of several processes each has to ask, and the first writes.

        Raises:
            OSError: it cannot be written. Those that were there are untouched.
        """
        import jax

        from diffquant.training import on_host

        gathered = {name: on_host(array) for name, array in state.arrays.items()}
        if jax.process_index() > 0:
            return
        arrays = {name: array for name, array in gathered.items() if array is not None}
        place = self.folder / str(state.step)
        draft = place.with_name(place.name + UNFINISHED)
        self._tidy()
        draft.mkdir(parents=True)
        _write(draft / "arrays", [array for array in arrays.values() if array.size])
        about = {
            "fingerprint": dataclasses.asdict(self.fingerprint),
            "step": state.step,
            "mean": state.mean,
            "over": state.over,
            "arrays": [[name, str(array.dtype), array.shape] for name, array in arrays.items()],
            "files": _checksums(draft / "arrays"),
        }
        write_atomically(draft / "about.json", json.dumps({"about": about, "checksum": _checksum(about)}).encode())
        _remove(place)  # a corrupt one, if a run continues from before it
        os.replace(draft, place)
        for old in self.steps()[: -self.keep]:
            _remove(self.folder / str(old))

    def steps(self) -> list[int]:
        """Those that are there, the earliest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())

    def latest(self) -> tuple["State | None", tuple[str, ...]]:
        """The last state that is whole, None if there is no checkpoint at all; and a notice for each that is damaged.

        Raises:
            CheckpointError: all are damaged, or the last is of another run or format.
        """
        notices: list[str] = []
        for step in reversed(self.steps()):
            place = self.folder / str(step)
            try:
                about = _about(place)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                notices.append(f"{place}: found a damaged checkpoint ({error}), expected a whole one")
                continue
            self.fingerprint.check(about["fingerprint"], str(place))
            try:
                return _read(place, about), tuple(notices)
            except Exception as error:  # whatever another version of Orbax makes of its files
                shown = type(error).__name__
                raise CheckpointError(
                    f"{place}: found arrays that Orbax cannot read ({shown}), expected its own"
                ) from error
        if notices:
            raise CheckpointError(notices[0])
        return None, ()

    def clear(self) -> None:
        """Remove them all."""
        for step in self.steps():
            _remove(self.folder / str(step))
        self._tidy()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _tidy(self) -> None:
        """Remove what a kill has left half written or half removed."""
        for rest in self.folder.glob(f"*{UNFINISHED}"):
            shutil.rmtree(rest)


def _remove(place: Path) -> None:
    """Remove a checkpoint so that nobody ever sees a part of it."""
    if place.exists():
        doomed = place.with_name(f"{place.name}.old{UNFINISHED}")
        shutil.rmtree(doomed, ignore_errors=True)
        place.rename(doomed)
        shutil.rmtree(doomed)


def _checksums(folder: Path) -> dict[str, int]:
    """CRC-32 of every file below `folder`: against accidents, not malice."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _checksum_of(path) for path in files}


def _checksum_of(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _checksum(about: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(about).encode())


def _about(place: Path) -> dict[str, Any]:
    """What about.json says, if all files are as it says. Those of another format need not be understood."""
    whole = json.loads((place / "about.json").read_bytes())
    about = whole["about"]
    if whole["checksum"] != _checksum(about):
        raise ValueError("about.json is altered")
    found = _checksums(place / "arrays") if about["fingerprint"]["format"] == FORMAT else about["files"]
    for name, checksum in about["files"].items():
        if found.get(name) != checksum:
            raise ValueError(f"arrays/{name} is {'altered' if name in found else 'missing'}")
    return about


def _write(place: Path, arrays: list[np.ndarray]) -> None:
    """Have Orbax make a folder of arrays. None may be empty: it refuses those."""
    import orbax.checkpoint as ocp

    # Not the asynchronous kind: the next steps reuse the buffers, and on a CPU these arrays are no copies of them.
    with ocp.Checkpointer(ocp.StandardCheckpointHandler(), multiprocessing_options=_alone()) as checkpointer:
        checkpointer.save(place.absolute(), args=ocp.args.StandardSave(arrays))


def _alone() -> Any:
    """Have Orbax not wait for other processes."""
    import jax
    import orbax.checkpoint as ocp

    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=str(own)
    )


def _read(place: Path, about: dict[str, Any]) -> "State":
    import orbax.checkpoint as ocp

    from diffquant.training import State

    arrays = {name: np.empty(shape, dtype) for name, dtype, shape in about["arrays"]}
    like = {name: array for name, array in arrays.items() if array.size}
    with ocp.Checkpointer(ocp.StandardCheckpointHandler(), multiprocessing_options=_alone()) as checkpointer:
        restore = ocp.args.StandardRestore(list(like.values()))
        found = checkpointer.restore((place / "arrays").absolute(), args=restore)
    arrays |= dict(zip(like, found, strict=True))
    return State(step=about["step"], mean=about["mean"], over=about["over"], arrays=arrays)
