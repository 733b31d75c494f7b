"""Other encoders of animated GIFs: FFmpeg's, as imageio-ffmpeg brings it, and gifski if it is on PATH."""

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import live_peers
import numpy as np
from jaxtyping import UInt8
from PIL import Image

Pictures = Sequence[UInt8[np.ndarray, "h w 3"]]
Peer = Callable[[Pictures, int, int], bytes]  # frames, hundredths of a second for each, colours -> a GIF

GIFSKI_COLORS = 256  # it has no other


def _ffmpeg(frames: Pictures, delay: int, k: int, *, dither: str) -> bytes:
    """One palette for all frames, one entry of it transparent."""
    h, w = frames[0].shape[:2]
    reading = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", f"{100 / delay:g}", "-i", "-"]
    use = f"paletteuse={dither}:diff_mode=rectangle"
    graph = f"[0:v]split[a][b];[a]palettegen=max_colors={k}[p];[b][p]{use}"
    writing = ["-filter_complex", graph, "-loop", "0", "-f", "gif", "-"]
    command = [_ffmpeg_program(), "-loglevel", "error", *reading, *writing]
    return live_peers.piped(command, b"".join(frame.tobytes() for frame in frames))


def _gifski(frames: Pictures, delay: int, k: int) -> bytes:
    program = shutil.which("gifski")
    if program is None:
        raise live_peers.UnavailableError("found no gifski on PATH")
    if k != GIFSKI_COLORS:
        raise live_peers.UnavailableError(f"makes {GIFSKI_COLORS} colours, found {k}")
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number:05}.png") for number in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            Image.fromarray(frame).save(path, compress_level=1)
        size = ["--fps", f"{100 / delay:g}", "--width", str(frames[0].shape[1]), "--height", str(frames[0].shape[0])]
        subprocess.run([program, "--quiet", "--quality", "100", *size, "-o", f"{folder}/out.gif", *paths], check=True)
        return (Path(folder) / "out.gif").read_bytes()


PEERS: dict[str, Peer] = {
    "ffmpeg-sierra2_4a": functools.partial(_ffmpeg, dither="dither=sierra2_4a"),
    "ffmpeg-bayer3": functools.partial(_ffmpeg, dither="dither=bayer:bayer_scale=3"),
    "gifski": _gifski,
}


def reason_against(name: str, k: int) -> str | None:
    """Why a peer cannot do a small clip of `k` colours; None if it can."""
    clip = [np.full((8, 12, 3), level, np.uint8) for level in (0, 200)]
    try:
        PEERS[name](clip, 4, k)
    except (live_peers.UnavailableError, OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


@functools.cache
def _ffmpeg_program() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()
