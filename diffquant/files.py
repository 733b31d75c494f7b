"""Writing files so that nobody ever sees half of one."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file that appears complete or not at all, with the permissions of any new file.

    A symbolic link stays, and what it points to is replaced. Devices and pipes are written as they are.

    Raises:
        OSError: names `path` and why it cannot be written. What was there before is untouched.
    """
    with open_atomically(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The same for a file that is written bit by bit: it appears when the block ends, unless that raises."""
    target = Path(os.path.realpath(path))
    special = target.exists() and not (target.is_file() or target.is_dir())
    place = target if special else target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(place, "wb") if special else _replacing(target, place) as file:
            yield file
    except OSError as error:
        if error.filename not in (None, os.fspath(target), os.fspath(place)):
            raise  # of some other file
        raise OSError(error.errno, f"cannot write: {error.strerror or error}", os.fspath(path)) from error


@contextlib.contextmanager
def _replacing(target: Path, temporary: Path) -> Iterator[BinaryIO]:
    # Not tempfile: its files are private, whatever the umask.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
