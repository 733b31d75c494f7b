"""The marker segments at the head of a JPEG file. ITU-T T.81, annex B."""

import dataclasses
import struct
from collections.abc import Iterator

SOI = b"\xff\xd8"
SOF, SOS = (0xC0, 0xC1, 0xC2), 0xDA  # SOF: baseline, extended, progressive, each with Huffman codes
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
PAYLOAD = 65_533  # bytes that a segment can hold
ICC_NAME = b"ICC_PROFILE\0"
ICC_CHUNK = PAYLOAD - len(ICC_NAME) - 2  # after the chunk's number, and that of all. ICC.1:2022, B.4
MOST_ICC = 255 * ICC_CHUNK


def segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, payload and end of each segment, up to the head of the first scan.

    Raises:
        ValueError: the data ends before a scan, or is no JPEG.
    """
    at = len(SOI) if data.startswith(SOI) else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # any number of these may come before a marker
            at += 1
            continue
        start, at = at + 4, at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if at > len(data):
            break
        yield marker, data[start:at], at
        if marker == SOS:
            return
    raise ValueError("data is no JPEG, or ends before its pixels")


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def marked(data: bytes, icc: bytes | None, exif: bytes | None, adobe: int | None) -> bytes:
    """The file `data`, a JFIF, with more markers; that of Adobe replaces JFIF's, by which the colours are Y, Cb, Cr."""
    marker, payload, end = next(segments(data))
    head, rest = (_segment(APP0, payload), data[end:]) if marker == APP0 else (b"", data[len(SOI) :])
    if adobe is not None:
        head = _segment(APP14, struct.pack(">5sHHHB", b"Adobe", 100, 0, 0, adobe))
    if exif is not None:
        head += _segment(APP1, exif)
    if icc is not None:
        chunks = [icc[at : at + ICC_CHUNK] for at in range(0, len(icc), ICC_CHUNK)]
        for number, chunk in enumerate(chunks, 1):
            head += _segment(APP2, ICC_NAME + bytes([number, len(chunks)]) + chunk)
    return SOI + head + rest


def named(data: bytes) -> bytes:
    """The sequential file `data` with components 1, 2 and 3, as JFIF wants them to be named."""
    file = bytearray(data)
    places = {SOS: (1, 2), **dict.fromkeys(SOF, (6, 3))}  # bytes before the first name, and from each to the next
    for marker, payload, end in segments(data):
        if marker in places:
            first, step = places[marker]
            for number in range(payload[first - 1]):  # the count of components comes before their names
                file[end - len(payload) + first + step * number] = number + 1
    return bytes(file)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Frame:
    """What a file says of its picture: pixels; names of components, and rows and columns of their blocks in an MCU."""

    height: int
    width: int
    names: bytes
    factors: tuple[tuple[int, int], ...]


def read_frame(data: bytes) -> Frame:
    """The frame header of an 8-bit file with Huffman codes.

    Raises:
        ValueError: it has none.
    """
    for marker, payload, _ in segments(data):
        if marker not in SOF or len(payload) < 6 or len(payload) != 6 + 3 * payload[5]:
            continue
        precision, height, width = struct.unpack_from(">BHH", payload)
        if precision != 8:
            raise ValueError(f"data has {precision} bits a sample, expected 8")
        factors = tuple((both & 15, both >> 4) for both in payload[7::3])
        return Frame(height=height, width=width, names=payload[6::3], factors=factors)
    raise ValueError("data is no baseline or progressive JPEG with Huffman codes")
