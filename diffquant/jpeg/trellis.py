"""The levels of a block that cost least in distortion and bits together: dynamic programming over runs and sizes.

Compiled with numba: a block's choice depends on its own symbols, one after another, which suits no vector unit. Arrays
are `[n 64]`, a block in each row, in zigzag order. Releases the GIL. Nothing here is from `diffquant.jpeg.symbols`:
numba keeps what it has compiled until this file changes, whatever happens to others.

References: Ramchandran and Vetterli, "Rate-distortion optimal fast thresholding with complete JPEG/MPEG decoder
compatibility" (1994); Crouse and Ramchandran, "Joint thresholding and quantizer selection" (1997). There the distortion
is quadratic around the original; here it is around the present levels, as a slope and a curvature say.
"""

import math

import numba
import numpy as np

NEVER = 1e30  # a cost
LONGEST = 0x7FFF  # run of ended blocks


@numba.njit(cache=True, nogil=True)
def size_of(value):
    """Bits of the magnitude: the size category. T.81, table F.1."""
    return math.frexp(value)[1]


@numba.njit(cache=True, nogil=True)
def _drift(level: int, ideal: float, weight: float) -> float:
    """Penalty for being far from what the picture holds: what no local model of a loss sees."""
    distance = abs(level - ideal)
    return weight * distance * distance * distance


@numba.njit(cache=True, nogil=True)
def choose_ac(levels, ideal, slope, bend, active, symbols, early, empty, band, first, last, price, below, zero, drift):
    """Change the AC levels [n 64] of `active` blocks in place.

    A change by d costs slope d + bend d^2, its bits times `price`, and a drift from `ideal` (coefficient over step).
    `symbols` [bands 256] are bits of run and size; `early` and `empty` [bands] those of a band's end after its last
    level, and of a band without any. `band` [64] is that of each position; `first` and `last` [bands] are a band's.
    A level may be smaller than the ideal by less than `below`, and become 0 where that is at most `zero`.
    """
    bands = len(first)
    skipped = np.zeros(bands + 1)  # bits of all bands before one being empty
    for b in range(bands):
        skipped[b + 1] = skipped[b] + empty[b]
    zeros, best = np.zeros(64), np.zeros(64)
    back, chosen, nodes = np.zeros(64, np.int64), np.zeros(64, np.int64), np.zeros(64, np.int64)
    for n in range(len(levels)):
        if not active[n]:
            continue
        for k in range(1, 64):
            d, u = -levels[n, k], ideal[n, k]
            cost = slope[n, k] * d + bend[n, k] * d * d + _drift(0, u, drift)
            zeros[k] = zeros[k - 1] + cost
        count = 1  # nodes[0] is the start of the block
        stays = 0  # the last place so far whose level may not become 0
        for k in range(1, 64):
            u, now = ideal[n, k], levels[n, k]
            sign = 1 if u > 0 else -1
            magnitude, present = abs(u), now * sign
            highest = max(math.floor(magnitude + 0.75), present)
            least, source, pick = NEVER, 0, 0
            for m in range(max(present - 2, 1), min(present + 1, highest) + 1):
                if magnitude - m >= below and m != present:
                    continue
                value = m * sign
                d = value - now
                cost = slope[n, k] * d + bend[n, k] * d * d + _drift(value, u, drift)
                size = size_of(m)
                for i in range(count - 1, -1, -1):
                    j = nodes[i]
                    if j < stays:
                        break
                    if j > 0 and band[j] == band[k]:
                        run, ends = k - j - 1, 0.0
                    elif j > 0:
                        ends = early[band[j]] if j < last[band[j]] else 0.0
                        ends += skipped[band[k]] - skipped[band[j] + 1]
                        run = k - first[band[k]]
                    else:
                        run, ends = k - first[band[k]], skipped[band[k]]
                    bits = ends + (run >> 4) * symbols[band[k], 0xF0] + symbols[band[k], (run & 15) << 4 | size] + size
                    total = best[j] + zeros[k - 1] - zeros[j] + cost + price * bits
                    if total < least:
                        least, source, pick = total, j, value
            if least < NEVER:
                best[k], back[k], chosen[k] = least, source, pick
                nodes[count] = k
                count += 1
            if now != 0 and magnitude > zero:
                stays = k
        least, end = zeros[63] + price * skipped[bands] if stays == 0 else NEVER, 0
        for i in range(1, count):
            k = nodes[i]
            if k < stays:
                continue
            ends = early[band[k]] if k < last[band[k]] else 0.0
            total = best[k] + zeros[63] - zeros[k] + price * (ends + skipped[bands] - skipped[band[k] + 1])
            if total < least:
                least, end = total, k
        levels[n, 1:] = 0
        while end:
            levels[n, end] = chosen[end]
            end = back[end]


@numba.njit(cache=True, nogil=True)
def choose_dc(levels, ideal, slope, bend, active, sizes, price, limit, drift):
    """Change the DC levels of `active` blocks in place, by at most 1, each being predicted from the one before.

    `sizes` [17] are bits of the size of a difference; `limit` is the farthest from the ideal.
    """
    count = len(levels)
    best, back = np.full((count, 3), NEVER), np.zeros((count, 3), np.int64)
    for t in range(count):
        for m in range(3):
            d = m - 1
            value = levels[t, 0] + d
            if d != 0 and (not active[t] or abs(value - ideal[t, 0]) > limit):
                continue
            cost = slope[t, 0] * d + bend[t, 0] * d * d + _drift(value, ideal[t, 0], drift)
            if t == 0:
                size = size_of(value)
                best[t, m] = cost + price * (sizes[size] + size)
                continue
            for p in range(3):
                size = size_of(value - levels[t - 1, 0] - (p - 1))
                total = best[t - 1, p] + cost + price * (sizes[size] + size)
                if total < best[t, m]:
                    best[t, m], back[t, m] = total, p
    m = 0
    for p in range(1, 3):
        if best[count - 1, p] < best[count - 1, m]:
            m = p
    for t in range(count - 1, -1, -1):
        levels[t, 0] += m - 1
        m = back[t, m]


@numba.njit(cache=True, nogil=True)
def bits_of(levels, symbols, early, empty, band, first, last, sizes):
    """Bits of each block [n], a difference of DC being its own block's."""
    bits = np.zeros(len(levels))
    bands = len(first)
    before = 0
    for n in range(len(levels)):
        size = size_of(levels[n, 0] - before)
        before = levels[n, 0]
        total = sizes[size] + size
        for b in range(bands):
            since = first[b] - 1
            for k in range(first[b], last[b] + 1):
                if levels[n, k] == 0:
                    continue
                run, size = k - since - 1, size_of(levels[n, k])
                total += (run >> 4) * symbols[b, 0xF0] + symbols[b, (run & 15) << 4 | size] + size
                since = k
            if since < first[b]:
                total += empty[b]
            elif since < last[b]:
                total += early[b]
        bits[n] = total
    return bits


@numba.njit(cache=True, nogil=True)
def count(levels, band, first, last):
    """Symbols of progressive scans over the bands: run/size and EOBn [bands 256], sizes of DC differences [17].

    Also bands ended by a level that is not the last, and those without any, [bands] each.
    """
    bands = len(first)
    symbols, sizes = np.zeros((bands, 256)), np.zeros(17)
    early, empty = np.zeros(bands), np.zeros(bands)
    before = 0
    for n in range(len(levels)):
        sizes[size_of(levels[n, 0] - before)] += 1
        before = levels[n, 0]
    for b in range(bands):
        ended = 0  # blocks in the present run of ends
        for n in range(len(levels)):
            since = first[b] - 1
            for k in range(first[b], last[b] + 1):
                if levels[n, k] == 0:
                    continue
                if ended:
                    symbols[b, (size_of(ended) - 1) << 4] += 1
                    ended = 0
                run = k - since - 1
                symbols[b, 0xF0] += run >> 4
                symbols[b, (run & 15) << 4 | size_of(levels[n, k])] += 1
                since = k
            if since < last[b]:
                ended += 1
                if ended == LONGEST:
                    symbols[b, 14 << 4] += 1
                    ended = 0
                if since < first[b]:
                    empty[b] += 1
                else:
                    early[b] += 1
        if ended:
            symbols[b, (size_of(ended) - 1) << 4] += 1
    return symbols, sizes, early, empty
