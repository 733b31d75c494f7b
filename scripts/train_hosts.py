"""Which machines and devices work on a run of `train.py`, and which process writes it down."""

import contextlib
import dataclasses
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffquant.console import UsageError

if TYPE_CHECKING:
    import jax

OPTION = "--distributed"
FORMS = "expected auto or HOST:PORT,PROCESSES,PROCESS, such as 10.0.0.1:1234,2,0"


@dataclasses.dataclass(frozen=True)
class Hosts:
    """`many` processes, of which this is the first or not; `scratch` is where the others write."""

    many: bool = False
    scratch: Path | None = None

    def place(self, folder: Path) -> Path:
        """Where this process writes what belongs into a folder."""
        return folder if self.scratch is None else self.scratch

    def devices(self, asked: int | None) -> "Sequence[jax.Device]":
        """Those that work: as many of this machine's as were asked for, by default all; or all machines' together."""
        import jax

        found = jax.devices()
        if asked is None:
            return found
        if self.many:
            raise UsageError(f"--devices: found it beside {OPTION}, expected one of them")
        if not 1 <= asked <= len(found):
            raise UsageError(f"--devices: found {asked}, expected 1 to {len(found)}")
        return found[:asked]


@contextlib.contextmanager
def joined(arguments: Sequence[str]) -> Iterator[tuple[Hosts, list[str]]]:
    """The hosts that the arguments ask for, and the arguments without that. JAX has to learn of them before it starts.

    Raises: UsageError if they are not understood, or not found.
    """
    rest = list(arguments)
    if OPTION not in rest:
        yield Hosts(), rest
        return
    at = rest.index(OPTION)
    if len(rest) == at + 1:
        raise UsageError(f"{OPTION}: found no value, {FORMS}")
    _join(rest[at + 1])
    del rest[at : at + 2]
    import jax

    if jax.process_index() == 0:
        yield Hosts(many=True), rest
        return
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        yield Hosts(many=True, scratch=Path(scratch)), rest


def _join(where: str) -> None:
    found = re.fullmatch(r"(\S+:\d+),(\d+),(\d+)", where, re.ASCII)
    if where != "auto" and found is None:
        raise UsageError(f"{OPTION}: found {where!r}, {FORMS}")
    import jax

    try:
        if found is None:
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(found[1], int(found[2]), int(found[3]))
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{OPTION}: found no way to join the others ({error}), {FORMS}") from None
