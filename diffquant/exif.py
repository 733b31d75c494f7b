"""EXIF data for a picture that is stored upright. CIPA DC-008-2019 (EXIF 2.32); TIFF 6.0, section 2."""

import re
import struct
from typing import Any

from PIL import Image

PREFIX = b"Exif\0\0"
MOST = 65_533  # bytes with the prefix: what a segment of a JPEG holds
SHORT, ORIENTATION, EXIF, GPS, INTEROPERABILITY = 3, 274, 34665, 34853, 40965
DIRECTORIES: dict[int, Any] = {EXIF: {INTEROPERABILITY: {}}, GPS: {}}  # that entries point to
ENTRY = 12  # bytes
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of a value, by type
# Title, make, model, resolution (3), software, date, artist, computer, copyright: what describes the picture and not
# how a TIFF has stored it.
DESCRIPTIVE = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432)


def upright_exif(image: Image.Image) -> tuple[bytes | None, tuple[str, ...]]:
    """What an image says of itself, for the APP1 segment of a JPEG, with its orientation set to 1; and notices.

    Nothing else changes, except that of a TIFF only what describes the picture is taken. None if there is nothing, or
    it is damaged.
    """
    try:
        block = _block(image)
        return block and _upright(block), ()
    except Exception as error:  # Pillow raises anything: SyntaxError, struct.error, IndexError, ...
        return None, (f"EXIF data not kept ({' '.join(str(error).split()) or type(error).__name__})",)


def _block(image: Image.Image) -> bytes | None:
    """As it is in the file; of a TIFF, which holds these tags among its own, a copy."""
    if block := image.info.get("exif"):
        return block
    found, copy = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE:
        if tag in found:
            copy[tag] = found[tag]
    for tag, inner in DIRECTORIES.items():
        if entries := {key: value for key, value in found.get_ifd(tag).items() if key not in inner}:
            copy[tag] = entries
    return copy.tobytes() if len(copy) else None


def _upright(block: bytes) -> bytes:
    """Changed in place: what makers' notes point to stays where it is.

    Raises:
        ValueError: the block is damaged, or too long.
    """
    data = bytearray(re.sub(rb"^(Exif\0\0)+", b"", block))
    if len(PREFIX) + len(data) > MOST:
        raise ValueError(f"found {len(data)} bytes, expected at most {MOST - len(PREFIX)}")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        raise ValueError("found no TIFF header")
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        _set_upright(data, order, start, DIRECTORIES)
    except struct.error as error:
        raise ValueError("truncated") from error
    return PREFIX + bytes(data)


def _set_upright(data: bytearray, order: str, start: int, directories: dict[int, Any]) -> None:
    (count,) = struct.unpack_from(order + "H", data, start)
    for at in range(start + 2, start + 2 + ENTRY * count, ENTRY):
        tag, kind, length, value = struct.unpack_from(order + "HHII", data, at)
        size = SIZES.get(kind, 1) * length
        if size > 4 and value + size > len(data):
            raise ValueError(f"tag {tag} lies outside of it")
        if tag == ORIENTATION:
            struct.pack_into(order + "HHIHH", data, at, tag, SHORT, 1, 1, 0)
        elif tag in directories:
            _set_upright(data, order, value, directories[tag])
