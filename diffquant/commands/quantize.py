"""`diffquant quantize`."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from diffquant.arguments import check_memory, check_seed, color_from, colors_from, fitted, share_from
from diffquant.console import UsageError, batch, jobs_of, run
from diffquant.export.names import Dither
from diffquant.folder import Record, many, pictures_of
from diffquant.image import Picture, read

if TYPE_CHECKING:
    from diffquant.config import Config
    from diffquant.runner import Result


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quantize:
    """Write the best-looking indexed PNG of at most N colours."""

    inputs: Positional[tuple[Path, ...]]
    """Pictures: PNG, JPEG, WebP, TIFF, GIF or BMP; or folders, for all pictures in them, by their endings."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The PNG to write; for several inputs or a folder a folder, ending in /. Of a folder's pictures those are skipped
    whose files are there already, as they would be written again."""
    colors: Annotated[int, arg(aliases=["-n"])] = 16
    """Size of the palette, 1 to 256."""
    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Time against quality."""
    dither: Dither = "polish"
    """How choices are made hard: the likeliest colour, by chance, by a blue-noise mask, or by exact descent; or in one
    pass by a classical dither, for comparison."""
    strength: float = 1.0
    """Of a classical dither: the share of the error that is passed on, 0 to 1."""
    serpentine: bool = True
    """Of error diffusion: every other row from right to left."""
    chroma: str = "auto"
    """What hues weigh against lightness, 1 to 16; auto looks at the picture, and at how few the colours are."""
    pin: str = ""
    """Colours that never move, such as '#000000,#ffffff', or a palette file; those that no pixel takes are not
    written."""
    palette: str = ""
    """The whole palette: colours such as '#000,#f00,white', or a file: .gpl, .act, .json, .hex, .txt, a swatch."""
    background: str = "white"
    """What transparent pixels are laid on."""
    memory: str = ""
    """What the process may take, such as 2GiB, 700MiB or 50% of what there is; then it works in smaller parts."""
    seed: int = 0
    """Of everything random. Same picture, options and seed: same bytes; among several pictures, up to rounding."""
    json: bool = False
    """Print the report as JSON."""
    again: bool = False
    """Skip nothing."""
    share: str = ""
    """Of the pictures, where several machines or processes work on them: 2/8 takes every eighth, from the second on;
    auto takes number and count from SLURM, Open MPI, MPICH or RANK and WORLD_SIZE."""

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
        if not 0 <= self.strength <= 1:
            raise UsageError(f"--strength: found {self.strength:g}, expected 0 to 1")
        chroma = _chroma_from(self.chroma)
        check_seed(self.seed)
        check_memory(self.memory)
        background = color_from(self.background, "--background")
        load = functools.partial(read, background=background)

        def recipe(picture: Picture) -> "Config":
            from diffquant.api import palette_recipe

            config = palette_recipe(
                picture,
                preset=self.preset,
                colors=colors,
                pinned=pinned,
                dither=self.dither,
                chroma=chroma,
                seed=self.seed,
                serpentine=self.serpentine,
                strength=self.strength,
            )
            return fitted(config, picture, self.memory)

        def make(picture: Picture, started: float) -> tuple["Result", bool]:
            return run(picture, recipe(picture), started=started)

        inputs = pictures_of(self.inputs, self.output, (".png",))
        folder = any(path.is_dir() for path in self.inputs)
        jobs = jobs_of(inputs, self.output, (".png",), folder=folder)
        if not folder and len(jobs) == 1 and not self.share:
            return batch(jobs, load, make, as_json=self.json)
        settings = (
            self.preset,
            colors,
            pinned,
            self.dither,
            self.strength,
            self.serpentine,
            chroma,
            background,
            self.seed,
            self.memory,
        )
        number, shares = share_from(self.share)
        share = f"{number}/{shares}" if self.share else ""
        record = Record(self.output, repr(settings), heeded=not self.again, share=share) if folder else None
        return many(
            jobs[number - 1 :: shares],
            lambda source: _with_recipe(load(source), recipe),
            record,
            as_json=self.json,
            alone=bool(self.memory),
        )


def _with_recipe(picture: Picture, recipe: "Callable[[Picture], Config]") -> "tuple[Picture, Config]":
    for notice in picture.notices:
        print(f"diffquant: {notice}", file=sys.stderr)
    return picture, recipe(picture)


def _chroma_from(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 16:
        raise UsageError(f"--chroma: found {text!r}, expected auto or a number from 1 to 16")
    return value
