"""Other quantizers, run here: Pillow and FFmpeg always; pngquant and ImageMagick if they are installed."""

import functools
import io
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping

import imageio_ffmpeg
from PIL import Image

Peer = Callable[[Image.Image, int], Image.Image]  # picture, colours -> picture of at most that many
LIVE = "live-"  # how the name of each begins


class UnavailableError(RuntimeError):
    """A program is not installed, or takes no such number of colours."""


def _pillow(image: Image.Image, k: int, *, method: Image.Quantize, kmeans: int = 0) -> Image.Image:
    palette = image.quantize(k, method=method, kmeans=kmeans)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)  # dithers only with a palette given


def _pngquant(image: Image.Image, k: int) -> Image.Image:
    return _filter([_program("", "--version", "pngquant"), "--speed", "1", str(k), "-"], image)


def _imagemagick(image: Image.Image, k: int) -> Image.Image:
    program = _program("ImageMagick", "-version", "magick", "convert")
    return _filter([program, "png:-", "-dither", "FloydSteinberg", "-colors", str(k), "png:-"], image)


def _ffmpeg(image: Image.Image, k: int, *, dither: str) -> Image.Image:
    """One frame in, one out: a palette of its whole histogram, then an error diffusion with it."""
    if k < 2:
        raise UnavailableError(f"takes 2 to 256 colours, found {k}")
    palette = f"palettegen=max_colors={k}:reserve_transparent=0"
    graph = f"split[a][b];[a]{palette}[p];[b][p]paletteuse=dither={dither}"
    reading = ["-nostdin", "-loglevel", "error", "-f", "png_pipe", "-i", "-"]
    writing = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-"]
    return _filter([imageio_ffmpeg.get_ffmpeg_exe(), *reading, "-filter_complex", graph, *writing], image)


PEERS: dict[str, Peer] = {
    LIVE + "pillow-mediancut-fs": functools.partial(_pillow, method=Image.Quantize.MEDIANCUT),
    LIVE + "pillow-maxcoverage-kmeans5-fs": functools.partial(_pillow, method=Image.Quantize.MAXCOVERAGE, kmeans=5),
    LIVE + "pngquant-fs": _pngquant,
    LIVE + "imagemagick-fs": _imagemagick,
    LIVE + "ffmpeg-sierra2_4a": functools.partial(_ffmpeg, dither="sierra2_4a"),
}


def available(colors: Iterable[int]) -> tuple[dict[int, list[str]], list[str]]:
    """For each number of colours the names of the peers that run here, and a line for each other one that says why not.

    Of several numbers of colours a peer's same reason counts once.
    """
    names: dict[int, list[str]] = {}
    lines: dict[str, None] = {}  # in order
    for k in colors:
        names[k], skipped = tried(PEERS, k)
        lines |= dict.fromkeys(skipped)
    return names, list(lines)


def tried(peers: Mapping[str, Callable[[Image.Image, int], object]], number: int) -> tuple[list[str], list[str]]:
    """Names of those that can do a small picture with this number, and a line for each other one that says why not."""
    names, lines = [], []
    for name, peer in peers.items():
        try:
            peer(Image.new("RGB", (24, 16)), number)
            names.append(name)
        except (UnavailableError, OSError) as error:
            lines.append(f"{name}: skipped: {error}")
    return names, lines


def piped(command: list[str], data: bytes) -> bytes:
    """What `command` makes of `data`: stdin to stdout.

    Raises:
        OSError: the command failed; says how.
    """
    done = subprocess.run(command, input=data, capture_output=True)
    if done.returncode:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


@functools.cache
def _program(banner: str, option: str, *names: str) -> str:
    """Path of the first program of these names that answers `option` with a text that holds `banner`."""
    for path in filter(None, map(shutil.which, names)):
        done = subprocess.run([path, option], capture_output=True, text=True, errors="replace")
        if done.returncode == 0 and banner in done.stdout:
            return path
    raise UnavailableError(f"found no {' or '.join(names)} on PATH that works")


def _filter(command: list[str], image: Image.Image) -> Image.Image:
    """The picture that `command` makes of a PNG."""
    source = io.BytesIO()
    image.save(source, "PNG", compress_level=1)
    with Image.open(io.BytesIO(piped(command, source.getvalue()))) as result:
        return result.convert("RGB")
