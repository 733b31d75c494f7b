"""Other JPEG encoders, run here: libjpeg-turbo (Pillow's own), and jpegli and MozJPEG if they are installed.

jpegli comes with `pip install pyjpegli`; MozJPEG is the cjpeg on PATH that says so: libjpeg-turbo's has the same name.
All write chroma of half the size in each direction; pyjpegli writes no progressive scans, which makes it some larger.
"""

import functools
import io
import shutil
import subprocess
from collections.abc import Callable

from live_peers import UnavailableError, piped, tried
from PIL import Image, features

Peer = Callable[[Image.Image, int], bytes]  # picture, quality -> JPEG file

QUALITIES = (25, 35, 50, 65, 80, 90)


def _turbo(image: Image.Image, quality: int) -> bytes:
    if not features.check_feature("libjpeg_turbo"):
        raise UnavailableError("found a Pillow without libjpeg-turbo")
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, subsampling="4:2:0", optimize=True, progressive=True)
    return data.getvalue()


def _jpegli(image: Image.Image, quality: int) -> bytes:
    try:
        import pyjpegli
    except ImportError:
        raise UnavailableError("found no pyjpegli (pip install pyjpegli)") from None
    return pyjpegli.encode(image.tobytes(), image.width, image.height, quality=quality)


def _mozjpeg(image: Image.Image, quality: int) -> bytes:
    source = io.BytesIO()
    image.save(source, "PPM")
    command = [_cjpeg(), "-quality", str(quality), "-sample", "2x2"]  # progressive and with a trellis, unless told
    return piped(command, source.getvalue())


PEERS: dict[str, Peer] = {"libjpeg-turbo": _turbo, "pyjpegli": _jpegli, "mozjpeg": _mozjpeg}


def available() -> tuple[list[str], list[str]]:
    """Names of the peers that run here, and a line for each other one that says why not."""
    return tried(PEERS, QUALITIES[0])


@functools.cache
def _cjpeg() -> str:
    """Path of MozJPEG's cjpeg."""
    path = shutil.which("cjpeg")
    if path is None:
        raise UnavailableError("found no cjpeg on PATH")
    done = subprocess.run([path, "-version"], capture_output=True, text=True, errors="replace")
    banner = " ".join((done.stdout + done.stderr).split())
    if "mozjpeg" not in banner.lower():
        raise UnavailableError(f"found another cjpeg on PATH: {banner}")
    return path
