"""An ICC profile for JPEGs whose components are neither Y, Cb, Cr nor R, G, B: what the three of them mean, as sRGB.

ICC.1:2022. Its one transform is a `lutAToBType` (10.12), in this order: a table of two nodes a side, between which an
affine map is exact; a curve for each of R, G, B; a matrix. Tables end at 0 and 1, and an affine map of the whole cube
goes beyond. So the table holds the map's range scaled to [0, 1], and the curves undo the scale where they make light of
sRGB: nothing is clipped before it should be.
"""

import struct

import numpy as np
from jaxtyping import Float

from diffquant.signal.cielab import WHITE, XYZ_FROM_LINEAR

NAME, COPYRIGHT = "diffquant", "CC0"
LARGEST = 8  # of the matrix' entries: the table's steps stay below a tenth of a code
ORIGIN = np.array([[0], [128], [128]]) / 255  # the components of black
D50 = np.array([0.9642, 1.0, 0.8249])  # white of the profile connection space. 7.2.16
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # annex E
_GAINS = (BRADFORD @ D50) / (BRADFORD @ WHITE)[:, 0]
D50_FROM_D65 = np.linalg.inv(BRADFORD) @ np.diag(_GAINS) @ BRADFORD
ENCODED = 32768 / 65535  # what stands for an X, Y or Z of 1. 6.3.4.2

VERSION = 0x04200000  # 4.2: nothing newer is used
DATE = (2026, 1, 1, 0, 0, 0)  # the same for all, so that equal transforms have equal files
EMBEDDED = 1  # flag
RELATIVE_COLORIMETRIC = 1  # intent
HEADER, ENTRY = 128, 12  # bytes: of the header, and of each tag in the list after it


def profile(rgb_from_components: Float[np.ndarray, "3 3"]) -> bytes:
    """A profile of 644 bytes by which component codes are shown as the sRGB codes that they stand for, clipped.

    The matrix takes the first component, and the second and third less 128, to R, G, B: all are codes 0 to 255. The
    file has to say that its components are R, G, B: `JpegImage(..., adobe=0)`. Equal matrices give equal bytes.

    The one transform serves all intents, and the header asks for the relative colorimetric one. By the perceptual
    one LittleCMS supposes that such a transform's black has L* = 3.1, and shows darks up to 12 codes darker.

    Raises:
        ValueError: an entry is not finite, or beyond 8 either side of 0.
    """
    if not (np.abs(rgb_from_components) <= LARGEST).all():
        raise ValueError(f"rgb_from_components: found {rgb_from_components.tolist()}, expected -{LARGEST} to {LARGEST}")
    return _file(
        {
            b"desc": _text(NAME),
            b"cprt": _text(COPYRIGHT),
            b"wtpt": b"XYZ \0\0\0\0" + _fixed(D50),
            b"chad": b"sf32\0\0\0\0" + _fixed(D50_FROM_D65),
            # Not as A2B1 too: LittleCMS would then take components 0, 0, 0, a green, for a black to be compensated.
            b"A2B0": _transform(rgb_from_components),
        }
    )


def _file(tags: dict[bytes, bytes]) -> bytes:
    """Header, list of tags, and what they hold, starting at multiples of 4 (7.2 and 7.3)."""
    start = HEADER + 4 + ENTRY * len(tags)
    entries, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        entries += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4xI4s4s4s6H4s4xI16xI",
        start + len(body),
        VERSION,
        b"scnr",  # input devices: of the classes with such a transform the only one that needs no inverse
        b"RGB ",
        b"XYZ ",
        *DATE,
        b"acsp",
        EMBEDDED,
        RELATIVE_COLORIMETRIC,
    )
    return (header + _fixed(D50)).ljust(HEADER, b"\0") + entries + body


def _transform(rgb_from_components: Float[np.ndarray, "3 3"]) -> bytes:
    """From components to X, Y, Z (10.12). The curves before the table and those at the end share their bytes, as they
    may: both are the identity. The table is not last, because skcms reads 2 bytes past it."""
    corners = np.indices((2, 2, 2)).reshape(3, -1)  # the last component varies fastest
    colors = rgb_from_components @ (corners - ORIGIN)
    low, high = np.minimum(colors.min(axis=1), 0), np.maximum(colors.max(axis=1), 1)
    nodes = np.round((colors.T - low) / (high - low) * 65535).astype(">u2")  # [corner RGB]
    table = bytes([2, 2, 2]).ljust(16, b"\0") + struct.pack(">B3x", nodes.itemsize) + nodes.tobytes()
    identity = 3 * struct.pack(">4s4xI", b"curv", 0)
    matrix = _fixed(ENCODED * D50_FROM_D65 @ XYZ_FROM_LINEAR) + _fixed(np.zeros(3))
    curves = b"".join(_light(*ends) for ends in zip(low, high, strict=True))
    at_table = 32
    at_identity = at_table + len(table)
    at_matrix = at_identity + len(identity)
    at_curves = at_matrix + len(matrix)
    head = struct.pack(">4s4xBB2x5I", b"mAB ", 3, 3, at_identity, at_matrix, at_curves, at_table, at_identity)
    return head + table + identity + matrix + curves


def _light(low: float, high: float) -> bytes:
    """Light of the sRGB value low + (high - low) x, IEC 61966-2-1, as a `parametricCurveType` of function 4 (10.18)."""
    scale = high - low
    terms = (2.4, scale / 1.055, (low + 0.055) / 1.055, scale / 12.92, (0.04045 - low) / scale, 0, low / 12.92)
    return struct.pack(">4s4xH2x", b"para", 4) + _fixed(np.array(terms))


def _text(words: str) -> bytes:
    """A `multiLocalizedUnicodeType` of one record, in English (10.15)."""
    data = words.encode("utf-16-be")
    return struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(data), 28) + data


def _fixed(numbers: Float[np.ndarray, "..."]) -> bytes:
    """Of 16 bits after the point (4.6)."""
    return np.round(65536 * numbers).astype(">i4").tobytes()
