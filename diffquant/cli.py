"""The `diffquant` command: which subcommand, and what its errors look like.

JAX is imported after the arguments and the pictures have been checked, so that mistakes are answered at once.
"""

import contextlib
import gc
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

from tyro.conf import FlagCreatePairsOff, subcommand

from diffquant.commands.animate import Animate
from diffquant.commands.evaluate import Evaluate
from diffquant.commands.jpeg import Jpeg
from diffquant.commands.palette import MakePalette
from diffquant.commands.quantize import Quantize
from diffquant.console import INTERRUPTED, UsageError, complain, parse
from diffquant.image import ImageError

Command = (
    Annotated[Quantize, subcommand("quantize")]
    | Annotated[Jpeg, subcommand("jpeg")]
    | Annotated[Animate, subcommand("animate")]
    | Annotated[MakePalette, subcommand("palette")]
    | Annotated[Evaluate, subcommand("evaluate")]
)


def main() -> NoReturn:
    """Entry point. Leaves at once: the interpreter's and JAX's own clearing up takes a quarter of a second.

    While modules are read and programs traced almost nothing becomes garbage; to look for it takes another quarter.
    """
    gc.set_threshold(100_000)
    try:
        status = command(sys.argv[1:])
    except SystemExit as stop:  # tyro, after --help
        status = int(stop.code or 0)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read our output may have gone
            stream.flush()
    os._exit(status)


def command(arguments: Sequence[str]) -> int:
    """Run a command: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows another
    if arguments == ["--version"]:
        print(f"diffquant {importlib.metadata.version('diffquant')}")
        return 0
    try:
        return parse(Command, arguments, prog="diffquant", config=(FlagCreatePairsOff,)).run()
    except (UsageError, ImageError, OSError, FloatingPointError) as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        print("diffquant: interrupted; nothing written", file=sys.stderr)
        return INTERRUPTED
