import errno
import io
import os
import stat
import struct

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from diffquant.export.indexed import IndexedImage
from diffquant.files import write_atomically


@st.composite
def images(draw):
    """Palettes of 1 to 256 colours, some of them twice, some of them unused; never square."""
    k = draw(st.sampled_from([1, 2, 3, 4, 5, 16, 17, 255, 256]) | st.integers(1, 256))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    palette = rng.integers(0, 256, (k, 3), np.uint8)
    palette[rng.random(k) < 0.2] = palette[0]
    h = draw(st.integers(1, 23))
    indices = rng.integers(0, k, (h, h + draw(st.integers(1, 9))), np.uint8)
    return IndexedImage(palette, indices)


def header(data):
    """Width, height, bit depth and colour type, from the fixed place of the IHDR chunk."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">IIBB", data[16:26])


def chunks(data):
    at, names = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        names.append(data[at + 4 : at + 8])
        at += 12 + length
    return names


def gradient(k, shape=(6, 50)):
    """`k` distinct colours, all of them used."""
    palette = np.stack([np.arange(k), 255 - np.arange(k), np.full(k, 9)], axis=1).astype(np.uint8)
    return IndexedImage(palette, (np.arange(shape[0] * shape[1]) % k).astype(np.uint8).reshape(shape))


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(images())
def test_any_decoder_sees_exactly_the_pixels(image):
    data = image.to_bytes(level=0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image.decode())
    used = len(np.unique(image.decode().reshape(-1, 3), axis=0))
    depth = 1 if used <= 2 else 2 if used <= 4 else 4 if used <= 16 else 8
    assert header(data) == (*image.indices.shape[::-1], depth, 3)
    assert chunks(data) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    again = IndexedImage.from_bytes(data)
    np.testing.assert_array_equal(again.palette, image.normalized().palette)
    np.testing.assert_array_equal(again.indices, image.normalized().indices)
    assert again.to_bytes(level=0) == data


@hypothesis.settings(max_examples=30, deadline=None)
@hypothesis.given(images())
def test_normalizing_keeps_the_picture_and_is_done_once(image):
    normal = image.normalized()
    np.testing.assert_array_equal(normal.decode(), image.decode())
    np.testing.assert_array_equal(np.unique(normal.palette, axis=0), np.unique(image.decode().reshape(-1, 3), axis=0))
    assert len(np.unique(normal.palette, axis=0)) == len(normal.palette)
    np.testing.assert_array_equal(normal.normalized().palette, normal.palette)


def test_the_palette_runs_from_dark_to_light():
    palette = np.array([[255, 255, 255], [0, 0, 255], [0, 0, 0], [255, 255, 0], [1, 2, 3], [0, 0, 0]], np.uint8)
    image = IndexedImage(palette, np.array([[0, 1, 2], [3, 5, 5]], np.uint8))
    assert image.normalized().palette.tolist() == [[0, 0, 0], [0, 0, 255], [255, 255, 0], [255, 255, 255]]
    assert image.normalized().indices.tolist() == [[3, 1, 0], [2, 0, 0]]


@pytest.mark.parametrize(("k", "depth"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
@pytest.mark.parametrize("level", [2, 6])
def test_the_bit_depth_is_the_smallest_that_holds_the_colours(k, depth, level):
    assert header(gradient(k).to_bytes(level=level)) == (50, 6, depth, 3)


@pytest.mark.parametrize("k", [1, 2, 4, 16, 256])
@pytest.mark.parametrize("level", [2, 6])
def test_grey_palettes_stay_indexed(k, level):
    ramp = np.round(np.linspace(0, 255, k)).astype(np.uint8)
    image = IndexedImage(np.stack([ramp] * 3, axis=1), np.arange(k, dtype=np.uint8)[None])
    data = image.to_bytes(level=level)
    assert header(data)[3] == 3
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image.decode())


def test_one_pixel_is_enough():
    image = IndexedImage(np.array([[1, 2, 3]], np.uint8), np.zeros((1, 1), np.uint8))
    assert header(image.to_bytes()) == (1, 1, 1, 3)
    assert IndexedImage.from_bytes(image.to_bytes()).decode().tolist() == [[[1, 2, 3]]]


def test_bytes_are_made_once_and_always_the_same():
    image = gradient(40)
    assert image.to_bytes() is image.to_bytes()
    assert image.to_bytes(level=0) != image.to_bytes()
    assert gradient(40).to_bytes() == image.to_bytes()
    shuffled = np.random.default_rng(0).permutation(40)
    other = IndexedImage(image.palette[shuffled], shuffled.argsort().astype(np.uint8)[image.indices])
    assert other.to_bytes() == image.to_bytes()


def test_the_arrays_are_copies_and_read_only():
    palette = np.zeros((2, 3), np.uint8)
    image = IndexedImage(palette, np.zeros((2, 5), np.uint8))
    palette[:] = 7
    assert image.palette.max() == 0
    with pytest.raises(ValueError, match="read-only"):
        image.indices[0, 0] = 1


@pytest.mark.parametrize(
    ("palette", "indices", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.full((2, 5), 2, np.uint8), "indices go up to 2, but palette holds 2"),
        (np.zeros((2, 4), np.uint8), np.zeros((2, 5), np.uint8), "palette has shape"),
        (np.zeros((257, 3), np.uint8), np.zeros((2, 5), np.uint8), "at most 256"),
        (np.zeros((2, 3), np.float32), np.zeros((2, 5), np.uint8), "palette is float32"),
        (np.zeros((0, 3), np.uint8), np.zeros((2, 5), np.uint8), "not empty"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 5), np.int64), "indices is int64"),
        (np.zeros((2, 3), np.uint8), np.zeros((2, 5, 1), np.uint8), "two axes"),
        (np.zeros((2, 3), np.uint8), np.zeros((0, 5), np.uint8), "not empty"),
    ],
)
def test_impossible_images_are_refused(palette, indices, message):
    with pytest.raises(ValueError, match=message):
        IndexedImage(palette, indices)


def test_only_indexed_pictures_are_read():
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    with pytest.raises(ValueError, match="mode RGB"):
        IndexedImage.from_bytes(file.getvalue())


def test_a_file_is_replaced_with_the_permissions_of_any_new_file(tmp_path):
    path, plain = tmp_path / "a.png", tmp_path / "plain"
    plain.write_bytes(b"")
    write_atomically(path, b"one")
    write_atomically(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "plain"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, step):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="cannot write: No space left") as caught:
        write_atomically(path, b"after")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a.png", b"after")
    assert os.listdir(tmp_path) == []


def test_missing_folders_and_folders_are_named_in_the_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write.*missing"):
        write_atomically(tmp_path / "missing" / "a.png", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write.*folder"):
        write_atomically(tmp_path / "folder", b"")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"after"


def test_devices_are_written_and_not_replaced():
    write_atomically(os.devnull, b"data")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
