"""The `diffquant` command: arguments, progress and printing only.

JAX is imported after the arguments and the pictures have been checked, so that mistakes are answered at once.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from tyro.conf import FlagCreatePairsOff, Positional, arg, subcommand

from diffquant.arguments import check_seed, color_from, colors_from, target_from
from diffquant.console import INTERRUPTED, UsageError, batch, complain, jobs_of, parse, run, table
from diffquant.image import ImageError, Metadata, Picture, read
from diffquant.jpeg.geometry import LARGEST

if TYPE_CHECKING:
    from diffquant.runner import Result


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
        pinned = colors_from(self.palette, "--palette") if self.palette else colors_from(self.pin, "--pin")
        colors = len(pinned) if self.palette else self.colors
        if not 1 <= colors <= 256:
            option = "--palette" if self.palette else "--colors"
            raise UsageError(f"{option}: found {colors}, expected 1 to 256 colours")
        if len(pinned) > colors:
            raise UsageError(f"--pin: found {len(pinned)} colours, expected at most --colors = {colors}")
        check_seed(self.seed)
        load = functools.partial(read, background=color_from(self.background, "--background"))

        def make(picture: Picture, started: float) -> tuple["Result", bool]:
            from diffquant.presets import palette_config

            config = palette_config(self.preset, colors=colors, pinned=pinned, dither=self.dither, seed=self.seed)
            return run(picture, config, started=started)

        return batch(jobs_of(self.inputs, self.output, (".png",)), load, make, as_json=self.json)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Jpeg:
    """Write a JPEG tuned to its picture, of a quality, of at most N bytes, or with the score that is asked for."""

    inputs: Positional[tuple[Path, ...]]
    """Pictures: PNG, JPEG, WebP, TIFF, GIF or BMP."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The JPEG to write; for several inputs a folder, ending in /."""
    quality: Annotated[float | None, arg(aliases=["-q"])] = None
    """1 to 100, on libjpeg's scale; 75 unless --bytes or --target says what is wanted."""
    bytes: int | None = None
    """The most that the file may have; it will have 99 % of them or more."""
    target: str = ""
    """What a metric is to be, such as ssimulacra2=70: psnr, ssim, ms_ssim, ssimulacra2, butteraugli_3norm, ..."""
    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Time against quality."""
    subsampling: Literal["auto", "444", "422", "420"] = "auto"
    """Rows and columns of colour: all, half the columns, half of both."""
    loss: Literal["perceptual", "ssimulacra2", "butteraugli", "blur", "psnr"] | None = None
    """What choices are judged by; perceptual is SSIMULACRA2 with Butteraugli. None: blur if fast, else perceptual."""
    keep: tuple[Metadata, ...] = ()
    """What of the picture goes into the file: its EXIF data, its ICC profile. Without that, colours become sRGB."""
    background: str = "white"
    """What transparent pixels are laid on."""
    seed: int = 0
    """Of everything random. Same picture, options and seed: same bytes."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        """Every input to its output; a bad one is reported and the next one taken."""
        given = {"--quality": self.quality is not None, "--bytes": self.bytes is not None, "--target": self.target}
        options = [option for option, found in given.items() if found]
        if len(options) > 1:
            raise UsageError(f"{options[1]}: found it beside {options[0]}; expected at most one of {', '.join(given)}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"--quality: found {self.quality:g}, expected 1 to 100")
        if self.bytes is not None and self.bytes < 1:
            raise UsageError(f"--bytes: found {self.bytes}, expected at least 1")
        target = target_from(self.target) if self.target else None
        check_seed(self.seed)
        background = color_from(self.background, "--background")

        def load(path: Path) -> Picture:
            picture = read(path, background=background, keep=self.keep)
            h, w = picture.srgb8.shape[:2]
            if max(h, w) > LARGEST:
                raise ImageError(str(path), f"{w} x {h} pixels", f"at most {LARGEST} a side, as a JPEG has")
            return picture

        def make(picture: Picture, started: float) -> tuple["Result", bool]:
            from diffquant.api import jpeg_recipe
            from diffquant.pipelines.goals import UnreachableError

            try:
                config = jpeg_recipe(
                    picture,
                    quality=75.0 if self.quality is None else self.quality,
                    bytes=self.bytes,
                    target=target,
                    preset=self.preset,
                    subsampling=self.subsampling,
                    loss=self.loss,
                    seed=self.seed,
                )
                return run(picture, config, started=started)
            except UnreachableError as error:
                raise UsageError(f"{picture.name}: {options[0]}: {error}") from None

        return batch(jobs_of(self.inputs, self.output, (".jpg", ".jpeg")), load, make, as_json=self.json)


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


Command = (
    Annotated[Quantize, subcommand("quantize")]
    | Annotated[Jpeg, subcommand("jpeg")]
    | Annotated[Evaluate, subcommand("evaluate")]
)


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
