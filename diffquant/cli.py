"""The `diffquant` command: arguments, progress and printing only.

JAX is imported after the arguments and the pictures have been checked, so that mistakes are answered at once.
"""

import contextlib
import dataclasses
import importlib.metadata
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from diffquant.console import INTERRUPTED, UsageError, complain, parse, run, table, use_compilation_cache
from diffquant.image import ImageError, parse_color, read

if TYPE_CHECKING:
    from diffquant.config import Config

Codes = tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantize:
    """Write the best-looking indexed PNG of at most N colours."""

    inputs: Positional[tuple[Path, ...]]
    """Pictures: PNG, JPEG, WebP, TIFF, GIF or BMP."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The PNG to write; for several inputs a folder, ending in /."""
    colors: Annotated[int, arg(aliases=["-n"])] = 16
    """Size of the palette, 1 to 256."""
    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Time against quality."""
    dither: Literal["none", "sample", "blue-noise", "polish"] = "polish"
    """How choices are made hard: the likeliest colour, by chance, by a blue-noise mask, or by exact descent."""
    pin: str = ""
    """Colours of the palette that never move, such as '#000000,#ffffff'; those that no pixel takes are not written."""
    palette: str = ""
    """The whole palette: colours such as '#000,#f00,white', or a file with one on each line."""
    background: str = "white"
    """What transparent pixels are laid on."""
    seed: int = 0
    """Of everything random. Same picture, options and seed: same bytes."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """Every input to its output; a bad one is reported and the next one taken."""
        if self.palette and self.pin:
            raise UsageError("--pin: found it beside --palette; expected one of them, a whole palette is pinned anyway")
        pinned = _colors(self.palette, "--palette") if self.palette else _colors(self.pin, "--pin")
        colors = len(pinned) if self.palette else self.colors
        if not 1 <= colors <= 256:
            option = "--palette" if self.palette else "--colors"
            raise UsageError(f"{option}: found {colors}, expected 1 to 256 colours")
        if len(pinned) > colors:
            raise UsageError(f"--pin: found {len(pinned)} colours, expected at most --colors = {colors}")
        if not 0 <= self.seed < 2**32:
            raise UsageError(f"--seed: found {self.seed}, expected 0 to {2**32 - 1}")
        background = _color(self.background, "--background")

        def configure() -> "Config":
            from diffquant.presets import palette_config

            return palette_config(self.preset, colors=colors, pinned=pinned, dither=self.dither, seed=self.seed)

        return _batch(_jobs(self.inputs, self.output, ".png"), background, configure, as_json=self.json)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a file against the picture that it was made from."""

    reference: Positional[Path]
    """The original."""
    output: Positional[Path]
    """The file to judge, of the same size."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """One table."""
        original, judged = read(self.reference), read(self.output)
        if original.srgb8.shape != judged.srgb8.shape:
            (h, w), (rows, columns) = original.srgb8.shape[:2], judged.srgb8.shape[:2]
            raise UsageError(f"{self.output}: found {columns}x{rows} pixels, expected {w}x{h} as in {self.reference}")
        from diffquant.report import report_of, to_json

        report = report_of(original.srgb8, judged.srgb8, self.output.stat().st_size)
        if self.json:
            print(to_json(report.as_dict()))
        else:
            table(self.output, report)
        return 0


Command = Annotated[Quantize, subcommand("quantize")] | Annotated[Evaluate, subcommand("evaluate")]


def main() -> NoReturn:
    """Entry point. Leaves at once: the interpreter's and JAX's own clearing up takes a quarter of a second."""
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


def _color(text: str, option: str) -> tuple[int, int, int]:
    try:
        return parse_color(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _colors(text: str, option: str) -> Codes:
    """Colours separated by commas, or one on each line of a file."""
    if not text:
        return ()
    words = [(option, word) for word in text.split(",")]
    if option == "--palette" and Path(text).is_file():
        try:
            lines = Path(text).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise UsageError(f"{text}: found no text; expected a colour on each line") from None
        words = [(f"{text}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]
    codes = tuple(_color(word, where) for where, word in words)
    twice = next((word for i, (_, word) in enumerate(words) if codes[i] in codes[:i]), None)
    if twice is not None:
        raise UsageError(f"{option}: found {twice.strip()} twice; expected each colour once")
    return codes


def _jobs(inputs: Sequence[Path], output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """What is written where, checked before anything is computed."""
    if not inputs:
        raise UsageError("found no input; expected at least one picture; see diffquant --help")
    if output.is_dir() or len(inputs) > 1:
        if output.exists() and not output.is_dir():
            raise UsageError(f"--output: found the file {output}, expected a folder for {len(inputs)} inputs")
        jobs = [(source, output / f"{source.stem}{suffix}") for source in inputs]
    else:
        jobs = [(inputs[0], output)]
    for i, (source, target) in enumerate(jobs):
        if target.suffix.lower() != suffix:
            raise UsageError(f"--output: found {target}, expected a name ending in {suffix}")
        if target.exists() and source.exists() and os.path.samefile(source, target):
            raise UsageError(f"--output: found the input {source} itself, expected another file")
        if any(target == other for _, other in jobs[:i]):
            raise UsageError(f"--output: found two inputs for {target}, expected inputs of different names")
    if len(jobs) == 1 and not jobs[0][1].parent.is_dir():
        raise UsageError(f"--output: found no folder {jobs[0][1].parent}, expected one that exists")
    return jobs


def _batch(jobs: list[tuple[Path, Path]], background: tuple[int, int, int], configure: Any, *, as_json: bool) -> int:
    """Run every job; report each file as it is written."""
    from diffquant.export.files import write_atomically
    from diffquant.report import to_json

    reports: list[dict[str, Any]] = []
    status = 0
    for source, target in jobs:
        try:
            started = time.perf_counter()
            picture = read(source, background=background)
            for notice in picture.notices:
                print(f"diffquant: {notice}", file=sys.stderr)
            use_compilation_cache()
            result, interrupted = run(picture, configure(), started=started)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, result.data)
        except (ImageError, OSError, FloatingPointError) as error:
            complain(error)
            status = 2
            continue
        reports.append({"input": str(source), "output": str(target)} | result.report.as_dict())
        if not as_json:
            table(target, result.report)
        if interrupted:
            print(f"diffquant: interrupted; {target} is the best so far", file=sys.stderr)
            status = INTERRUPTED
            break
    if as_json and (reports or len(jobs) > 1):
        print(to_json(reports if len(jobs) > 1 else reports[0]))
    return status
