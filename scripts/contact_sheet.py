"""Lay crops of pictures side by side: a column for each method, a row for each crop, pixels enlarged.

    python scripts/contact_sheet.py original=photos/{}.png pngquant=peers/{}.png ours=runs/benchmark/images/{}.png \\
        --crop portrait 150 200 200 150 --crop parrots 180 90 200 150 -o sheet.png

{} stands for the name that a crop begins with; then come left, top, width and height in pixels.
"""

import dataclasses
import io
import itertools
import sys
from pathlib import Path
from typing import Annotated

from PIL import Image, ImageDraw, ImageFont
from tyro.conf import Positional, UseAppendAction, arg

from diffquant.console import UsageError, complain, parse
from diffquant.files import write_atomically
from diffquant.image import ImageError, read

PROG = "contact_sheet"
GAP, LINE = 8, 26  # pixels

Crop = tuple[str, int, int, int, int]  # name, left, top, width, height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sheet:
    """Crops of the same places in several files."""

    columns: Positional[tuple[str, ...]]
    """LABEL=FILE, with {} in FILE for the name of a picture."""
    crop: UseAppendAction[tuple[Crop, ...]]
    """NAME LEFT TOP WIDTH HEIGHT; several times for several rows."""
    output: Annotated[Path, arg(aliases=["-o"])] = Path("sheet.png")
    """The PNG to write."""
    zoom: int = 2
    """Pixels of the sheet for one of a picture, each way."""

    def run(self) -> int:
        """Draw and write."""
        columns = [column.partition("=") for column in self.columns]
        if not columns or not self.crop or not all(label and pattern for label, _, pattern in columns):
            raise UsageError("columns, --crop: expected LABEL=FILE and at least one crop")
        if self.zoom < 1:
            raise UsageError(f"--zoom: found {self.zoom}, expected at least 1")
        rows = [
            [self._tile(Path(pattern.replace("{}", crop[0])), crop) for *_, pattern in columns] for crop in self.crop
        ]
        width = max(row[0].width for row in rows) + GAP
        heights = [row[0].height + GAP for row in rows]
        sheet = Image.new("RGB", (width * len(columns) - GAP, LINE + sum(heights) - GAP), "white")
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
        for i, (label, *_) in enumerate(columns):
            draw.text((i * width, 2), label, fill="black", font=font)
            for row, top in zip(rows, itertools.accumulate(heights, initial=LINE), strict=False):
                sheet.paste(row[i], (i * width, top))
        data = io.BytesIO()
        sheet.save(data, "PNG", optimize=True)
        write_atomically(self.output, data.getvalue())
        return 0

    def _tile(self, path: Path, crop: Crop) -> Image.Image:
        name, left, top, width, height = crop
        pixels = read(path).srgb8
        h, w, _ = pixels.shape
        if not (0 <= left < left + width <= w and 0 <= top < top + height <= h):
            raise UsageError(f"--crop {name}: found {left} {top} {width} {height}, expected a part of {w}x{h} pixels")
        tile = Image.fromarray(pixels[top : top + height, left : left + width])
        return tile.resize((width * self.zoom, height * self.zoom), Image.Resampling.NEAREST)


def main(arguments: list[str]) -> int:
    """Exit status: 0, or 2 after one clear line."""
    try:
        return parse(Sheet, arguments, prog=PROG).run()
    except (UsageError, ImageError, OSError) as error:
        complain(error, prog=PROG)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
