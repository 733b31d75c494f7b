"""Which machines and devices work on a run of `train.py`, what they agree on, and which process writes it down."""

import contextlib
import dataclasses
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffquant.console import UsageError

if TYPE_CHECKING:
    import jax

OPTION = "--distributed"
FORMS = "expected auto or HOST:PORT,PROCESSES,PROCESS, such as 10.0.0.1:1234,2,0"
PARTING = 3600  # seconds that the others wait for the first to have saved what they share


class LostError(Exception):
    """Another process is gone. One line."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What a process wants at a snapshot, or what all do once they have agreed."""

    terminate: bool = False
    interrupt: bool = False
    save: bool = False


class Lone:
    """One process, which agrees with itself."""

    alone = True  # nobody waits for this process
    first = True  # the one that writes

    def place(self, folder: Path) -> Path:
        """Where this process writes what belongs into a folder."""
        return folder

    def devices(self, asked: int | None) -> "Sequence[jax.Device]":
        """Those that work: as many as were asked for, by default all."""
        import jax

        found = jax.devices()
        if asked is None:
            return found
        if not 1 <= asked <= len(found):
            raise UsageError(f"--devices: found {asked}, expected 1 to {len(found)}")
        return found[:asked]

    def ready(self) -> None:
        """All that can go wrong in one process alone has gone well."""

    def agree(self, asked: Asked) -> Asked:
        """What all processes do after a snapshot: each of them asks."""
        return asked

    def part(self) -> None:
        """From here on the first works alone, and the others end."""


class Several(Lone):
    """One of several processes, of which all but the first write to `scratch`.

    JAX has an agreement of its own, `reached_preemption_sync_point`. It knows of SIGTERM only, takes the handler of
    that for itself, and stops at a step to come, before which the run may be over.
    """

    def __init__(self, scratch: Path) -> None:
        import jax

        self.alone = self.begun = False
        self.first = jax.process_index() == 0
        self.scratch = scratch

    def place(self, folder: Path) -> Path:
        """Where this process writes what belongs into a folder."""
        return folder if self.first else self.scratch

    def devices(self, asked: int | None) -> "Sequence[jax.Device]":
        """All machines' together."""
        if asked is not None:
            raise UsageError(f"--devices: found it beside {OPTION}, expected one of them")
        return super().devices(None)

    def ready(self) -> None:
        """Wait for the others.

        Raises: UsageError if one of them cannot begin.
        """
        if not self._begin(well=True):
            self.part()
            raise UsageError(f"{OPTION}: another process could not begin, and says why")

    def _begin(self, *, well: bool) -> bool:
        self.begun = True
        return bool(_gathered(np.array([well])).all())

    def agree(self, asked: Asked) -> Asked:
        """SIGTERM and Ctrl-C of any process; a checkpoint by the first one's clock."""
        if self.alone:
            return asked
        found = _gathered(np.array([asked.terminate, asked.interrupt, asked.save]))
        anyone = np.any(found, axis=0)
        return Asked(terminate=bool(anyone[0]), interrupt=bool(anyone[1]), save=bool(found[0, 2]))

    def part(self) -> None:
        """Wait for all, then be one process: none has to answer for another's end any more."""
        import jax

        if not self.alone:
            jax.distributed.shutdown()
            self.alone = True

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What all do until they part. Whoever fails before it has begun lets the others know.

        Later failures end only this process: the others lose it in their next exchange.

        Raises: LostError if that has happened.
        """
        try:
            yield
            if self.begun:
                self.part()
        except (ValueError, RuntimeError) as error:
            # XLA's own, which begin with a status.
            if self.begun and not self.alone and re.match(r"[A-Z_]+: ", str(error)) and not _ours(error):
                raise LostError(f"{OPTION}: lost another process ({error})") from None
            raise
        finally:
            if not self.begun:
                self._begin(well=False)
                self.part()


def _ours(error: Exception) -> bool:
    """Whether its message was written here."""
    return type(error).__module__.startswith("diffquant")


def _gathered(flags: np.ndarray) -> np.ndarray:
    """Those of all processes [p n]."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(flags))


@contextlib.contextmanager
def joined(arguments: Sequence[str]) -> Iterator[tuple[Lone, list[str]]]:
    """The hosts that the arguments ask for, and the arguments without that. JAX has to learn of them before it starts.

    Raises: UsageError if they are not understood, or not found. LostError if one of them is gone.
    """
    rest = list(arguments)
    if OPTION not in rest:
        yield Lone(), rest
        return
    at = rest.index(OPTION)
    if len(rest) == at + 1:
        raise UsageError(f"{OPTION}: found no value, {FORMS}")
    _join(rest[at + 1])
    del rest[at : at + 2]
    with tempfile.TemporaryDirectory() as scratch:
        hosts = Several(Path(scratch))
        with hosts.together(), contextlib.nullcontext() if hosts.first else contextlib.redirect_stdout(io.StringIO()):
            yield hosts, rest


def _join(where: str) -> None:
    found = re.fullmatch(r"(\S+:\d+),(\d+),(\d+)", where, re.ASCII)
    if where != "auto" and found is None:
        raise UsageError(f"{OPTION}: found {where!r}, {FORMS}")
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM
    try:
        if found is None:
            jax.distributed.initialize(shutdown_timeout_seconds=PARTING)
        else:
            jax.distributed.initialize(found[1], int(found[2]), int(found[3]), shutdown_timeout_seconds=PARTING)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{OPTION}: found no way to join the others ({error}), {FORMS}") from None
