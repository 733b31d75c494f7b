"""`diffquant quantize`."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from diffquant.arguments import check_seed, color_from, colors_from
from diffquant.console import UsageError, batch, jobs_of, run
from diffquant.image import Picture, read

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
