"""The oracles are all combinations of candidates, tried one by one, and a plain coder after T.81."""

import collections
import itertools
import math

import numpy as np
import pytest
from jpeg_pictures import start

from diffquant.jpeg import trellis
from diffquant.jpeg.prices import prices

BELOW, ZERO, DC_LIMIT = 0.8, 1.2, 0.6
BANDS = [(1,), (1, 9), (1, 6, 20)]  # first positions
each_bands = pytest.mark.parametrize("firsts", BANDS, ids=str)


def bands_of(firsts):
    """Band of each position; first and last of each band."""
    first = np.array(firsts)
    return np.searchsorted(first, np.arange(64), side="right") - 1, first, np.append(first[1:] - 1, 63)


def random_ends(rng, firsts):
    """Bits of run and size, of a band's end, of an empty band; and the bands."""
    bands = len(firsts)
    symbols = rng.uniform(1, 16, (bands, 256))
    symbols[:, 0xF0] = rng.uniform(1, 6, bands)
    return symbols, rng.uniform(1, 12, bands), rng.uniform(0, 12, bands), *bands_of(firsts)


def random_model(rng, n, occupied=5):
    """Levels and ideals [n 64] of which a few positions in each block are not small; slopes and curvatures."""
    ideal = rng.uniform(-0.2, 0.2, (n, 64)).astype(np.float32)
    for block in ideal:
        within = np.arange(1, 64 if rng.random() < 0.6 else 12)
        positions = rng.choice(within, rng.integers(0, occupied, endpoint=True), replace=len(within) < occupied)
        if rng.random() < 0.3 and len(positions):
            positions[0] = 63
        block[positions] = rng.uniform(0.3, 2.6, len(positions)) * rng.choice([-1, 1], len(positions))
    levels = (np.sign(ideal) * np.floor(np.abs(ideal) + rng.uniform(0.3, 0.9, ideal.shape))).astype(np.int32)
    levels[np.abs(ideal) < 0.25] = 0
    slope, bend = rng.normal(0, 1, (n, 64)).astype(np.float32), rng.uniform(0.1, 2, (n, 64)).astype(np.float32)
    return levels, ideal, slope, bend


def chosen_ac(levels, model, ends, *, price, below=BELOW, zero=ZERO, drift=0.0, active=None):
    found = levels.copy()
    active = np.ones(len(levels), bool) if active is None else active
    trellis.choose_ac(found, *model, active, *ends, price, below, zero, drift)
    return found


def chosen_dc(levels, model, sizes, *, price, limit=DC_LIMIT, drift=0.0, active=None):
    found = levels.copy()
    active = np.ones(len(levels), bool) if active is None else active
    trellis.choose_dc(found, *model, active, sizes, price, limit, drift)
    return found


def size_of(value):
    return abs(int(value)).bit_length()


def runs(levels, first, last):
    """Run and size byte of each symbol of a band, and whether the band has an end of its own. T.81, F.1.2.2."""
    symbols, run = [], 0
    for level in levels[first : last + 1]:
        if level == 0:
            run += 1
            continue
        while run > 15:
            symbols.append(0xF0)
            run -= 16
        symbols.append(run << 4 | size_of(level))
        run = 0
    return symbols, run > 0


def ac_bits(levels, ends):
    symbols, early, empty, _, first, last = ends
    total = 0.0
    for b in range(len(first)):
        coded, ended = runs(levels, first[b], last[b])
        total += sum(symbols[b, symbol] + (symbol & 15) for symbol in coded)
        total += (early[b] if coded else empty[b]) if ended else 0
    return total


def ac_cost(found, levels, model, ends, price, drift):
    """Of one block."""
    ideal, slope, bend = model
    d = (found - levels)[1:].astype(float)
    distortion = slope[1:] @ d + bend[1:] @ d**2 + drift * np.sum(np.abs(found - ideal)[1:].astype(float) ** 3)
    return distortion + price * ac_bits(found, ends)


def ac_costs(found, levels, model, ends, price, drift):
    """Of each block."""
    parts = zip(found, levels, *model, strict=True)
    return np.array([ac_cost(new, old, rest, ends, price, drift) for new, old, *rest in parts])


def candidates(level, ideal, *, below=BELOW, zero=ZERO):
    """What one AC level may become: at most two smaller or one larger, that by no more than rounding up from 1/4."""
    sign, now, magnitude = (1 if ideal > 0 else -1), abs(int(level)), abs(ideal)
    larger = [m for m in (now - 2, now - 1, now + 1) if m >= 1 and m <= magnitude + 0.75 and magnitude - m < below]
    kept = [now] if now else []
    emptied = [0] if now == 0 or magnitude <= zero else []
    return [sign * m for m in larger + kept] + emptied


@each_bands
@pytest.mark.parametrize("drift", [0.0, 0.5])
def test_no_other_ac_levels_of_a_block_cost_less(firsts, drift):
    rng = np.random.default_rng(len(firsts))
    levels, *model = random_model(rng, 150)
    ends, price = random_ends(rng, firsts), 0.3
    found = chosen_ac(levels, model, ends, price=price, drift=drift)
    costs = ac_costs(found, levels, model, ends, price, drift)
    seen = collections.Counter()
    for n, block in enumerate(levels):
        own = [part[n] for part in model]
        choices = [candidates(level, u) for level, u in zip(block[1:], own[0][1:], strict=True)]
        open_to_choice = [k for k, choice in enumerate(choices, 1) if choice != [0]]
        least = math.inf
        for values in itertools.product(*(choices[k - 1] for k in open_to_choice)):
            other = np.zeros_like(block)
            other[open_to_choice] = values
            least = min(least, ac_cost(other, block, own, ends, price, drift))
        assert costs[n] == pytest.approx(least, abs=1e-5)  # slopes and curvatures are of float32
        assert all(level in choice for level, choice in zip(found[n, 1:], choices, strict=True))
        coded, ended = runs(found[n], 1, 63)
        seen.update({"zrl": 0xF0 in coded, "end": ended, "empty": not coded, "changed": (found[n] != block).any()})
    assert min(seen.values()) > 0
    assert seen["end"] < len(levels)  # some blocks go to the last position


@each_bands
def test_ac_levels_are_never_worse_than_those_that_were(firsts):
    rng = np.random.default_rng(7)
    levels, *model = random_model(rng, 300, occupied=40)
    ends = random_ends(rng, firsts)
    for price, drift in [(0.0, 0.3), (0.02, 0.0), (0.3, 0.3)]:
        found = chosen_ac(levels, model, ends, price=price, drift=drift)
        gained = ac_costs(levels, levels, model, ends, price, drift) - ac_costs(
            found, levels, model, ends, price, drift
        )
        assert gained.min() > -1e-5
        assert np.mean(gained > 0.01) > 0.7


def test_blocks_that_are_not_active_and_levels_of_dc_stay():
    rng = np.random.default_rng(1)
    levels, *model = random_model(rng, 60)
    levels[:, 0] = rng.integers(-50, 50, len(levels))
    active = rng.random(len(levels)) < 0.5
    found = chosen_ac(levels, model, random_ends(rng, (1, 9)), price=0.1, active=active)
    np.testing.assert_array_equal(found[~active], levels[~active])
    np.testing.assert_array_equal(found[:, 0], levels[:, 0])
    assert (found[active] != levels[active]).any(axis=1).mean() > 0.3
    dc = chosen_dc(levels, model, rng.uniform(1, 9, 17), price=0.01, limit=100.0, active=active)
    np.testing.assert_array_equal(dc[~active], levels[~active])
    np.testing.assert_array_equal(dc[:, 1:], levels[:, 1:])
    assert (dc[active, 0] != levels[active, 0]).mean() > 0.2


@pytest.mark.parametrize(("below", "zero"), [(0.8, 1.2), (0.5, 0.5), (1.1, 1.9)])
def test_ac_levels_keep_to_their_limits(below, zero):
    rng = np.random.default_rng(2)
    levels, *model = random_model(rng, 400, occupied=30)
    found = chosen_ac(levels, model, random_ends(rng, (1, 9)), price=0.5, below=below, zero=zero)
    ideal, moved = model[0][:, 1:], (found != levels)[:, 1:]
    after = found[:, 1:]
    magnitude = np.abs(ideal)
    assert magnitude[moved & (after == 0)].max() <= zero
    short = (magnitude - np.abs(after))[moved & (after != 0)]
    assert short.max() < below
    assert short.min() >= -0.75
    assert (np.sign(after) * np.sign(ideal)).min() >= 0
    assert (zero - magnitude[moved & (after == 0)]).min() < 0.1  # the limits are what stops it
    assert np.abs(found - levels).max() <= 2


def test_without_a_price_each_ac_level_is_its_own_best():
    rng = np.random.default_rng(3)
    levels, *model = random_model(rng, 100, occupied=40)
    found = chosen_ac(levels, model, random_ends(rng, (1, 9)), price=0.0)
    for n, k in itertools.product(range(len(levels)), range(1, 64)):
        ideal, slope, bend = (part[n, k].astype(float) for part in model)
        cost = {m: slope * (m - levels[n, k]) + bend * (m - levels[n, k]) ** 2 for m in candidates(levels[n, k], ideal)}
        assert cost[found[n, k]] == pytest.approx(min(cost.values()), abs=1e-6)


def test_a_drift_draws_levels_to_the_ideal():
    rng = np.random.default_rng(4)
    levels, *model = random_model(rng, 100, occupied=40)
    found = chosen_ac(levels, model, random_ends(rng, (1, 9)), price=0.0, drift=1e4)
    assert np.abs(found - model[0])[:, 1:].max() < 0.51


@each_bands
def test_a_high_price_empties_what_may_be_empty(firsts):
    rng = np.random.default_rng(5)
    levels, ideal, slope, bend = random_model(rng, 100)
    model = ideal, slope * 1e-6, bend * 1e-6
    bands = np.ones(len(firsts))
    ends = 4 * np.ones((len(bands), 256)), 2 * bands, 0 * bands, *bands_of(firsts)  # no level makes others cheaper
    found = chosen_ac(levels, model, ends, price=0.1)
    must_stay = (levels != 0) & (np.abs(ideal) > ZERO)
    np.testing.assert_array_equal(found[:, 1:] != 0, must_stay[:, 1:])
    assert must_stay[:, 1:].any()


def dc_cost(found, levels, model, sizes, price, drift):
    ideal, slope, bend = (part[:, 0].astype(float) for part in model)
    d = found - levels[:, 0]
    bits = sum(sizes[size_of(step)] + size_of(step) for step in np.diff(found, prepend=0))
    return float(slope @ d + bend @ d**2 + drift * np.sum(np.abs(found - ideal) ** 3) + price * bits)


@pytest.mark.parametrize(("limit", "drift"), [(0.6, 0.0), (0.6, 0.5), (1.3, 0.0), (9.0, 0.2)])
def test_no_other_dc_levels_of_a_few_blocks_cost_less(limit, drift):
    rng = np.random.default_rng(6)
    moved = 0
    for _ in range(12):
        levels, *model = random_model(rng, 5)
        levels[:, 0] = rng.integers(-4, 5, 5) * rng.integers(1, 9)
        model[0][:, 0] = levels[:, 0] + rng.choice([-1, 1], 5) * rng.uniform(0.3, 0.6, 5)
        active, sizes, price = rng.random(5) < 0.8, rng.uniform(1, 9, 17), 0.3
        found = chosen_dc(levels, model, sizes, price=price, limit=limit, drift=drift, active=active)
        least = math.inf
        for moves in itertools.product((-1, 0, 1), repeat=5):
            other, still = levels[:, 0] + moves, np.array(moves) == 0
            if (still | (active & (np.abs(other - model[0][:, 0]) <= limit))).all():
                least = min(least, dc_cost(other, levels, model, sizes, price, drift))
        assert dc_cost(found[:, 0], levels, model, sizes, price, drift) == pytest.approx(least, abs=1e-5)
        assert np.abs(found - levels).max() <= 1
        allowed = active & (np.abs(found[:, 0] - model[0][:, 0]) <= limit)
        assert (allowed | (found[:, 0] == levels[:, 0])).all()
        moved += np.count_nonzero(found[:, 0] != levels[:, 0])
    assert moved > 3


def test_one_block_has_a_dc_level_too():
    levels = np.zeros((1, 64), np.int32)
    levels[0, 0] = 4
    model = [np.full((1, 64), value, np.float32) for value in (3.5, 0.0, 0.0)]
    sizes = np.zeros(17)
    assert chosen_dc(levels, model, sizes, price=1.0)[0, 0] == 3  # a bit less
    assert chosen_dc(levels, model, sizes, price=0.0, drift=1.0)[0, 0] in (3, 4)
    assert chosen_dc(levels, model, sizes, price=1.0, limit=0.4)[0, 0] == 4


def sparse(rng, n, share=0.08):
    """Levels [n 64] with ends, empty blocks, long runs of them, and large and last levels."""
    levels = (rng.laplace(0, 9, (n, 64)) * (rng.random((n, 64)) < share)).astype(np.int32)
    levels[rng.random(n) < 0.4, 1:] = 0
    levels[n // 3 : n // 2, 9:] = 0
    levels[rng.random(n) < 0.1, 63] = 1
    levels[:, 0] = np.cumsum(rng.integers(-70, 70, n))
    return levels


def scan_symbols(levels, first, last):
    """Symbols of an AC scan and how often a band ended: G.1.2.2 of T.81, as its flow charts G.3 and G.4 have it."""
    coded, ends, eobrun = collections.Counter(), collections.Counter(), 0

    def flush():
        if eobrun:
            coded[int(math.log2(eobrun)) << 4] += 1
        return 0

    for block in levels:
        symbols, ended = runs(block, first, last)
        if symbols:
            eobrun = flush()
            coded.update(symbols)
        if ended:
            ends["early" if symbols else "empty"] += 1
            eobrun += 1
            if eobrun == 0x7FFF:
                eobrun = flush()
    flush()
    return coded, ends


@each_bands
def test_symbols_are_counted_as_progressive_scans_have_them(firsts):
    levels = sparse(np.random.default_rng(8), 400)
    band, first, last = bands_of(firsts)
    symbols, sizes, early, empty = trellis.count(levels, band, first, last)
    for b in range(len(first)):
        coded, ends = scan_symbols(levels, first[b], last[b])
        np.testing.assert_array_equal(symbols[b], [coded[symbol] for symbol in range(256)])
        assert (early[b], empty[b]) == (ends["early"], ends["empty"])
        assert coded[0xF0] > 0 or last[b] - first[b] < 17
        assert any(coded[n << 4] for n in range(1, 15))  # runs of ends
    np.testing.assert_array_equal(
        sizes, np.bincount([size_of(step) for step in np.diff(levels[:, 0], prepend=0)], minlength=17)
    )


def test_runs_of_ends_are_no_longer_than_a_symbol_can_say():
    levels = np.zeros((40_000, 64), np.int32)
    symbols, _, _, empty = trellis.count(levels, *bands_of((1,)))
    coded, ends = scan_symbols(levels, 1, 63)
    np.testing.assert_array_equal(symbols[0], [coded[symbol] for symbol in range(256)])
    assert empty[0] == ends["empty"] == len(levels)


def test_with_unit_codes_bits_are_symbols_and_magnitudes_of_a_sequential_scan():
    levels = sparse(np.random.default_rng(9), 200)
    ones = np.ones((1, 256)), np.ones(1), np.ones(1), *bands_of((1,))
    found = trellis.bits_of(levels, *ones, np.ones(17))
    before = 0
    for block, bits in zip(levels, found, strict=True):
        coded, ended = runs(block, 1, 63)
        symbols = 1 + len(coded) + ended
        magnitudes = size_of(block[0] - before) + sum(size_of(level) for level in block[1:])
        assert bits == symbols + magnitudes
        before = block[0]


@each_bands
def test_bits_are_those_of_the_symbols_under_any_codes(firsts):
    rng = np.random.default_rng(10)
    levels, ends, sizes = sparse(rng, 200), random_ends(rng, firsts), rng.uniform(1, 9, 17)
    steps = [size_of(step) for step in np.diff(levels[:, 0], prepend=0)]
    expected = [sizes[size] + size + ac_bits(block, ends) for block, size in zip(levels, steps, strict=True)]
    np.testing.assert_allclose(trellis.bits_of(levels, *ends, sizes), expected, rtol=1e-12)


def entropy(counts):
    counts = counts[counts > 0]
    return float(-np.sum(counts * np.log2(counts / counts.sum())))


def scan_entropy(planes, firsts):
    """Bits of these components' symbols under the best codes, with the bits that follow them."""
    band, first, last = bands_of(firsts)
    counted = [trellis.count(levels, band, first, last) for levels in planes]
    symbols, sizes = (np.sum([one[part] for one in counted], axis=0) for part in (0, 1))
    kinds = np.arange(256)
    follow = np.where((kinds & 15) > 0, kinds & 15, np.where(kinds < 0xF0, kinds >> 4, 0))
    ac = sum(entropy(row) + row @ follow for row in symbols)
    return ac + entropy(sizes) + sizes @ np.arange(17)


@pytest.mark.parametrize("distance", [0.5, 2.0, 8.0])
@each_bands
def test_prices_add_up_to_the_entropy_of_the_symbols(firsts, distance):
    *_, levels = start(120, 200, distance=distance)
    for planes in (levels[:1], levels[1:]):
        one = prices(planes, firsts)
        total = sum(float(one.bits(plane).sum()) for plane in planes)
        least = scan_entropy(planes, firsts)
        assert least < total < 1.06 * least  # what did not occur has a share


@each_bands
def test_everything_has_a_price(firsts):
    bands = len(firsts)
    for levels in (np.zeros((1, 64), np.int32), sparse(np.random.default_rng(11), 100)):
        one = prices([levels], firsts)
        shapes = [part.shape for part in (one.symbols, one.early, one.empty, one.sizes, one.band, one.first, one.last)]
        assert shapes == [(bands, 256), (bands,), (bands,), (17,), (64,), (bands,), (bands,)]
        assert min(one.symbols.min(), one.early.min(), one.sizes.min()) >= 1  # a code has a bit
        assert one.empty.min() >= 0
        assert one.bits(levels).shape == (len(levels),)
        assert one.bits(levels).min() > 0
    assert one.empty.min() > 0


def test_an_empty_block_among_many_costs_less_than_an_end():
    rng = np.random.default_rng(12)
    levels = sparse(rng, 300, share=0.3)
    often = prices([levels], (1, 9))
    levels[rng.random(300) < 0.9, 1:] = 0
    rarely = prices([levels], (1, 9))
    assert (rarely.empty < rarely.early).all()
    assert (rarely.empty < often.empty).all()
    assert (rarely.empty < 1).all()
