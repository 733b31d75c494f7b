"""Reading pictures: files, PIL images and NumPy arrays, all to upright opaque sRGB."""

import os
import re
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Shaped, UInt8
from PIL import Image, ImageColor

from diffquant.decoding import (
    FORMATS,
    NOT_KEPT,
    Samples,
    UnsupportedError,
    format_of,
    samples_from_file,
    samples_from_pil,
)

Color = tuple[int, int, int]  # sRGB codes
Metadata = Literal["exif", "icc"]
HEAD = 512  # bytes by which a file is judged to be an image, before the rest is read


class ImageError(ValueError):
    """A picture that cannot be read. One line: which file, what was found, what was expected."""

    def __init__(self, name: str, found: str, expected: str) -> None:
        line = f"{name}: {' '.join(found.split())}; expected {expected}"
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))
        self._parts = (name, found, expected)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), self._parts


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture to compress: upright, opaque, sRGB; or, with a profile that was to be kept, codes of that."""

    srgb8: UInt8[np.ndarray, "h w 3"]  # exactly the file's codes if it is 8-bit sRGB without alpha
    deep: Float32[np.ndarray, "h w 3"] | None = None  # the same in [0, 1], where the source is finer than that
    name: str  # of the source, for messages
    notices: tuple[str, ...] = ()  # what was done on the way that a user may want to know, a line each
    icc: bytes | None = None  # for grey where all pixels are grey, otherwise for RGB
    exif: bytes | None = None  # for the APP1 segment of a JPEG, orientation 1

    @property
    def bits(self) -> int:
        """Of the source: 8, or 16 for all that is finer."""
        return 8 if self.deep is None else 16

    @property
    def srgb(self) -> Float32[np.ndarray, "h w 3"]:
        """In [0, 1], with all the precision of the source."""
        return self.srgb8.astype(np.float32) / np.float32(255) if self.deep is None else self.deep

    def linear(self, rows: slice = slice(None)) -> Float32[np.ndarray, "3 _ w"]:
        """Linear light in [0, 1], planar; of all `rows`, or some."""
        from diffquant.color import linear_from_srgb, linear_from_srgb8  # pulls in JAX: reading must not wait for it

        if self.deep is None:
            linear = linear_from_srgb8(np.moveaxis(self.srgb8[rows], -1, 0))
        else:
            linear = linear_from_srgb(np.moveaxis(self.deep[rows], -1, 0))
        return np.ascontiguousarray(linear, np.float32)


def parse_color(text: str) -> Color:
    """sRGB codes of '#rgb', '#rrggbb' or a CSS colour name.

    Raises: ValueError, one line, for anything else, colours with alpha included.
    """
    word = text.strip().lower()
    if not re.fullmatch(r"#([0-9a-f]{3}|[0-9a-f]{6})", word) and word not in ImageColor.colormap:
        raise ValueError(f"colour {text!r}: expected '#rgb', '#rrggbb' or a CSS name such as 'white', without alpha")
    red, green, blue = ImageColor.getrgb(word)[:3]
    return red, green, blue


def read(
    source: str | os.PathLike[str] | Image.Image | Shaped[np.ndarray, "..."],
    *,
    background: Color = (255, 255, 255),
    keep: Collection[Metadata] = (),
) -> Picture:
    """The first picture of a PNG, JPEG, WebP, TIFF, GIF or BMP file; or a PIL image; or an array.

    Arrays are [h w], [h w 1] (grey), [h w 2] (grey and alpha), [h w 3] or [h w 4]: uint8, uint16, bool, or floats in
    [0, 1], all gamma-encoded sRGB. EXIF orientation is applied, and an embedded profile converted to sRGB (relative
    colorimetric, black point compensated). Alpha is composited on `background` in gamma-encoded values: linear light
    would be right for light, but browsers and viewers do this, and it is what the picture was drawn to look like.

    To `keep` "exif" is to have its data, with the orientation that the pixels now have. To keep "icc" is to have the
    profile, and the pixels as they are: nothing is converted, and codes of `background` are taken for the profile's.
    What cannot be kept is named in a notice.

    Raises: ImageError for whatever cannot be read whole.
    """
    picture = _read(source, background, keep)
    if picture.icc is None or (picture.icc[16:20] == b"GRAY") == _is_grey(picture.srgb8):
        return picture
    picture = _read(source, background, [kind for kind in keep if kind != "icc"])
    return replace(picture, notices=(*picture.notices, f"{picture.name}: {NOT_KEPT}"))


def _is_grey(pixels: UInt8[np.ndarray, "h w 3"]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _read(source: Any, background: Color, keep: Collection[Metadata]) -> Picture:
    if isinstance(source, np.ndarray):
        name = "array"
        samples = _samples_from_array(name, source)
    elif isinstance(source, Image.Image):
        name = os.fspath(getattr(source, "filename", "")) or "PIL image"
        if 0 in source.size:
            raise ImageError(name, f"empty image of {source.width} x {source.height} pixels", "at least one pixel")
        samples = _decoded(name, source.format or f"image of mode {source.mode}", samples_from_pil, source, keep=keep)
    elif isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
        data = _read_bytes(name)
        file_format = format_of(data[:HEAD])
        samples = _decoded(name, file_format, samples_from_file, data, file_format, keep=keep)
    else:
        raise ImageError("source", f"found {type(source).__name__}", "a path, a PIL image or a NumPy array")
    return _picture(name, samples, background)


def _decoded(name: str, kind: Any, decode: Callable[..., Samples], *args: Any, **options: Any) -> Samples:
    """What `decode` returns; anything that goes wrong inside it, as one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities in metadata; what harms the pixels is raised
            return decode(*args, **options)
    except MemoryError:
        raise
    except UnsupportedError as error:
        raise ImageError(name, *error.args) from error
    except Exception as error:  # decoders raise anything: SyntaxError, struct.error, IndexError, ...
        state = "truncated" if "truncated" in str(error).lower() else "truncated, corrupt or unsupported"
        raise ImageError(name, f"{state} {kind} ({str(error) or type(error).__name__})", "a whole image") from error


def _read_bytes(name: str) -> bytes:
    """A file's content, if it starts as an image does."""
    try:
        with open(name, "rb") as file:
            head = file.read(HEAD)
            if format_of(head) is None:
                raise ImageError(name, _describe(head), f"a {FORMATS} image")
            return head + file.read()
    except FileNotFoundError as error:
        raise ImageError(name, "no such file", "an image file") from error
    except IsADirectoryError as error:
        raise ImageError(name, "a directory", "an image file") from error
    except OSError as error:
        raise ImageError(name, f"cannot be read ({error.strerror or error})", "an image file") from error
    except ImageError:
        raise
    except ValueError as error:  # a null character in the path
        raise ImageError(name, f"not a path ({error})", "an image file") from error


def _describe(head: bytes) -> str:
    """What a file is that is not an image we read, from its first bytes."""
    if not head:
        return "empty file"
    if head[4:8] == b"ftyp":
        return "HEIC, AVIF or video"
    if not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", head):
        return "text or an unknown format"
    return f"unknown format (begins with {head[:8].hex(' ')})"


def _samples_from_array(name: str, array: np.ndarray) -> Samples:
    grey_or_color = array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 2, 3, 4))
    known = array.dtype in (np.uint8, np.uint16, np.bool_) or np.issubdtype(array.dtype, np.floating)
    if not (grey_or_color and known and array.size):
        raise ImageError(
            name,
            f"{array.dtype} of shape {array.shape}",
            "[h w] or [h w 1|2|3|4], not empty, of uint8, uint16, bool or floats",
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[-1] in (2, 4):
        return Samples(color=array[..., :-1], alpha=array[..., -1])
    return Samples(color=array)


def _picture(name: str, samples: Samples, background: Color) -> Picture:
    color, alpha, notices = samples.color, samples.alpha, samples.notices
    integer = np.issubdtype(color.dtype, np.integer)
    for part in (color, alpha):
        if part is not None and not integer and not (part.min() >= 0 and part.max() <= 1):  # NaN compares false
            raise ImageError(name, f"{part.dtype} values from {part.min()} to {part.max()}", "all of them in [0, 1]")
    peak = np.iinfo(color.dtype).max if integer else 1
    if alpha is not None and (alpha < peak).any():
        notices = (*notices, "alpha composited on #{:02x}{:02x}{:02x}".format(*background))
        color = _over(color, alpha[..., None], np.asarray(background), peak)
    color = np.broadcast_to(color, (*color.shape[:2], 3))
    deep = None if color.dtype == np.uint8 else np.ascontiguousarray(color.astype(np.float32) / np.float32(peak))
    return Picture(
        srgb8=np.array(color, order="C") if deep is None else np.rint(deep * 255).astype(np.uint8),
        deep=deep,
        name=name,
        notices=tuple(f"{name}: {notice}" for notice in notices),
        icc=samples.icc,
        exif=samples.exif,
    )


def _over(color: np.ndarray, alpha: np.ndarray, background: np.ndarray, peak: int) -> np.ndarray:
    """Composited in the samples' own type; integers are rounded to the nearest (uint32 just holds 65535 squared)."""
    if peak == 1:
        return color * alpha + background / 255 * (1 - alpha)
    wide = alpha.astype(np.uint32)
    behind = (background * (peak // 255)).astype(np.uint32)
    return ((color * wide + behind * (peak - wide) + peak // 2) // peak).astype(color.dtype)
