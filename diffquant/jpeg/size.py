"""Bytes of a JPEG file from its levels, without writing it.

Symbols are counted and codes made as libjpeg and mozjpeg do, so headers and bits are exact. How often a byte of ones
occurs, after which a file must have a zero, is estimated. Arrays of levels are int16 or wider.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Integer

from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.huffman import code_lengths
from diffquant.jpeg.symbols import (
    EXTRA,
    Sizes,
    dc_histogram,
    dc_order,
    dummies,
    first_histogram,
    refinement_histogram,
    sizes_of,
    zigzag,
)

Levels = Sequence[Integer[np.ndarray, "_ _ 8 8"]]  # of each component
Tables = Sequence[Integer[np.ndarray, "8 8"]]
Histogram = Int[np.ndarray, "_"]  # of symbols

STUFFING = 0.003  # zeros per byte of entropy-coded data. Photographs have 0.0016 to 0.0048, random bits 1 / 256
SEGMENT = 4  # bytes of a marker and of a length


def _head_bytes(geometry: Geometry, tables: Tables, *, together: bool) -> int:
    """Start, end, JFIF's APP0, SOF, and DQT: of equal tables one, all `together` in one segment or each in its own."""
    distinct = len({np.asarray(table).tobytes() for table in tables})
    frame = 2 + 2 + SEGMENT + 14 + SEGMENT + 6 + 3 * geometry.components
    return frame + SEGMENT * (1 if together else distinct) + 65 * distinct


def _scan_bytes(histograms: Sequence[Histogram], components: int, raw_bits: int = 0, segments: int = 1) -> float:
    """A scan with a code for each histogram, these in so many segments. `raw_bits` follow no symbol's code."""
    bits, head = raw_bits, SEGMENT + 4 + 2 * components + SEGMENT * segments
    for histogram in histograms:
        lengths = code_lengths(histogram)
        bits += int(histogram @ (lengths + EXTRA[: len(histogram)]))
        head += 17 + int(np.count_nonzero(lengths))
    return head + -(-bits // 8) * (1 + STUFFING)


def _by_code(counts: Sequence[Histogram]) -> list[Histogram]:
    """Of luma, and of both planes of chroma, which share their codes."""
    return [counts[0], *([counts[1] + counts[2]] if len(counts) == 3 else [])]


def _dc_histograms(levels: Levels, geometry: Geometry) -> list[Histogram]:
    values = [plane[..., 0, 0].ravel() for plane in levels]
    counts = [dc_histogram(plane[dc_order(geometry, component)]) for component, plane in enumerate(values)]
    counts[0][0] += dummies(geometry, 0)
    return _by_code(counts)


def _sequential(sizes: Sequence[Sizes], dc: list[Histogram], geometry: Geometry, tables: Tables) -> int:
    counts = [first_histogram(component, longest=1) for component in sizes]
    counts[0][0] += dummies(geometry, 0)
    codes = dc + _by_code(counts)
    return round(_head_bytes(geometry, tables, together=False) + _scan_bytes(codes, len(sizes), segments=len(codes)))


def sequential_bytes(levels: Levels, geometry: Geometry, tables: Tables) -> int:
    """Size of `JpegImage.to_sequential()`."""
    return _sequential(
        [sizes_of(zigzag(plane)) for plane in levels], _dc_histograms(levels, geometry), geometry, tables
    )


def _ac_bytes(components: Sequence[Sizes], lowest: int) -> float:
    """AC scans as mozjpeg's search selects them for components that share their script.

    First the number of bits, at most `lowest`, left to refinement scans, with scans of 1 to 8 and 9 to 63 before them;
    then where to split these. It stops as soon as a step gains nothing, and so may miss the best.
    """

    def first(low: int, split: int) -> float:
        bands = ((1, 63),) if split == 63 else ((1, split), (split + 1, 63))
        return sum(_scan_bytes([first_histogram(c, *band, low)], 1) for band in bands for c in components)

    def refinement(low: int) -> float:
        scans = [refinement_histogram(c, low=low) for c in components]
        return sum(_scan_bytes([histogram], 1, corrections) for histogram, corrections in scans)

    low, refined = 0, 0.0
    halves = {8: first(0, 8)}
    while low < lowest:
        more = refined + refinement(low)
        fewer = first(low + 1, 8)
        if more + fewer >= refined + halves[8]:
            break
        low, refined, halves = low + 1, more, {8: fewer}
    for split in (63, 2):
        halves[split] = first(low, split)
    for split, only_after in ((5, (2, 8)), (12, (8,)), (18, (12,))):
        if min(halves, key=halves.__getitem__) not in only_after:
            break
        halves[split] = first(low, split)
    return refined + min(halves.values())


def progressive_bytes(levels: Levels, geometry: Geometry, tables: Tables) -> int:
    """Size of `JpegImage.to_bytes()` without a profile, EXIF or Adobe marker: the smaller of two files.

    One is sequential; the other has a scan of all DC, and of AC what mozjpeg 5 selects. Where two choices of scans
    come to almost the same, it may differ from mozjpeg's.
    """
    sizes = [sizes_of(zigzag(plane)) for plane in levels]
    dc = _dc_histograms(levels, geometry)
    scans = _scan_bytes(dc, len(sizes)) + _ac_bytes(sizes[:1], 3) + (_ac_bytes(sizes[1:], 2) if len(sizes) == 3 else 0)
    progressive = round(_head_bytes(geometry, tables, together=True) + scans)
    return min(progressive, _sequential(sizes, dc, geometry, tables))
