"""Huffman codes as JPEG files hold them: at most 16 bits, and never all ones. ITU-T T.81, K.2."""

import numba
import numpy as np
from jaxtyping import Int, UInt8

LONGEST = 16
MERGED = 2**62


@numba.njit(cache=True, nogil=True)
def _tree_depths(weights):
    """Bits of each, without a limit; of equal weights the later are merged first, as libjpeg does."""
    count = len(weights)
    depths, tree = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(count):
        tree[i] = i
    for _ in range(count - 1):
        least = second = -1
        for i in range(count):
            if weights[i] == MERGED:
                continue
            if least < 0 or weights[i] <= weights[least]:
                least, second = i, least
            elif second < 0 or weights[i] <= weights[second]:
                second = i
        weights[least] += weights[second]
        weights[second] = MERGED
        for i in range(count):
            if tree[i] == least or tree[i] == second:
                tree[i] = least
                depths[i] += 1
    return depths


@numba.njit(cache=True, nogil=True)
def _lengths(histogram):
    count = 1
    for n in range(len(histogram)):
        count += histogram[n] > 0
    used, weights = np.zeros(count, np.int64), np.ones(count, np.int64)
    i = 0  # the last weight, of 1, is no symbol's: it is for the code of ones
    for n in range(len(histogram)):
        if histogram[n] > 0:
            used[i], weights[i] = n, histogram[n]
            i += 1
    depths = _tree_depths(weights)
    number = np.zeros(max(count, LONGEST) + 1, np.int64)  # of codes of each length
    for i in range(count):
        number[depths[i]] += 1
    for length in range(count, LONGEST, -1):
        while number[length] > 0:  # one of a pair takes their prefix; the other, with a shorter code, that one's prefix
            shorter = length - 2
            while number[shorter] == 0:
                shorter -= 1
            number[length] -= 2
            number[length - 1] += 1
            number[shorter + 1] += 2
            number[shorter] -= 1
    longest = LONGEST
    while number[longest] == 0:
        longest -= 1
    number[longest] -= 1  # the code of ones
    lengths = np.zeros(len(histogram), np.uint8)
    length = 0
    for depth in range(count):
        for i in range(count - 1):
            if depths[i] == depth:
                while number[length] == 0:
                    length += 1
                number[length] -= 1
                lengths[used[i]] = length
    return lengths


def code_lengths(histogram: Int[np.ndarray, "n"]) -> UInt8[np.ndarray, "n"]:
    """Bits of each symbol's code, 0 where it never occurs: the shortest in total, but for the limit of 16 bits.

    To the bit as libjpeg makes them, in equal counts too.
    """
    return _lengths(histogram)
