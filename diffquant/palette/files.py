"""Palettes as files: PNG swatch, GIMP .gpl, Adobe .act, JSON, and a colour on each line (.hex, .txt).

Written and read in the palette's own order. JAX is not needed for that: mistakes are answered before it is imported.
"""

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from diffquant.decoding import OPENERS, format_of
from diffquant.image import HEAD, Color, ImageError, parse_color, read

MOST_COLORS = 256
WRITABLE = (".png", ".gpl", ".act", ".json", ".hex", ".txt")
GIMP = "GIMP Palette"  # the first line of a .gpl
ACT_COLORS = 768  # bytes of an .act: 256 colours, and in some files two numbers more
COLUMNS, SIDE = 16, 32  # cells in a row of a swatch, and the pixels of their sides
A_COLOR = "'#rgb', '#rrggbb' or a CSS name such as 'white', without alpha"

Colors = UInt8[np.ndarray, "k 3"]


class PaletteFileError(ImageError):
    """A palette file that cannot be read. One line: which file and line, what was found, what was expected."""


def hex_from_colors(colors: Colors) -> list[str]:
    """`#rrggbb` of each."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in colors.tolist()]


def distinct(colors: UInt8[np.ndarray, "n 3"]) -> Colors:
    """Each colour once, in the order in which they first appear."""
    red, green, blue = colors.T.astype(np.uint32)
    codes = red << 16 | green << 8 | blue
    places = np.arange(len(codes))
    first = np.empty(1 << 24, np.int64)  # memory where it is written only, and no sorting of millions of pixels
    first[codes[::-1]] = places[::-1]  # what is assigned last stays
    return colors[first[codes] == places]


def is_picture(data: bytes, suffix: str) -> bool:
    """Whether a file of these bytes and this ending is an image. Bytes of an .act may look like one, and are none."""
    return suffix.lower() not in WRITABLE[1:] and format_of(data[:HEAD]) is not None


def read_palette(path: str | os.PathLike[str]) -> Colors:
    """The 1 to 256 different colours of a palette file or of a picture, in its order.

    A file is what its content says: an image, `GIMP Palette`, JSON, or colours on lines of their own; .act files are
    known by their ending, or by their size. A colour that comes again is left out, as in padded files. So are
    transparent pixels, and the transparent entry of an .act. Of an indexed picture the entries that pixels use come in
    the palette's order, of any other the colours in the order in which they first appear, row by row.

    On lines: `#rgb`, `#rrggbb`, `rrggbb`, `FFrrggbb` (Paint.NET) or a CSS name. From `;` or `//` on, and from a `#` on
    that stands by itself, it is a comment. JSON: a list, or an object with a list named `colors`, of texts, of
    [r, g, b] in 0 to 255, or of objects with a `color`.

    Raises:
        ImageError: a broken picture; and its kind PaletteFileError for anything else that is no such palette.
        OSError: the file cannot be read.
    """
    name, suffix = os.fsdecode(path), Path(path).suffix.lower()
    data = Path(path).read_bytes()
    if is_picture(data, suffix):
        colors = _opaque(name, data)
    elif suffix == ".act" or (len(data) in (ACT_COLORS, ACT_COLORS + 4) and b"\0" in data):
        colors = _from_act(name, data)
    else:
        colors = np.array(_from_text(name, suffix, data), np.uint8).reshape(-1, 3)
    colors = distinct(colors)
    if not 1 <= len(colors) <= MOST_COLORS:
        raise PaletteFileError(name, f"{len(colors) or 'no'} colours", f"a palette of 1 to {MOST_COLORS}")
    return colors


def palette_bytes(colors: Colors, suffix: str) -> bytes:
    """A file of the format that is named by its ending, one of `WRITABLE`: sRGB codes in the order given.

    Raises:
        ValueError: another ending, no colour, or more than 256.
    """
    if suffix.lower() not in WRITABLE:
        raise ValueError(f"suffix: found {suffix!r}, expected one of {', '.join(WRITABLE)}")
    if not 1 <= len(colors) <= MOST_COLORS:
        raise ValueError(f"colors: found {len(colors)}, expected 1 to {MOST_COLORS}")
    match suffix.lower():
        case ".png":
            return _swatch(colors)
        case ".act":  # the two numbers: how many colours count, and no transparent one
            return colors.tobytes().ljust(ACT_COLORS, b"\0") + len(colors).to_bytes(2, "big") + b"\xff\xff"
    words = hex_from_colors(colors)
    match suffix.lower():
        case ".json":
            text = json.dumps({"colors": words}, indent=2)
        case ".gpl":
            rows = zip(colors.tolist(), words, strict=True)
            entries = [f"{red:3d} {green:3d} {blue:3d}\t{word}" for (red, green, blue), word in rows]
            text = "\n".join([GIMP, "Name: diffquant", f"Columns: {COLUMNS}", "#", *entries])
        case ".hex":
            text = "\n".join(word[1:] for word in words)
        case _:
            text = "\n".join(words)
    return f"{text}\n".encode()


def cells(k: int) -> Int[np.ndarray, "h w"]:
    """Indices of a swatch: up to 16 cells in a row, as equal as whole cells in full rows allow; none is left empty."""
    rows = np.array_split(np.arange(k), -(-k // COLUMNS))
    width = SIDE * len(rows[0])
    return np.stack([row[np.arange(width) * len(row) // width] for row in rows]).repeat(SIDE, axis=0)


def _swatch(colors: Colors) -> bytes:
    """An indexed PNG. Not `IndexedImage`'s, which orders the palette by lightness."""
    image = Image.fromarray(cells(len(colors)).astype(np.uint8))
    image.putpalette(colors.tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _opaque(name: str, data: bytes) -> UInt8[np.ndarray, "n 3"]:
    """The opaque pixels; of an indexed picture, the opaque entries that pixels use."""
    source: Any = name
    pixels = read(name).srgb8  # whatever is wrong with the file is said here
    kind = format_of(data[:HEAD])
    assert kind is not None
    image = OPENERS[kind](io.BytesIO(data))
    if image.mode == "P":
        entries = np.unique(np.asarray(image))[None]
        source = Image.fromarray(entries)
        source.putpalette(image.getpalette() or [])
        source.info = {key: image.info[key] for key in ("transparency", "icc_profile") if key in image.info}
        pixels = read(source).srgb8
    if image.has_transparency_data:
        on_black = read(source, background=(0, 0, 0)).srgb8
        return pixels[(pixels == on_black).all(axis=-1)]
    return pixels.reshape(-1, 3)


def _from_act(name: str, data: bytes) -> UInt8[np.ndarray, "n 3"]:
    """Adobe Photoshop File Formats Specification, "Color Table": the colours, then how many count, and which is clear.

    Both numbers are of two bytes, the higher first, and may be missing; 0xFFFF is no colour's place.
    """
    if len(data) not in (ACT_COLORS, ACT_COLORS + 4):
        raise PaletteFileError(name, f"{len(data)} bytes", f"{ACT_COLORS} or {ACT_COLORS + 4}, as an .act has")
    colors = np.frombuffer(data[:ACT_COLORS], np.uint8).reshape(-1, 3)
    if len(data) == ACT_COLORS:
        return colors
    count, clear = (int.from_bytes(data[at : at + 2], "big") for at in (ACT_COLORS, ACT_COLORS + 2))
    if not 1 <= count <= MOST_COLORS:
        raise PaletteFileError(name, f"a count of {count} colours", f"1 to {MOST_COLORS}")
    return colors[:count][np.arange(count) != clear]


def _from_text(name: str, suffix: str, data: bytes) -> list[Color]:
    if not data:
        raise PaletteFileError(name, "empty file", "a palette")
    try:
        text = data.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError
    except ValueError:
        formats = ", ".join(WRITABLE)
        raise PaletteFileError(name, "bytes that are no text", f"a palette ({formats})") from None
    if suffix == ".json" or (suffix not in WRITABLE and text.lstrip().startswith(("[", "{"))):
        return _from_json(name, text)
    lines = text.splitlines() or [""]
    if suffix == ".gpl" or lines[0].strip() == GIMP:
        return _from_gimp(name, lines)
    return _from_lines(name, lines)


def _from_lines(name: str, lines: list[str]) -> list[Color]:
    colors = []
    for number, line in enumerate(lines, 1):
        word = re.split(r";|//|(?:^|\s)#(?:\s|#|$)", line, maxsplit=1)[0].strip()
        if word:
            colors.append(_color(f"{name}, line {number}", word))
    return colors


def _from_gimp(name: str, lines: list[str]) -> list[Color]:
    """GIMP's "GPL palette format": a first line, fields, and `red green blue name` on each line; `#` is a comment."""
    if lines[0].strip() != GIMP:
        raise PaletteFileError(f"{name}, line 1", _quoted(lines[0]), repr(GIMP))
    colors: list[Color] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith("#") or (not colors and re.match(r"[A-Za-z]+:", line)):
            continue
        found = re.match(r"\s*(\d{1,3})\s+(\d{1,3})\s+(\d{1,3})(?!\S)", line, re.ASCII)
        red, green, blue = map(int, found.groups()) if found else (MOST_COLORS,) * 3
        if max(red, green, blue) >= MOST_COLORS:
            raise PaletteFileError(f"{name}, line {number}", _quoted(line), "red, green, blue in 0 to 255 and a name")
        colors.append((red, green, blue))
    return colors


def _from_json(name: str, text: str) -> list[Color]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise PaletteFileError(f"{name}, line {error.lineno}", f"no JSON ({error.msg})", "a list of colours") from None
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets within brackets
        raise PaletteFileError(name, "JSON too deep or with too long a number", "a list of colours") from None
    entries = entries.get("colors") if isinstance(entries, dict) else entries
    if not isinstance(entries, list):
        raise PaletteFileError(name, "no list of colours", 'a list, or an object with one named "colors"')
    return [_json_color(f"{name}, colour {number}", entry) for number, entry in enumerate(entries, 1)]


def _json_color(where: str, entry: Any) -> Color:
    match entry.get("color") if isinstance(entry, dict) else entry:
        case str(word):
            return _color(where, word)
        case [int(red), int(green), int(blue)] if min(red, green, blue) >= 0 and max(red, green, blue) < MOST_COLORS:
            return red, green, blue
    raise PaletteFileError(where, _quoted(json.dumps(entry)), f"{A_COLOR}, or [r, g, b] in 0 to 255")


def _color(where: str, word: str) -> Color:
    bare = re.fullmatch(r"(?:[0-9a-f]{2})?([0-9a-f]{6})", word.strip(), re.IGNORECASE)
    opaque = bare is not None and (len(bare[0]) == 6 or bare[0][:2].lower() == "ff")
    try:
        return parse_color(f"#{bare[1]}" if bare is not None and opaque else word)
    except ValueError:
        raise PaletteFileError(where, f"colour {_quoted(word)}", A_COLOR) from None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
