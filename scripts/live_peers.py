"""Other quantizers, run here: Pillow always, pngquant and ImageMagick if they are installed."""

import functools
import io
import shutil
import subprocess
from collections.abc import Callable

from PIL import Image

Peer = Callable[[Image.Image, int], Image.Image]  # picture, colours -> picture of at most that many


class MissingError(RuntimeError):
    """A program is not installed."""


def _pillow(image: Image.Image, k: int, *, method: Image.Quantize, kmeans: int = 0) -> Image.Image:
    palette = image.quantize(k, method=method, kmeans=kmeans)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)  # dithers only with a palette given


def _pngquant(image: Image.Image, k: int) -> Image.Image:
    return _filter([_program("", "--version", "pngquant"), "--speed", "1", str(k), "-"], image)


def _imagemagick(image: Image.Image, k: int) -> Image.Image:
    program = _program("ImageMagick", "-version", "magick", "convert")
    return _filter([program, "png:-", "-dither", "FloydSteinberg", "-colors", str(k), "png:-"], image)


PEERS: dict[str, Peer] = {
    "live-pillow-mediancut-fs": functools.partial(_pillow, method=Image.Quantize.MEDIANCUT),
    "live-pillow-maxcoverage-kmeans5-fs": functools.partial(_pillow, method=Image.Quantize.MAXCOVERAGE, kmeans=5),
    "live-pngquant-fs": _pngquant,
    "live-imagemagick-fs": _imagemagick,
}


def available() -> tuple[list[str], list[str]]:
    """Names of the peers that run here, and for each other one a line that says why not."""
    names, lines = [], []
    for name, peer in PEERS.items():
        try:
            peer(Image.new("RGB", (4, 4)), 2)
            names.append(name)
        except (MissingError, OSError) as error:
            lines.append(f"{name}: skipped: {error}")
    return names, lines


@functools.cache
def _program(banner: str, option: str, *names: str) -> str:
    """Path of the first program of these names that answers `option` with a text that holds `banner`."""
    for path in filter(None, map(shutil.which, names)):
        done = subprocess.run([path, option], capture_output=True, text=True, errors="replace")
        if done.returncode == 0 and banner in done.stdout:
            return path
    raise MissingError(f"found no {' or '.join(names)} on PATH that works")


def _filter(command: list[str], image: Image.Image) -> Image.Image:
    """The picture that `command` makes of a PNG: stdin to stdout.

    Raises:
        OSError: the command failed; says how.
    """
    source = io.BytesIO()
    image.save(source, "PNG", compress_level=1)
    done = subprocess.run(command, input=source.getvalue(), capture_output=True)
    if done.returncode:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    with Image.open(io.BytesIO(done.stdout)) as result:
        return result.convert("RGB")
