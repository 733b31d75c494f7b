"""How far the model of a JPEG is from the files: pixels, bytes, and bytes as a gradient sees them.

    python scripts/jpeg_fidelity.py --images photos --quality 20 50 80 --subsampling 420 444

A Markdown table with a row for each subsampling and quality, over all pictures of a folder. Levels are plainly rounded,
under the tables with which the codec starts. `PSNR` compares the decoder that losses see with what Pillow makes of the
file; `exact` counts pictures of which no pixel differs. `bytes` is the error of the estimate that the search trusts,
in per cent of the file. The last columns are the error of the smooth rate, in per cent of the file, at the next lower
and the next higher quality than the one it was fitted at: there it is right by construction, and training leaves it.
Each cell is the mean over pictures and, after a comma, the worst.
"""

import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import jax.numpy as jnp
import numpy as np
from benchmarks import completed, pictures, status_of

from diffquant.console import UsageError, use_compilation_cache
from diffquant.image import ImageError, read
from diffquant.interfaces import Pixels
from diffquant.jpeg import tables
from diffquant.jpeg.decoder import decode
from diffquant.jpeg.descent import rounded
from diffquant.jpeg.encoder import coefficients_from_pixels
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry, Subsampling
from diffquant.jpeg.judge import natural, zigzag
from diffquant.jpeg.rate import SmoothRate, smooth_rate
from diffquant.jpeg.size import progressive_bytes

PROG = "jpeg_fidelity.py"
HALF = 0.5  # of a step: plain rounding
HEAD = ("subsampling", "quality", "PSNR, worst (dB)", "exact", "bytes (%)", "smooth, from above (%)", "from below (%)")
LOWEST, HIGHEST = 1.0, 100.0


@dataclasses.dataclass(frozen=True)
class Task:
    """One picture, at all qualities: the smooth rate of each is tried at its neighbours."""

    path: Path
    subsampling: Subsampling
    qualities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """What was found of one picture at one quality. Errors are shares of the file's bytes, NaN without a neighbour."""

    subsampling: Subsampling
    quality: float
    psnr: float  # dB, infinite if every pixel is right
    size: float
    from_above: float  # of the smooth rate that was fitted at the next higher quality
    from_below: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How far the model of a JPEG is from the files of a folder's pictures."""

    images: Path
    """Folder of pictures; other files in it do not matter."""
    quality: tuple[float, ...] = (20, 30, 40, 50, 60, 70, 80, 90, 95)
    """On libjpeg's scale."""
    subsampling: tuple[Subsampling, ...] = ("420", "444")
    """Of chroma."""
    jobs: int = 1
    """Processes at a time."""

    def run(self) -> int:
        """Prints the table."""
        qualities = tuple(sorted(set(self.quality)))
        if not qualities or not all(LOWEST <= quality <= HIGHEST for quality in qualities):
            found = " ".join(f"{quality:g}" for quality in self.quality) or "none"
            raise UsageError(f"--quality: found {found}, expected numbers from {LOWEST:g} to {HIGHEST:g}")
        if not self.subsampling or self.jobs < 1:
            found = f"--jobs: found {self.jobs}" if self.subsampling else "--subsampling: found none"
            raise UsageError(f"{found}, expected at least one")
        tasks = [Task(path, one, qualities) for one in self.subsampling for path in pictures(self.images).values()]
        print(markdown([row for rows in completed(measured, tasks, self.jobs) for row in rows]))
        return 0


def measured(task: Task) -> list[Row]:
    """The rows of one picture.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        pixels = read(task.path).srgb8
    except ImageError as error:
        raise UsageError(str(error)) from None
    use_compilation_cache()
    files = [file_at(pixels, task.subsampling, quality) for quality in task.qualities]
    sizes = [len(file.to_bytes()) for file in files]
    smooth = [fitted(file, 8.0 * size) for file, size in zip(files, sizes, strict=True)]
    rows = []
    for n, (quality, file, size) in enumerate(zip(task.qualities, files, sizes, strict=True)):
        neighbours = [smooth[other] if 0 <= other < len(smooth) else None for other in (n + 1, n - 1)]
        above, below = (float("nan") if rate is None else bytes_of(rate, file) / size - 1 for rate in neighbours)
        estimate = progressive_bytes(file.levels, file.geometry, file.tables)
        rows.append(Row(task.subsampling, quality, model_psnr(file), estimate / size - 1, above, below))
    return rows


def file_at(pixels: Pixels, subsampling: Subsampling, quality: float) -> JpegImage:
    """The picture with plainly rounded levels, under the tables of equal visibility."""
    components = 1 if (pixels == pixels[:, :, :1]).all() else 3
    h, w = pixels.shape[:2]
    geometry = Geometry(h, w, subsampling, components)
    whole = tables.whole(tables.steps(geometry, tables.distance_from_quality(quality)))
    ideal = [zigzag(plane) for plane in coefficients_from_pixels(pixels, geometry)]
    steps = tuple(zigzag(table.astype(np.float32))[0] for table in whole)
    blocks = zip(rounded(ideal, steps, HALF), geometry.blocks, strict=True)
    return JpegImage(tuple(natural(level, shape).astype(np.int16) for level, shape in blocks), whole, geometry)


def model_psnr(file: JpegImage) -> float:
    """Of the decoder that losses see, against Pillow's; dB."""
    coefficients = [
        jnp.asarray(level * table, jnp.float32) for level, table in zip(file.levels, file.tables, strict=True)
    ]
    codes = np.moveaxis(np.asarray(decode(coefficients, file.geometry)), 0, 2)
    return psnr(float(np.mean((codes - file.decode()) ** 2)))


def psnr(error: float) -> float:
    """Of a mean squared error of codes; infinite for 0."""
    return float("inf") if error == 0 else 10 * math.log10(255**2 / error)


def fitted(file: JpegImage, bits: float) -> SmoothRate:
    """The smooth rate that is right for this file."""
    return smooth_rate([zigzag(level).astype(np.int32) for level in file.levels], bits)


def bytes_of(rate: SmoothRate, file: JpegImage) -> float:
    """The smooth rate's opinion of another file's size."""
    return float(rate([jnp.asarray(level, jnp.float32) for level in file.levels])) / 8


def markdown(rows: Sequence[Row]) -> str:
    """Means and the worst over pictures, a line for each subsampling and quality."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1))]
    for subsampling, quality in dict.fromkeys((row.subsampling, row.quality) for row in rows):
        group = [row for row in rows if (row.subsampling, row.quality) == (subsampling, quality)]
        # The mean is that of squared errors, so that an exact picture does not make it infinite.
        error = float(np.mean([255**2 * 10 ** (-row.psnr / 10) for row in group]))
        right = sum(row.psnr == float("inf") for row in group)
        cells = [f"{psnr(error):.1f}, {min(row.psnr for row in group):.1f}", f"{right} of {len(group)}"]
        cells += [_errors([getattr(row, name) for row in group]) for name in ("size", "from_above", "from_below")]
        lines.append((":".join(subsampling), f"{quality:g}", *cells))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _errors(shares: Sequence[float]) -> str:
    """Mean size of the errors, and the worst with its sign, in per cent."""
    if np.isnan(shares).any():
        return "–"
    worst = max(shares, key=abs)
    return f"{100 * np.mean(np.abs(shares)):.2f}, {100 * worst:+.2f}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Entry point: 0 if all went well, 2 after one clear line if not, 130 if interrupted."""
    sys.exit(status_of(Fidelity, arguments, prog=PROG, lost="no row is kept"))


if __name__ == "__main__":
    main()
