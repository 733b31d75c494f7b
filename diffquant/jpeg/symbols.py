"""How often each symbol occurs in a scan. Compiled with numba; releases the GIL. ITU-T T.81, annexes F.1.2 and G.1.2.

A symbol of AC is `run << 4 | size`: zeros before a level, and the bits of its magnitude, which follow the code. 0xF0 is
16 zeros; n << 4 ends at least 2^n blocks, n bits saying how many more. All of them depend on sizes only, of which few
are not 0, so scans go through `Sizes`: as fast as the picture is simple, and low bits are left out by subtraction.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
from jaxtyping import Int, Integer

from diffquant.jpeg.geometry import ZIGZAG, Geometry

LONGEST = 0x7FFF  # run of ended blocks
PENDING = 1000 - 63  # libjpeg ends a run early when more correction bits than this wait for it
EXTRA = np.array([s & 15 or s >> 4 if s != 0xF0 else 0 for s in range(256)])  # bits that follow a symbol's code


class Sizes(NamedTuple):
    """The AC levels that are not 0: of block n, entries starts[n] to starts[n + 1]."""

    starts: np.ndarray  # int64 [n + 1]
    places: np.ndarray  # uint8: zigzag index, 1 to 63, ascending in a block
    sizes: np.ndarray  # uint8: bits of the magnitude


def zigzag(levels: Integer[np.ndarray, "rows columns 8 8"]) -> Integer[np.ndarray, "n 64"]:
    """A block in each row, as a file orders its levels."""
    return levels.reshape(-1, 64).take(ZIGZAG, axis=1)


def natural(blocks: Integer[np.ndarray, "n 64"], rows: int, columns: int) -> Integer[np.ndarray, "rows columns 8 8"]:
    """The inverse of `zigzag`."""
    return blocks.take(ZIGZAG.argsort(), axis=1).reshape(rows, columns, 8, 8)


def _factors(geometry: Geometry, component: int) -> tuple[int, int]:
    return geometry.factors if component == 0 else (1, 1)


def dc_order(geometry: Geometry, component: int) -> Int[np.ndarray, "n"]:
    """Indices of a component's blocks as a scan of all components visits them.

    It goes from MCU to MCU: in each 2x2 blocks of luma at 4:2:0, two side by side at 4:2:2. Blocks outside the picture
    are left out, see `dummies`. Grey pictures, and scans of one component, go along rows.
    """
    rows, columns = geometry.blocks[component]
    down, across = _factors(geometry, component)
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.lexsort((column % across, row % down, column // across, row // down))


def dummies(geometry: Geometry, component: int) -> int:
    """Blocks outside the picture that a scan of all components codes to complete its MCUs.

    libjpeg gives them the DC of the block before, and no AC: each costs a difference of 0 and an end of block.
    """
    down, across = _factors(geometry, component)
    rows, columns = geometry.blocks[component]
    return (rows + -rows % down) * (columns + -columns % across) - rows * columns


@numba.njit(cache=True, nogil=True)
def size_of(value):
    """Bits of the magnitude: the size category. T.81, table F.1."""
    return math.frexp(value)[1]


@numba.njit(cache=True, nogil=True)
def _end(counts, ended):
    counts[(size_of(ended) - 1) << 4] += 1


@numba.njit(cache=True, nogil=True)
def _sizes(blocks):
    starts = np.zeros(len(blocks) + 1, np.int64)
    for n in range(len(blocks)):
        count = 0
        for k in range(1, 64):
            count += blocks[n, k] != 0
        starts[n + 1] = starts[n] + count
    places, sizes = np.empty(starts[-1], np.uint8), np.empty(starts[-1], np.uint8)
    i = 0
    for n in range(len(blocks)):
        for k in range(1, 64):
            if blocks[n, k] != 0:
                places[i], sizes[i] = k, size_of(blocks[n, k])
                i += 1
    return starts, places, sizes


@numba.njit(cache=True, nogil=True)
def _first(starts, places, sizes, first, last, low, longest):
    counts = np.zeros(256, np.int64)
    ended = 0
    for n in range(len(starts) - 1):
        before = first - 1
        for i in range(starts[n], starts[n + 1]):
            k, size = np.int64(places[i]), np.int64(sizes[i]) - low
            if size <= 0 or k < first:
                continue
            if k > last:
                break
            if ended:
                _end(counts, ended)
                ended = 0
            run = k - before - 1
            counts[0xF0] += run >> 4
            counts[(run & 15) << 4 | size] += 1
            before = k
        ended += before < last
        if ended == longest:
            _end(counts, ended)
            ended = 0
    if ended:
        _end(counts, ended)
    return counts


@numba.njit(cache=True, nogil=True)
def _refinement(starts, places, sizes, first, last, low):
    counts = np.zeros(256, np.int64)
    ended = pending = corrections = 0
    for n in range(len(starts) - 1):
        before, known = first - 1, 0  # `known` levels after `before` were coded earlier, and are no zeros of a run
        for i in range(starts[n], starts[n + 1]):
            k, size = np.int64(places[i]), np.int64(sizes[i]) - low
            if size <= 0 or k < first:
                continue
            if k > last:
                break
            if size > 1:
                known += 1
                corrections += 1
                continue
            if ended:
                _end(counts, ended)
                ended = pending = 0
            run = k - before - 1 - known
            counts[0xF0] += run >> 4
            counts[(run & 15) << 4 | 1] += 1
            before, known = k, 0
        if before < last:
            ended += 1
            pending += known
            if ended == LONGEST or pending > PENDING:
                _end(counts, ended)
                ended = pending = 0
    if ended:
        _end(counts, ended)
    return counts, corrections


@numba.njit(cache=True, nogil=True)
def _differences(values):
    counts = np.zeros(17, np.int64)
    before = 0
    for value in values:
        counts[size_of(value - before)] += 1
        before = value
    return counts


def sizes_of(blocks: Integer[np.ndarray, "n 64"]) -> Sizes:
    """What all scans of AC read."""
    return Sizes(*_sizes(np.ascontiguousarray(blocks, np.int16)))


def first_histogram(
    sizes: Sizes, first: int = 1, last: int = 63, low: int = 0, longest: int = LONGEST
) -> Int[np.ndarray, "256"]:
    """Symbols of a progressive scan over zigzag indices `first` to `last` that leaves out the `low` last bits.

    Up to `longest` blocks may share an end: 1 for a sequential scan.
    """
    return _first(*sizes, first, last, low, longest)


def refinement_histogram(
    sizes: Sizes, first: int = 1, last: int = 63, low: int = 0
) -> tuple[Int[np.ndarray, "256"], int]:
    """Symbols of a progressive scan that adds bit `low` to what was coded without it and all below.

    Also the bits that it adds to levels which were not 0: these follow no symbol of their own.
    """
    return _refinement(*sizes, first, last, low)


def ac_histogram(blocks: Integer[np.ndarray, "n 64"], first: int = 1, last: int = 63) -> Int[np.ndarray, "256"]:
    """Symbols of a sequential scan over zigzag indices `first` to `last`."""
    return first_histogram(sizes_of(blocks), first, last, longest=1)


def dc_histogram(values: Integer[np.ndarray, "n"]) -> Int[np.ndarray, "17"]:
    """Sizes of the differences of DC levels, which are in the order of a scan."""
    return _differences(values.astype(np.int64))
