"""The writer of animated GIFs, and its LZW.

Oracles: Pillow, which composes the frames; a decoder of LZW and of blocks by hand, from the GIF89a specification.
"""

import io
import itertools
import struct
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from diffquant.animation.gif import LONGEST, GifWriter
from diffquant.animation.lzw import compress

SIZES = st.sampled_from([1, 2, 3, 4, 7, 8, 15, 16, 127, 128, 255]) | st.integers(1, 255)


def lzw(data, bits):
    """Indices of packed codes, how many codes cleared the table, and the largest size of a code."""
    clear, end = 1 << bits, (1 << bits) + 1
    width, table, last = bits + 1, [], None
    found, clears, widest, at = [], 0, 0, 0
    number = int.from_bytes(data, "little")
    packed = format(number, f"0{8 * len(data)}b")[::-1]  # the lowest bit first
    while True:
        code = int(packed[at : at + width][::-1], 2)
        at += width
        widest = max(widest, width)
        if code == end:
            assert len(data) == -(-at // 8)  # nothing behind the end
            return found, clears, widest
        if code == clear:
            width, table, last = bits + 1, [(i,) for i in range(clear)] + [(), ()], None
            clears += 1
            continue
        if last is not None and len(table) < 4096:
            table.append((*last, (table[code] if code < len(table) else last)[0]))
        last = table[code]
        found += last
        if len(table) == 1 << width and width < 12:
            width += 1


def unpacked(block):
    """The same of an image data block."""
    bits, at, data = block[0], 1, b""
    while size := block[at]:
        data += block[at + 1 : at + 1 + size]
        at += size + 1
    assert at == len(block) - 1
    found, clears, widest = lzw(data, bits)
    return np.array(found, np.uint8), clears, widest


def decoded(block):
    return unpacked(block)[0]


def blocks(data):
    """(left, top, width, height, disposal, delay, has its own table) of each frame of a file."""
    at = 13 + (3 << (data[10] & 7) + 1)
    frames, control = [], b""
    while data[at] != ord(";"):
        if data[at] == 0x21:
            if data[at + 1] == 0xF9:
                control = data[at + 3 : at + 7]
            at += 2
        else:
            *place, flags = struct.unpack("<HHHHB", data[at + 1 : at + 10])
            frames.append((*place, control[0] >> 2 & 7, int.from_bytes(control[1:3], "little"), bool(flags & 0x80)))
            at += 11 + (3 << (flags & 7) + 1) * (flags >> 7)
        while data[at]:
            at += data[at] + 1
        at += 1
    assert at == len(data) - 1
    return frames


def shown(data):
    """RGBA as Pillow composes it, what is transparent being zeros, and hundredths of a second, of each frame."""
    with Image.open(io.BytesIO(data)) as image:
        for frame in ImageSequence.Iterator(image):
            rgba = np.asarray(frame.convert("RGBA"))
            yield np.where(rgba[..., 3:] == 255, rgba, 0), round(frame.info["duration"] / 10)


def written(frames, palette, loop=None):
    """A file of frames (indices, delay, opaque, palette), and which of its frames shows each of them."""
    with tempfile.TemporaryFile() as file:
        writer = GifWriter(file, *frames[0][0].shape[::-1], palette, loop=loop)
        places = [writer.add(indices, delay, opaque=opaque, palette=own) for indices, delay, opaque, own in frames]
        writer.close()
        file.seek(0)  # it is still open
        return file.read(), places


def seen(indices, opaque, palette):
    rgba = np.dstack([palette[indices], np.full(indices.shape, 255, np.uint8)])
    return rgba if opaque is None else np.where(opaque[..., None], rgba, 0)


@st.composite
def clips(draw, transparent=True):
    """Frames that change a little or much, or not at all; some have a palette of their own."""
    h, w = draw(st.integers(1, 8)), draw(st.integers(1, 11))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shared = rng.integers(0, 256, (draw(SIZES), 3), np.uint8)
    indices, opaque, palette = np.zeros((h, w), np.uint8), None, None
    frames = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.integers(0, 4)) == 0:
            palette = draw(st.sampled_from([None, rng.integers(0, 256, (draw(SIZES), 3), np.uint8)]))
        k = len(shared if palette is None else palette)
        change = rng.random((h, w)) < draw(st.sampled_from([0, 0.1, 1]))
        indices = np.where(change, rng.integers(0, k, (h, w)), indices % k).astype(np.uint8)
        if transparent and draw(st.booleans()):
            opaque = draw(st.sampled_from([None, rng.random((h, w)) < draw(st.sampled_from([0, 0.5, 0.9]))]))
        frames.append((indices, draw(st.integers(0, 300)), opaque, palette))
    return frames, shared


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(clips())
def test_pillow_shows_each_frame_as_it_was_added(clip):
    frames, palette = clip
    data, places = written(frames, palette)
    composed = list(shown(data))
    times = np.zeros(len(composed), int)
    for (indices, delay, opaque, own), place in zip(frames, places, strict=True):
        np.testing.assert_array_equal(composed[place][0], seen(indices, opaque, palette if own is None else own))
        times[place] += delay
    assert [delay for _, delay in composed] == times.tolist()
    assert places == sorted(places)
    assert all((a[0] != b[0]).any() for a, b in itertools.pairwise(composed))  # none is written twice


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(clips(transparent=False))
def test_only_the_rectangle_that_changes_is_written(clip):
    frames, palette = clip
    data, places = written([(indices % len(palette), 3, None, None) for indices, *_ in frames], palette)
    first = [frames[places.index(place)][0] % len(palette) for place in range(places[-1] + 1)]
    h, w = first[0].shape
    assert blocks(data)[0][:4] == (0, 0, w, h)
    for before, after, (left, top, width, height, *_) in zip(first, first[1:], blocks(data)[1:], strict=False):
        rows, columns = np.nonzero((palette[before] != palette[after]).any(axis=2))
        assert (top, left) == (rows.min(), columns.min())
        assert (height, width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_a_pixel_that_turns_transparent_clears_the_frame_before():
    palette = np.array([[9, 9, 9], [200, 0, 0]], np.uint8)
    hole = np.ones((3, 5), bool)
    hole[1, 2] = False
    red, grey = np.ones((3, 5), np.uint8), np.zeros((3, 5), np.uint8)
    data, _ = written([(red, 4, None, None), (grey, 4, hole, None), (red, 4, hole, None)], palette)
    assert [frame[4] for frame in blocks(data)] == [2, 1, 1]
    assert [pixels[1, 2, 3] for pixels, _ in shown(data)] == [255, 0, 0]


def test_a_table_of_its_own_is_written_only_where_it_differs():
    palette = np.array([[9, 9, 9], [200, 0, 0]], np.uint8)
    indices = [np.full((2, 3), i, np.uint8) for i in (0, 1, 0)]
    data, _ = written(
        [(indices[0], 4, None, palette), (indices[1], 4, None, palette[::-1].copy()), (indices[2], 4, None, None)],
        palette,
    )
    assert len(blocks(data)) == 1  # the same colour, whatever its entry
    other = np.array([[9, 9, 9], [0, 200, 0]], np.uint8)
    data, _ = written(
        [(indices[1], 4, None, palette), (indices[1], 4, None, other), (indices[1], 4, None, None)], palette
    )
    assert [frame[-1] for frame in blocks(data)] == [False, True, False]


@pytest.mark.parametrize("loop", [None, 0, 1, 65535])
def test_the_loop_count_is_that_of_the_netscape_block(loop):
    data, _ = written([(np.zeros((2, 3), np.uint8), 4, None, None)], np.zeros((1, 3), np.uint8), loop)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info.get("loop") == loop
    assert (b"NETSCAPE2.0" in data) == (loop is not None)


def test_delays_longer_than_a_file_can_say_are_said_by_several_frames():
    frames = [(np.full((2, 3), i, np.uint8), delay, None, None) for i, delay in ((0, 150_000), (0, 60_000), (1, 7))]
    data, places = written(frames, np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    composed = list(shown(data))
    assert sum(delay for _, delay in composed) == 210_007
    assert max(delay for _, delay in composed) <= LONGEST
    for (indices, *_), place in zip(frames, places, strict=True):
        assert (
            composed[place][0][0, 0] == [1 + 3 * indices[0, 0], 2 + 3 * indices[0, 0], 3 + 3 * indices[0, 0], 255]
        ).all()


# LZW


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("texture", ["noise", "steps", "constant"])
def test_codes_decode_to_the_indices_at_every_depth(bits, texture):
    rng = np.random.default_rng(bits)
    noise = rng.integers(0, 1 << bits, (150, 230), np.uint8)
    steps = (np.indices((150, 230)).sum(axis=0) // 7 % (1 << bits)).astype(np.uint8)
    picture = {"noise": noise, "steps": steps, "constant": np.ones((90, 150), np.uint8)}[texture]
    found, clears, widest = unpacked(compress(picture, bits, None, None))
    np.testing.assert_array_equal(found, picture.ravel())
    if texture == "noise":
        assert widest == 12
        assert clears > 1  # the table was full at least once
    if texture == "constant":  # phrases of 1, 2, 3, ... pixels
        assert clears == 1
        assert widest <= 9


def test_the_codes_size_is_right_wherever_the_picture_ends():
    # Every pair of neighbours is new, so that each code is one pixel, and each but the first adds an entry.
    ladder = np.concatenate([np.arange(251) * step % 251 for step in range(1, 18)]).astype(np.uint8)
    assert len(set(itertools.pairwise(ladder))) == len(ladder) - 1
    full = [(1 << width) - 258 for width in (9, 10, 11, 12)]  # pixels after which the next entry needs a bit more
    for n in [*range(1, 4), *(size + d for size in full for d in range(-3, 5))]:
        picture = ladder[None, :n]
        np.testing.assert_array_equal(decoded(compress(picture, 8, None, None)), picture[0])
    for n in range(1, 120):
        picture = (ladder[None, :n] % 4).astype(np.uint8)
        np.testing.assert_array_equal(decoded(compress(picture, 2, None, None)), picture[0])


@hypothesis.settings(max_examples=80, deadline=None)
@hypothesis.given(st.integers(2, 8), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_free_pixels_are_written_as_they_are_or_as_transparent_and_the_others_as_they_are(bits, seed, share, calm):
    rng = np.random.default_rng(seed)
    transparent = (1 << bits) - 1
    picture = rng.integers(0, transparent, (13, 21), np.uint8)
    picture[rng.random((13, 21)) < calm] = 0
    free = rng.random((13, 21)) < share
    found = decoded(compress(picture, bits, free, transparent)).reshape(13, 21)
    np.testing.assert_array_equal(found[~free], picture[~free])
    assert np.isin(found[free & (found != picture)], transparent).all()


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_freedom_makes_files_smaller_than_none_and_not_larger_than_transparent_throughout(bits):
    sizes = np.zeros(3, int)
    transparent = (1 << bits) - 1
    for seed in range(6):
        rng = np.random.default_rng(seed)
        picture = (rng.random((64, 96)) * 3 + np.linspace(0, transparent - 3, 96)).astype(np.uint8)  # a dithered ramp
        still = np.repeat(np.repeat(rng.random((8, 12)) < 0.6, 8, axis=0), 8, axis=1)
        free = still & (rng.random((64, 96)) < 0.95)
        sizes += [
            len(compress(picture, bits, free, transparent)),
            len(compress(picture, bits, None, None)),
            len(compress(np.where(free, np.uint8(transparent), picture), bits, None, None)),
        ]
    assert sizes[0] < sizes[1]
    assert sizes[0] < 1.02 * sizes[2]  # greedy: a phrase is made longer, even where a later one gets shorter
