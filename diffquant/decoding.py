"""Image files and PIL images to plain samples.

Pillow decodes; what it leaves to its callers is done here: the lower half of 16-bit samples, transparent colours,
orientation, profiles.
"""

import io
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt16
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from diffquant.exif import upright_exif
from diffquant.icc import SPACES, srgb_from_profile

FORMATS = "PNG, JPEG, WebP, TIFF, GIF or BMP"
OPENERS: dict[str, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WebP": WebPImageFile,
    "TIFF": TiffImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
}
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
# Refused before a pixel is decoded: 16384 x 16384 take 4 GB as a Picture. Pillow's own limit, and its warning, belong
# to `Image.open`, which is not used here.
MAX_PIXELS = 2**28

NOT_KEPT = "embedded profile not kept; expected one for grey where all pixels are grey, otherwise one for RGB"
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, PLANAR_CONFIGURATION = 258, 262, 274, 284  # TIFF tags; EXIF has the third
UPRIGHT: dict[Any, Callable[[np.ndarray], np.ndarray]] = {  # of [h w ...], by EXIF orientation
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x[::-1].swapaxes(0, 1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x[:, ::-1].swapaxes(0, 1),
}


class UnsupportedError(ValueError):
    """A sound image of a kind that is not read: what was found, what was expected."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Upright pixels: uint8 or uint16 of full range, or floats of [0, 1]. Alpha, if any, is of the same type.

    Colours are sRGB, unless there is a profile that says what they are.
    """

    color: Shaped[np.ndarray, "h w c"]  # c is 1 or 3
    alpha: Shaped[np.ndarray, "h w"] | None = None
    notices: tuple[str, ...] = ()
    icc: bytes | None = None
    exif: bytes | None = None  # as a JPEG has it, orientation 1


def format_of(head: bytes) -> str | None:
    """The format that a file's first bytes announce, if it is one of `FORMATS`."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None)


def samples_from_file(data: bytes, file_format: str, *, keep: Collection[str] = ()) -> Samples:
    """The first picture in a file's bytes, and of "exif" and "icc" what is to be kept.

    Raises: `UnsupportedError`; on corrupt data whatever Pillow does.
    """

    def opened() -> Any:
        return OPENERS[file_format](io.BytesIO(data))

    image = opened()
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnsupportedError(f"{width} x {height} pixels", f"at most {MAX_PIXELS // 10**6} megapixels")
    tags = getattr(image, "tag_v2", {})
    if tags.get(PLANAR_CONFIGURATION) == 2 and max(tags.get(BITS_PER_SAMPLE, (8,))) > 8:
        raise UnsupportedError("16-bit TIFF in separate planes", "interleaved samples")  # Pillow would misread it
    if file_format == "PNG":
        opened().verify()  # every checksum and the end mark: decoding looks at neither
    notices = []
    if (count := getattr(opened(), "n_frames", 1)) > 1:
        pages = file_format == "TIFF"
        notices.append(f"TIFF: first of {count} pages" if pages else f"animated {file_format}: first of {count} frames")

    rawmode = _rawmode(image)
    deep = None
    if rawmode.startswith("RGBa;16"):
        notices.append("premultiplied 16-bit samples read as 8-bit")
    elif rawmode.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16")) and image.mode != "CMYK":
        deep = _deep(image, opened(), rawmode)
    elif image.mode.startswith("I;16"):
        deep = _deep_grey(image)
    elif rawmode in ("L;2", "L;4") and "transparency" in image.info:
        image.info["transparency"] *= {"L;2": 85, "L;4": 17}[rawmode]  # Pillow scales the samples only
    found = samples_from_pil(image, deep=deep, keep=keep)
    return replace(found, notices=(*notices, *found.notices))


def samples_from_pil(
    image: Image.Image, *, deep: UInt16[np.ndarray, "h w c"] | None = None, keep: Collection[str] = ()
) -> Samples:
    """Upright samples of a PIL image; `deep` are the ones it stands for, alpha last, where its mode lacks room.

    Raises: `UnsupportedError` for a mode of unknown range.
    """
    if image.mode == "I":
        raise UnsupportedError("32-bit integer samples", "8 or 16 bits")
    if deep is None and image.mode.startswith("I;16"):
        deep = _deep_grey(image)
    image.load()
    notices: tuple[str, ...] = ()
    icc = None
    profile = image.info.get("icc_profile")
    if image.mode == "F":
        color, alpha = np.asarray(image)[..., None], None
    elif deep is None:
        plain, alpha = _split(image)
        plain, icc, notices = _managed(plain, profile, keep="icc" in keep)
        color = _planes(plain)
    else:
        color, alpha = _split_deep(deep, image.info.get("transparency"))
        plain = Image.fromarray(_eight_bits(color[..., 0] if color.shape[-1] == 1 else color))
        managed, icc, notices = _managed(plain, profile, keep="icc" in keep)
        if managed is not plain:
            color, alpha = _planes(managed), None if alpha is None else _eight_bits(alpha)
            notices = (*notices, "16-bit samples rounded to 8 bits for it")
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION), lambda x: x)
    except Exception:  # a damaged EXIF block is no reason to refuse the pixels
        turn, notices = (lambda x: x), (*notices, "unreadable EXIF data ignored")
    exif, lost = upright_exif(image) if "exif" in keep else (None, ())
    return Samples(
        color=turn(color),
        alpha=None if alpha is None else turn(alpha),
        notices=(*notices, *lost),
        icc=icc,
        exif=exif,
    )


def _managed(
    image: Image.Image, profile: bytes | None, *, keep: bool
) -> tuple[Image.Image, bytes | None, tuple[str, ...]]:
    """In sRGB; or, if its profile can be kept, the very same image with that. And notices."""
    managed, notices = srgb_from_profile(image, profile)
    unusable = managed is image and notices
    if not keep or not profile or unusable:
        return managed, None, notices
    if image.mode in ("L", "RGB") and profile[16:20] == SPACES[image.mode].encode():  # ICC.1:2022, 7.2.8
        return image, profile, ()
    return managed, None, (*notices, NOT_KEPT)


def _planes(image: Image.Image) -> np.ndarray:
    """[h w c], also of a grey image."""
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _eight_bits(deep: np.ndarray) -> np.ndarray:
    return np.rint(deep / 257).astype(np.uint8)


def _split(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """Colour of mode `L`, `RGB`, `CMYK` or `LAB`, and alpha."""
    if image.mode in ("CMYK", "LAB"):
        return image, None
    grey = image.mode in ("1", "L", "LA", "La")
    if not image.has_transparency_data:
        return image.convert("L" if grey else "RGB"), None
    both = image.convert("LA" if grey else "RGBA")
    return both.convert("L" if grey else "RGB"), np.asarray(both.getchannel("A"))


def _split_deep(deep: np.ndarray, key: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Colour and alpha; `key` is the one colour that a PNG without an alpha channel may declare transparent."""
    if deep.shape[-1] in (2, 4):
        return deep[..., :-1], deep[..., -1]
    if key is None:
        return deep, None
    return deep, np.where((deep == np.asarray(key)).all(-1), 0, 65535).astype(np.uint16)


def _rawmode(image: Any) -> str:
    """How the samples lie in the file, in Pillow's words; empty where its decoder does not say."""
    tiles = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) else args)


def _set_rawmode(image: Any, rawmode: str) -> None:
    image.tile = [
        tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
        for tile in image.tile
    ]


def _deep(image: Any, twin: Any, rawmode: str) -> UInt16[np.ndarray, "h w c"]:
    """16-bit colour samples, of which Pillow keeps the first byte in the file's order: read in the other order, it
    keeps the second. `twin` is the same file, opened again."""
    if rawmode.startswith("LA"):  # four bytes for each pixel, as RGBA has
        _set_rawmode(image, "RGBA")
        image.load()
        high, low = np.asarray(image)[..., 0::2], np.asarray(image)[..., 1::2]
    else:
        native, foreign = ("L", "B") if sys.byteorder == "little" else ("B", "L")
        _set_rawmode(twin, rawmode[:-1] + {native: foreign, foreign: native, "N": foreign}[rawmode[-1]])
        image.load()
        twin.load()
        high, low = np.asarray(image), np.asarray(twin)
    return high * np.uint16(256) + low


def _deep_grey(image: Any) -> UInt16[np.ndarray, "h w 1"]:
    """16-bit grey samples of full range: 12-bit ones are stretched, white-is-zero ones inverted."""
    twelve = _rawmode(image) == "I;12"
    white_is_zero = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
    image.load()
    samples = np.asarray(image).astype(np.uint16)[..., None]
    if twelve:
        samples = np.rint(samples * (65535 / 4095)).astype(np.uint16)
    return 65535 - samples if white_is_zero else samples
