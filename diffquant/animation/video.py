"""Videos, decoded by FFmpeg in a process of its own: any container and codec, frames turned upright."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from diffquant.image import ImageError

EXPECTED = "a GIF, a video or pictures"


def probe(path: Path) -> tuple[float, float]:
    """Frames in a second (25 if unknown), and seconds (0), as FFmpeg describes the first stream of pictures.

    Raises:
        ImageError: it finds none, or there is no FFmpeg.
    """
    told = subprocess.run([_executable(path), "-hide_banner", "-i", str(path)], capture_output=True, check=False)
    header = told.stderr.decode("utf-8", "replace")
    video = re.search(r"Stream #.*?: Video: .*", header)
    if video is None:
        raise ImageError(str(path), "found nothing that can be decoded", EXPECTED)
    # On average, and at a constant rate that would fit: either may be missing, or 0.
    rates = {kind: float(n) * (1000 if k else 1) for n, k, kind in re.findall(r" (\d[\d.]*)(k?) (fps|tbr)", video[0])}
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", header)
    seconds = 0.0 if length is None else 3600 * int(length[1]) + 60 * int(length[2]) + float(length[3])
    return rates.get("fps") or rates.get("tbr") or 25.0, seconds


def frames(path: Path, rate: float) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """sRGB codes of one frame after another, `rate` of them in a second.

    Raises:
        ImageError: the file ends or breaks before there is a frame, or there is no FFmpeg.
    """
    command = [_executable(path), "-nostdin", "-loglevel", "error", "-i", str(path), "-map", "0:v:0", "-r", f"{rate:g}"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"]
    # A group of its own, so that Ctrl-C does not reach it: but not by code after a fork, which JAX's threads forbid.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0) as process:
        assert process.stdout is not None
        try:
            count = 0
            while (pixels := _portable_pixmap(process.stdout)) is not None:
                yield pixels
                count += 1
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if count == 0:
        raise ImageError(str(path), "found nothing that can be decoded", EXPECTED)


def _executable(path: Path) -> str:
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        expected = "ffmpeg where commands are found, or its path in IMAGEIO_FFMPEG_EXE"
        raise ImageError(str(path), "found no FFmpeg to decode it with", expected) from None


def _portable_pixmap(stream: IO[bytes]) -> UInt8[np.ndarray, "h w 3"] | None:
    """The next picture: "P6", width and height, 255, each on a line; then the codes. None at the end."""
    if stream.readline() != b"P6\n":
        return None
    width, height = (int(word) for word in stream.readline().split())
    stream.readline()
    data = stream.read(width * height * 3)
    return np.frombuffer(data, np.uint8).reshape(height, width, 3) if len(data) == width * height * 3 else None
