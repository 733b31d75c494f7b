"""The oracle is what libjpeg and mozjpeg write: the codes of each scan, and the length of its data."""

import heapq
import io
import typing

import hypothesis
import mozjpeg_lossless_optimization as mozjpeg
import numpy as np
import pytest
from hypothesis import strategies as st
from pictures import read
from PIL import Image

from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import SUBSAMPLINGS, Geometry
from diffquant.jpeg.huffman import code_lengths
from diffquant.jpeg.size import STUFFING, progressive_bytes, sequential_bytes
from diffquant.jpeg.symbols import (
    EXTRA,
    ac_histogram,
    dc_histogram,
    dc_order,
    dummies,
    first_histogram,
    natural,
    refinement_histogram,
    sizes_of,
    zigzag,
)

PIXELS = read("00_ref.png")[:200, :300]
DHT, SOS, EOI = 0xC4, 0xDA, 0xD9


class Scan(typing.NamedTuple):
    components: tuple[int, ...]  # from 0
    first: int
    last: int
    high: int
    low: int
    codes: dict[int, np.ndarray]  # lengths [256], by class << 4 | number: those defined just before
    data: int  # bytes, less the zeros after bytes of ones
    stuffed: int


def code_table(payload):
    """Tables of a DHT segment: lengths of each symbol's code."""
    tables, at = {}, 0
    while at < len(payload):
        counts = payload[at + 1 : at + 17]
        lengths = np.zeros(256, np.uint8)
        symbols = list(payload[at + 17 : at + 17 + sum(counts)])
        assert len(set(symbols)) == len(symbols)
        lengths[symbols] = np.repeat(np.arange(1, 17), list(counts))
        tables[payload[at]] = lengths
        at += 17 + sum(counts)
    return tables


def scans(data):
    found, codes, at = [], {}, 2
    while data[at + 1] != EOI:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        payload = data[at + 4 : end]
        if marker == DHT:
            codes |= code_table(payload)
        if marker == SOS:
            start = end
            while data[end] != 0xFF or data[end + 1] == 0:
                end += 1
            stuffed = data[start:end].count(b"\xff\0")
            first, last, both = payload[-3:]
            components = tuple(name - 1 for name in payload[1:-3:2])
            found.append(Scan(components, first, last, both >> 4, both & 15, codes, end - start - stuffed, stuffed))
            codes = {}
        at = end
    return found


def pillow_file(pixels=PIXELS, subsampling="420", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", subsampling=":".join(subsampling), **options)
    return file.getvalue()


def image_of(**options):
    return JpegImage.from_bytes(pillow_file(**options))


def data_bytes(histograms, raw=0):
    bits = sum(histogram @ (code_lengths(histogram) + EXTRA[: len(histogram)]) for histogram in histograms)
    return -(-(bits + raw) // 8)


def dc_counts(image, component):
    values = image.levels[component][..., 0, 0].ravel()[dc_order(image.geometry, component)]
    counts = dc_histogram(values)
    counts[0] += dummies(image.geometry, component)
    return counts


def assert_scan_is_predicted(scan, image):
    if scan.last == 0:  # DC, of all its bits
        counts = [dc_counts(image, component) for component in scan.components]
        histograms = {0: counts[0], 1: sum(counts[1:])} if len(counts) == 3 else {0: counts[0]}
        raw = 0
    else:
        (component,) = scan.components
        sizes = sizes_of(zigzag(image.levels[component]))
        if scan.high:
            histogram, raw = refinement_histogram(sizes, scan.first, scan.last, scan.low)
        else:
            histogram, raw = first_histogram(sizes, scan.first, scan.last, scan.low), 0
        histograms = {0x10 if component == 0 else 0x11: histogram}
    assert scan.codes.keys() == histograms.keys()
    for name, histogram in histograms.items():
        np.testing.assert_array_equal(code_lengths(histogram), scan.codes[name][: len(histogram)])
    assert scan.data == data_bytes(histograms.values(), raw)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [25, 75, 97])
def test_mozjpegs_scans_have_the_predicted_codes_and_lengths(subsampling, quality):
    image = image_of(subsampling=subsampling, quality=quality)
    found = scans(mozjpeg.optimize(image.to_sequential()))
    assert len(found) >= 4
    for scan in found:
        assert_scan_is_predicted(scan, image)


@pytest.mark.parametrize("quality", [20, 80, 100])
@pytest.mark.parametrize(
    "pixels", [PIXELS, PIXELS[:43, :70], np.full((1600, 1408), 9, np.uint8)], ids=["large", "small", "flat"]
)
def test_libjpegs_scans_have_the_predicted_codes_and_lengths(quality, pixels):
    """Its script splits bands and leaves two bits to refinement. Of the flat blocks there are more than a run ends."""
    data = pillow_file(pixels, quality=quality, progressive=True)
    image, found = JpegImage.from_bytes(data), scans(data)
    assert {scan[1:5] for scan in found} >= {(1, 5, 0, 2), (6, 63, 0, 2), (1, 63, 2, 1)}
    for scan in found:
        if scan.first:
            assert_scan_is_predicted(scan, image)


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(
    st.integers(1, 50), st.integers(1, 50), st.sampled_from(SUBSAMPLINGS), st.sampled_from([1, 3]), st.integers(2, 100)
)
def test_the_sequential_file_has_the_predicted_codes_and_length(h, w, subsampling, components, quality):
    pixels = PIXELS[:h, :w] if components == 3 else PIXELS[:h, :w, 1]
    image = image_of(pixels=pixels, subsampling=subsampling, quality=quality)
    data = image.to_sequential()
    (scan,) = scans(data)
    dc = [dc_counts(image, component) for component in range(components)]
    ac = [ac_histogram(zigzag(plane)) for plane in image.levels]
    ac[0][0] += dummies(image.geometry, 0)
    histograms = {0x00: dc[0], 0x10: ac[0]}
    if components == 3:
        histograms |= {0x01: dc[1] + dc[2], 0x11: ac[1] + ac[2]}
    for name, histogram in histograms.items():
        np.testing.assert_array_equal(code_lengths(histogram), scan.codes[name][: len(histogram)])
    assert scan.data == data_bytes(histograms.values())
    head = len(data) - scan.data - scan.stuffed
    assert sequential_bytes(image.levels, image.geometry, image.tables) == round(head + scan.data * (1 + STUFFING))


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_the_written_files_have_the_predicted_sizes(subsampling):
    for quality in (10, 50, 80, 95):
        for pixels in (PIXELS, PIXELS[:, :40, 0], PIXELS[:9, :17]):
            image = image_of(pixels=pixels, subsampling=subsampling, quality=quality)
            arguments = image.levels, image.geometry, image.tables
            assert sequential_bytes(*arguments) == pytest.approx(len(image.to_sequential()), rel=0.004)
            assert progressive_bytes(*arguments) == pytest.approx(len(image.to_bytes()), rel=0.01)


def test_equal_tables_are_counted_once():
    image = image_of()
    luma, chroma, _ = image.tables
    sizes = [sequential_bytes(image.levels, image.geometry, tables) for tables in ((luma,) * 3, (luma, chroma, chroma))]
    sizes.append(sequential_bytes(image.levels, image.geometry, (luma, chroma, chroma + 1)))
    assert np.diff(sizes).tolist() == [69, 69]
    written = [JpegImage(image.levels, (luma,) * 3, image.geometry), image]
    lengths = [len(other.to_sequential()) for other in written]
    assert lengths[1] - lengths[0] == 69


def test_zigzag_goes_as_in_figure_5_of_t81_and_back():
    plane = np.arange(2 * 3 * 64, dtype=np.int16).reshape(2, 3, 8, 8)
    blocks = zigzag(plane)
    assert (blocks[0, :12] == [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25]).all()
    assert (blocks[5] - 5 * 64 == blocks[0]).all()
    np.testing.assert_array_equal(natural(blocks, 2, 3), plane)


def test_blocks_of_luma_are_visited_by_mcus():
    order = dc_order(Geometry(17, 33, "420"), 0)
    assert order.tolist() == [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14]
    assert dummies(Geometry(17, 33, "420"), 0) == 4 * 6 - 3 * 5
    assert dc_order(Geometry(17, 33, "422"), 0).tolist() == list(range(15))
    assert dummies(Geometry(17, 33, "422"), 0) == 3
    for geometry, component in [
        (Geometry(17, 33, "444"), 0),
        (Geometry(17, 33, "420"), 2),
        (Geometry(17, 33, "420", 1), 0),
    ]:
        assert dc_order(geometry, component).tolist() == list(range(np.prod(geometry.blocks[component])))
        assert dummies(geometry, component) == 0


def block(**levels):
    row = np.zeros(64, np.int16)
    for place, level in levels.items():
        row[int(place[1:])] = level
    return row


def counts_of(histogram):
    return {symbol: int(histogram[symbol]) for symbol in np.flatnonzero(histogram)}


def test_symbols_of_blocks_by_hand():
    blocks = np.stack([block(k0=9, k1=5, k20=-1, k63=2), block(), block(k5=-4), block(k0=1)])
    run_5, run_18, run_42, run_4 = 0x03, 0x21, 0xA2, 0x43
    end = 0x00
    assert counts_of(ac_histogram(blocks)) == {run_5: 1, run_18: 1, run_42: 1, 0xF0: 3, run_4: 1, end: 3}
    assert counts_of(ac_histogram(blocks, 1, 5)) == {run_5: 1, run_4: 1, end: 3}
    assert counts_of(ac_histogram(blocks, 6, 63)) == {0xE1: 1, run_42: 1, 0xF0: 2, end: 3}
    sizes = sizes_of(blocks)
    ends_2, ends_1 = 0x10, 0x00
    assert counts_of(first_histogram(sizes, 1, 5)) == {run_5: 1, run_4: 1, ends_2: 1, ends_1: 1}
    without_bit = {0x02: 1, 0xD1: 1, 0xF0: 3, 0x42: 1, ends_1: 1, ends_2: 1}
    assert counts_of(first_histogram(sizes, low=1)) == without_bit
    # Only -1 is new; its run leaves out the 5. One bit each is added to 5, 2 and -4.
    histogram, corrections = refinement_histogram(sizes)
    assert counts_of(histogram) == {0x21: 1, 0xF0: 1, 0x20: 1}
    assert corrections == 3


def test_libjpeg_ends_a_run_early_when_many_bits_wait_for_it():
    """Of 20 blocks with 63 bits each, 15 are above its limit of 937."""
    blocks = np.full((20, 64), 4, np.int16)
    histogram, corrections = refinement_histogram(sizes_of(blocks))
    ends_15, ends_5 = 0x30, 0x20
    assert counts_of(histogram) == {ends_15: 1, ends_5: 1}
    assert corrections == 20 * 63


def test_differences_by_hand():
    assert counts_of(dc_histogram(np.array([-5, -5, -4, 1019, -1024, 1023]))) == {0: 1, 1: 1, 3: 1, 10: 1, 11: 2}


def huffman_cost(weights):
    """Bits of an optimal prefix code without a limit."""
    heap = list(weights)
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def package_merge_cost(weights, limit):
    """Bits of an optimal prefix code of at most `limit` bits. Larmore and Hirschberg (1990)."""
    packages = sorted((weight, weight) for weight in weights)
    row = packages
    for _ in range(limit - 1):
        pairs = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
        row = sorted(packages + pairs)
    return sum(weight for weight, _ in row[: 2 * len(weights) - 2])


@hypothesis.given(st.lists(st.integers(0, 5000), min_size=1, max_size=60))
def test_codes_are_optimal_with_one_more_for_the_code_of_ones(weights):
    histogram = np.array(weights)
    lengths = code_lengths(histogram).astype(int)
    np.testing.assert_array_equal(lengths > 0, histogram > 0)
    if lengths.max() in range(1, 16):
        assert histogram @ lengths + lengths.max() == huffman_cost([*histogram[histogram > 0], 1])
        assert (0.5 ** lengths[lengths > 0]).sum() + 0.5 ** lengths.max() == 1


@pytest.mark.parametrize("symbols", [17, 20, 28])
def test_codes_are_limited_to_16_bits(symbols):
    histogram = np.zeros(256, int)
    weights = [1]
    while len(weights) < symbols:  # each the sum of those before: without a limit, each has a bit less than the next
        weights.append(sum(weights) + 1)
    histogram[:symbols] = weights
    lengths = code_lengths(histogram)[:symbols].astype(int)
    assert lengths.max() == 16
    assert (np.diff(lengths) <= 0).all()
    assert (0.5**lengths).sum() + 0.5**16 <= 1
    least = package_merge_cost([*weights, 1], 16)
    assert huffman_cost([*weights, 1]) < least <= weights @ lengths + 16 <= 1.01 * least


def test_one_symbol_takes_one_bit_and_none_takes_none():
    assert code_lengths(np.array([0, 7, 0])).tolist() == [0, 1, 0]
    assert code_lengths(np.zeros(256, int)).max() == 0
    assert code_lengths(np.array([4, 4])).tolist() == [1, 2]
    assert code_lengths(np.array([5, 4])).tolist() == [1, 2]
