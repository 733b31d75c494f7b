"""The classical dithers beside this project's own: `python scripts/dither_study.py photos/*.png -n 16 64`.

Every dither gets the same initial palette; the classical ones keep it, the presets go on to tune it. Each picture is
measured as decoded, seconds are those of a second run. To --out:

    results.csv  a row for each picture, dither and number of colours
    tables.md    means over the pictures, also on stdout
    sheet-N.png  a row for each dither: ramps and flat fields, and the middle of the first picture, in N colours
"""

import csv
import dataclasses
import functools
import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn, get_args

import numpy as np
from benchmarks import completed, status_of
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from tyro.conf import Positional, arg

from diffquant import color
from diffquant.console import UsageError, use_compilation_cache
from diffquant.export.classical import Mask
from diffquant.export.diffusion import diffuse
from diffquant.export.indexed import IndexedImage
from diffquant.export.names import Kernel
from diffquant.export.ordered import dither_ordered, mask_of
from diffquant.export.riemersma import riemersma
from diffquant.files import write_atomically
from diffquant.image import ImageError, Picture, read
from diffquant.metrics import METRICS, measure
from diffquant.palette.initial import initial_palette
from diffquant.presets import Preset, palette_config
from diffquant.runner import stages

PROG = "dither_study"
SHOWN = ("scielab", "oklab_mse_blur", "ssimulacra2")
OURS: tuple[Preset, ...] = ("fast", "balanced")
DETAIL, ZOOM, GAP, LABEL = (128, 96), 3, 8, 22  # pixels: width and height of a detail, and between pictures
Method = Callable[[Picture, int], IndexedImage]
Codes = UInt8[np.ndarray, "h w 3"]
Row = dict[str, str | float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """Compare dithers on the same palettes. A Markdown table goes to stdout."""

    images: Positional[tuple[Path, ...]]
    """Pictures, of different names."""
    colors: Annotated[tuple[int, ...], arg(aliases=["-n"])] = (16, 64)
    """Sizes of palette, 1 to 256."""
    out: Path = Path("runs/dithers")
    """Folder of results."""

    def run(self) -> int:
        """Rows, then tables and sheets. A picture that cannot be read ends it before it starts."""
        pictures = self._check()
        use_compilation_cache()
        self.out.mkdir(parents=True, exist_ok=True)
        tasks = [(picture, name, k) for k in self.colors for picture in pictures for name in methods()]
        rows = list(completed(_row, tasks, 1))
        report = "\n\n".join(_table(rows, k) for k in self.colors)
        print(report)
        write_atomically(self.out / "tables.md", f"{report}\n".encode())
        write_atomically(self.out / "results.csv", _csv(rows))
        for k in self.colors:
            write_atomically(self.out / f"sheet-{k}.png", sheet(pictures[0], k))
        return 0

    def _check(self) -> list[Picture]:
        if not self.images:
            raise UsageError("found no picture, expected at least one")
        if not self.colors or not all(1 <= k <= 256 for k in self.colors):
            raise UsageError(f"--colors: found {self.colors}, expected numbers from 1 to 256")
        if len({path.stem for path in self.images}) < len(self.images):
            raise UsageError("found two pictures of one name, expected different names")
        try:
            return [read(path) for path in self.images]
        except ImageError as error:
            raise UsageError(str(error)) from None


def methods() -> dict[str, Method]:
    """By name: none, the classical ones, ours."""
    found: dict[str, Method] = {"none": functools.partial(_classical, functools.partial(diffuse, strength=0.0))}
    for kernel in get_args(Kernel):
        found[kernel] = functools.partial(_classical, functools.partial(diffuse, kernel=kernel))
    found["riemersma"] = functools.partial(_classical, riemersma)
    for mask in get_args(Mask):
        found[mask] = functools.partial(_classical, functools.partial(dither_ordered, mask=mask_of(mask)))
    return found | {f"polish, {preset}": functools.partial(_polished, preset) for preset in OURS}


@functools.lru_cache
def _palette(pixels: bytes, shape: tuple[int, ...], k: int) -> UInt8[np.ndarray, "k 3"]:
    oklab = initial_palette(np.frombuffer(pixels, np.uint8).reshape(shape), k)
    return color.srgb8_from_linear(color.linear_from_oklab(oklab.T).T)


def _classical(dither: Callable[..., UInt8[np.ndarray, "h w"]], picture: Picture, k: int) -> IndexedImage:
    codes = _palette(picture.srgb8.tobytes(), picture.srgb8.shape, k)
    return IndexedImage(codes, dither(color.linear_from_srgb8(picture.srgb8), color.linear_from_srgb8(codes)))


def _polished(preset: Preset, picture: Picture, k: int) -> IndexedImage:
    artifact = None
    for stage in stages(picture, palette_config(preset, colors=k)):
        artifact = stage.artifact
    assert isinstance(artifact, IndexedImage)  # the last stage holds one
    return artifact


def _row(task: tuple[Picture, str, int]) -> Row:
    picture, name, k = task
    method = methods()[name]
    method(picture, k)  # compiles, and chooses the palette
    started = time.perf_counter()
    result = method(picture, k)
    seconds = time.perf_counter() - started
    values: Row = {"image": Path(picture.name).stem, "method": name, "k": k}
    return (
        values | measure(picture.srgb8, result.decode(), SHOWN) | {"bytes": len(result.to_bytes()), "seconds": seconds}
    )


def _csv(rows: Sequence[Row]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _table(rows: Sequence[Row], k: int) -> str:
    """Means over the pictures, a row for each dither."""
    labels = [METRICS[name].label for name in SHOWN]
    lines = [f"## {k} colours", "", f"| dither | {' | '.join(labels)} | bytes | seconds |", "| --- |" + " ---: |" * 5]
    for method in methods():
        mine = [row for row in rows if row["method"] == method and row["k"] == k]
        mean = {name: statistics.mean(float(row[name]) for row in mine) for name in (*SHOWN, "bytes", "seconds")}
        cells = [METRICS[name].format(mean[name]) for name in SHOWN]
        lines.append(f"| {method} | {' | '.join(cells)} | {mean['bytes']:,.0f} | {mean['seconds']:.3f} |")
    return "\n".join(lines)


def chart() -> Codes:
    """A ramp of greys, one of hues, one from a colour to another, and flat fields of four colours."""
    width, height = DETAIL
    across = np.linspace(0, 1, width)
    angles = 2 * np.pi * (across[:, None] + np.array([0, 1, 2]) / 3)
    ramps = [across[:, None].repeat(3, 1), 0.5 + 0.4 * np.cos(angles), np.outer(1 - across, [1, 0.6, 0.1])]
    fields = np.repeat([[0.5, 0.5, 0.5], [0.8, 0.6, 0.5], [0.2, 0.4, 0.7], [0.1, 0.12, 0.1]], width // 4, axis=0)
    rows = np.repeat(np.stack([*ramps, fields]), height // 4, axis=0)
    return np.rint(255 * np.clip(rows, 0, 1)).astype(np.uint8)


def sheet(picture: Picture, k: int) -> bytes:
    """The chart and the picture's middle, enlarged, a row for each dither after the originals. A PNG."""
    height, width, _ = picture.srgb8.shape
    top, left = (max(size - part, 0) // 2 for size, part in zip((height, width), DETAIL[::-1], strict=True))
    middle = (slice(top, top + DETAIL[1]), slice(left, left + DETAIL[0]))
    card = read(chart())
    rows = [("original", card.srgb8, picture.srgb8[middle])]
    rows += [(name, way(card, k).decode(), way(picture, k).decode()[middle]) for name, way in methods().items()]
    wide, high = DETAIL[0] * ZOOM + GAP, DETAIL[1] * ZOOM + GAP + LABEL
    canvas = Image.new("RGB", (GAP + 2 * wide, len(rows) * high), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=16)
    for number, (name, *shown) in enumerate(rows):
        draw.text((GAP, number * high), name, fill="black", font=font)
        for column, codes in enumerate(shown):
            enlarged = Image.fromarray(codes.repeat(ZOOM, 0).repeat(ZOOM, 1))
            canvas.paste(enlarged, (GAP + column * wide, number * high + LABEL))
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Study, arguments, prog=PROG, lost="nothing is written"))


if __name__ == "__main__":
    main()
