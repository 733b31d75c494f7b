"""`diffquant palette`."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float64, UInt8
from tyro.conf import Positional, arg

from diffquant.arguments import color_from
from diffquant.console import UsageError
from diffquant.files import write_atomically
from diffquant.image import HEAD, read
from diffquant.palette.files import (
    MOST_COLORS,
    WRITABLE,
    PaletteFileError,
    cells,
    distinct,
    hex_from_colors,
    is_picture,
    palette_bytes,
    read_palette,
)
from diffquant.palette.median_cut import HEURISTICS, Heuristic

if TYPE_CHECKING:
    from diffquant.draw.view import Cloud
    from diffquant.palette.median_cut import Box

USUAL = 16  # colours of a picture that has more than a palette can hold
Colors = UInt8[np.ndarray, "k 3"]
Pixels = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MakePalette:
    """Make a palette of a picture, or of a palette file; write it in any format, and draw how it came about.

    What has at most as many colours as are wanted keeps them, in their order: so palette files are converted.
    """

    input: Positional[Path]
    """A picture; or a palette: .gpl, .act, .json, .hex, .txt, or a swatch."""
    colors: Annotated[int | None, arg(aliases=["-n"])] = None
    """Size of the palette, 1 to 256; by default all colours if there are no more than 256, otherwise 16."""
    output: Annotated[Path | None, arg(aliases=["-o"])] = None
    """The palette to write, in the format of its ending: .png (a swatch), .gpl, .act, .json, .hex or .txt."""
    show: Path | None = None
    """A drawing to write, a .png: swatches, and the picture's colours in OkLab with the boxes of a median cut."""
    cut: Path | None = None
    """An animation to write, a .gif: median cut, box by box, and the picture in the colours so far."""
    initial: Literal["kmeans", "median-cut"] = "kmeans"
    """How colours are chosen: as for `quantize` before it tunes them, or by median cut alone."""
    heuristic: str = Heuristic().name
    """Which box median cut halves, and where: such as xer2_max_er2absW; a wrong name lists them all."""
    background: str = "white"
    """What transparent pixels are laid on."""
    json: bool = False
    """Print colours and shares as JSON, which --palette reads too."""

    def run(self) -> int:
        """One palette: printed, written, drawn. No file is written before all of them are made."""
        if self.colors is not None and not 1 <= self.colors <= MOST_COLORS:
            raise UsageError(f"--colors: found {self.colors}, expected 1 to {MOST_COLORS} colours")
        if self.heuristic not in HEURISTICS:
            raise UsageError(f"--heuristic: found {self.heuristic!r}, expected one of {', '.join(HEURISTICS)}")
        self._check_outputs()
        background = color_from(self.background, "--background")
        with open(self.input, "rb") as file:
            drawn = is_picture(file.read(HEAD), self.input.suffix)
        if drawn:
            pixels = read(self.input, background=background).srgb8
            own = distinct(pixels.reshape(-1, 3))
        else:
            own = read_palette(self.input)
            pixels = own[None]  # each colour as often as any other
        if len(own) <= (self.colors or MOST_COLORS):
            colors = _listed(self.input, own) if drawn else own
        else:
            colors = self._chosen(pixels, self.colors or USUAL)

        from diffquant.draw.view import cloud_of

        cloud = cloud_of(pixels)
        shares = _shares(colors, cloud)
        files = {} if self.output is None else {self.output: palette_bytes(colors, self.output.suffix)}
        if self.show or self.cut:
            from diffquant.palette.median_cut import steps

            states = list(steps(cloud.points, cloud.shares, len(colors), HEURISTICS[self.heuristic]))
            if self.show:
                from diffquant.draw.sheet import palette_sheet

                files[self.show] = palette_sheet(colors, shares, cloud, states[-1], self._title(len(colors)))
            if self.cut:
                files[self.cut] = _animated(pixels if drawn else own[cells(len(own))], cloud, states)
        for path, data in files.items():
            write_atomically(path, data)
        self._print(colors, shares, list(files))
        return 0

    def _title(self, k: int) -> str:
        return f"{self.input.name}: {k} {'colour' if k == 1 else 'colours'}"

    def _check_outputs(self) -> None:
        wanted = {"--output": (self.output, WRITABLE), "--show": (self.show, (".png",)), "--cut": (self.cut, (".gif",))}
        seen: list[Path] = []
        for option, (path, suffixes) in wanted.items():
            if path is None:
                continue
            if path.suffix.lower() not in suffixes:
                raise UsageError(f"{option}: found {path}, expected a name ending in {' or '.join(suffixes)}")
            if not path.parent.is_dir():
                raise UsageError(f"{option}: found no folder {path.parent}, expected one that exists")
            if path.exists() and self.input.exists() and os.path.samefile(self.input, path):
                raise UsageError(f"{option}: found the input {path} itself, expected another file")
            if path.resolve() in seen:
                raise UsageError(f"{option}: found {path} twice, expected another file")
            seen.append(path.resolve())

    def _chosen(self, pixels: Pixels, k: int) -> Colors:
        """At most `k` colours, from dark to light."""
        from diffquant.color import linear_from_oklab, srgb8_from_linear
        from diffquant.palette.histogram import histogram, oklab_from_colors
        from diffquant.palette.initial import initial_palette
        from diffquant.palette.median_cut import median_cut

        if self.initial == "kmeans":
            entries = initial_palette(pixels, k)
        else:
            unique, weights = histogram(pixels)
            entries = median_cut(oklab_from_colors(unique), weights, k, HEURISTICS[self.heuristic])
        entries = entries[entries[:, 0].argsort(kind="stable")]
        return distinct(srgb8_from_linear(linear_from_oklab(entries.T)).T)

    def _print(self, colors: Colors, shares: Float64[np.ndarray, " k"], files: Sequence[Path]) -> None:
        names = hex_from_colors(colors)
        if self.json:
            from diffquant.report import to_json

            entries = [{"color": name, "share": share} for name, share in zip(names, shares.tolist(), strict=True)]
            print(to_json({"input": str(self.input), "outputs": [str(path) for path in files], "colors": entries}))
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._title(len(names))), title_justify="left", show_header=False)
        for name, share in zip(names, shares, strict=True):
            table.add_row(f"[on {name}]      [/]", name, f"{100 * share:.2f} %")
        Console().print(table)


def _listed(path: Path, own: Colors) -> Colors:
    """A picture's own colours in the order of its file's palette, unless what is transparent has changed them."""
    try:
        listed = read_palette(path)
    except PaletteFileError:  # all is transparent
        return own
    return listed if {*map(tuple, listed.tolist())} == {*map(tuple, own.tolist())} else own


def _shares(colors: Colors, cloud: "Cloud") -> Float64[np.ndarray, " k"]:
    """Of the pixels for which each colour is the nearest in OkLab."""
    import scipy.spatial

    from diffquant.palette.histogram import oklab_from_colors

    _, nearest = scipy.spatial.KDTree(oklab_from_colors(colors)).query(cloud.points)
    return np.bincount(nearest, cloud.shares, len(colors))


def _animated(pixels: Pixels, cloud: "Cloud", states: "Sequence[tuple[Box, ...]]") -> bytes:
    from rich.console import Console
    from rich.progress import track

    from diffquant.draw.cut import counts_of, cut_frames, durations_of, gif_bytes

    counts = counts_of(len(states))
    console = Console(stderr=True)
    frames = cut_frames(pixels, cloud, [states[count - 1] for count in counts])
    shown = track(frames, "Drawing", len(counts), console=console, transient=True, disable=not console.is_terminal)
    return gif_bytes(list(shown), durations_of(counts))
