import contextlib
import dataclasses
import io
import shutil
import subprocess

import hypothesis
import numpy as np
import pytest
import scipy.fft
from hypothesis import strategies as st
from pictures import read
from PIL import Image

from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import SUBSAMPLINGS, Geometry
from diffquant.jpeg.markers import ICC_CHUNK, MOST_ICC, read_frame

PIXELS = read("00_ref.png")[:200, :252]
BASELINE, PROGRESSIVE = 0xC0, 0xC2
SIZES = [(1, 1), (1, 9), (9, 1), (3, 2), (17, 33), (16, 40), (24, 9)]
KINDS = [*((subsampling, 3) for subsampling in SUBSAMPLINGS), ("420", 1)]
each_kind = pytest.mark.parametrize(("subsampling", "components"), KINDS)


def random_image(geometry, seed=0, largest=40, **markers):
    """Sparse random levels, other random tables for each component."""
    rng = np.random.default_rng(seed)
    levels = [np.zeros((*blocks, 8, 8), np.int16) for blocks in geometry.blocks]
    for plane in levels:
        plane[...] = rng.integers(-largest, largest, plane.shape, endpoint=True) * (rng.random(plane.shape) < 0.2)
    tables = tuple(rng.integers(1, 256, (8, 8)).astype(np.uint16) for _ in levels)
    return JpegImage(tuple(levels), tables, geometry, **markers)


def pillow_file(pixels=PIXELS, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def pillow_pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def frame_marker(data):
    """Which of the SOF markers comes first."""
    at = 2
    while not BASELINE <= data[at + 1] <= PROGRESSIVE:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[at + 1]


def assert_same(a, b):
    assert a.geometry == b.geometry
    for x, y in zip(a.levels + a.tables, b.levels + b.tables, strict=True):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


@each_kind
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_levels_and_tables_are_read_back_as_they_were(subsampling, components, size):
    image = random_image(Geometry(*size, subsampling, components))
    assert_same(JpegImage.from_bytes(image.to_bytes()), image)
    assert_same(JpegImage.from_bytes(image.to_sequential()), image)
    assert image.decode().shape == (*size, 3)


@each_kind
def test_a_picture_becomes_a_smaller_file_with_progressive_scans(subsampling, components):
    mode = "L" if components == 1 else "RGB"
    pixels = np.asarray(Image.fromarray(PIXELS).convert(mode))
    image = JpegImage.from_bytes(pillow_file(pixels, quality=90, subsampling=":".join(subsampling)))
    assert image.geometry == Geometry(*PIXELS.shape[:2], subsampling, components)
    assert frame_marker(image.to_bytes()) == PROGRESSIVE
    assert frame_marker(image.to_sequential()) == BASELINE
    assert read_frame(image.to_bytes()).names == bytes([1, 2, 3][:components])
    assert len(image.to_bytes()) < len(image.to_sequential())
    assert_same(JpegImage.from_bytes(image.to_bytes()), image)
    np.testing.assert_array_equal(pillow_pixels(image.to_sequential()), image.decode())


def test_a_tiny_picture_stays_sequential():
    assert frame_marker(random_image(Geometry(3, 2)).to_bytes()) == BASELINE


def test_without_mozjpegs_file_it_is_sequential(monkeypatch):
    def fails(_):
        raise ValueError

    monkeypatch.setattr("diffquant.jpeg.file.mozjpeg.optimize", fails)
    image = random_image(Geometry(170, 230))
    assert image.to_bytes() == image.to_sequential()


def test_levels_times_tables_are_orthonormal_dct_coefficients():
    image = random_image(Geometry(24, 40, components=1), largest=2)
    coefficients = image.levels[0].astype(float) * image.tables[0]
    blocks = scipy.fft.idctn(coefficients, axes=(2, 3), norm="ortho") + 128
    expected = np.clip(blocks.swapaxes(1, 2).reshape(24, 40), 0, 255)
    assert np.abs(image.decode() - expected[..., None]).max() < 1  # rounded, and by a transform in integers
    row_frequency = np.zeros((1, 2, 8, 8), np.int16)
    row_frequency[0, 0, 1, 0] = 3
    image = JpegImage((row_frequency,), (np.full((8, 8), 50, np.uint16),), Geometry(8, 16, components=1))
    assert (np.ptp(image.decode()[:, :8, 0], axis=0) > 0).all()
    assert np.ptp(image.decode()[:, :8, 0], axis=1).max() == 0


def test_pillow_finds_the_tables_and_equal_ones_once():
    image = random_image(Geometry(24, 40))
    found = Image.open(io.BytesIO(image.to_bytes())).quantization
    for table, values in zip(image.tables, found.values(), strict=True):
        np.testing.assert_array_equal(np.reshape(values, (8, 8)), table)
    luma, chroma, _ = image.tables
    for tables, count in [((luma, chroma, chroma), 2), ((luma, chroma, luma), 2), ((luma, luma, luma), 1)]:
        shared = dataclasses.replace(image, tables=tables)
        assert len(Image.open(io.BytesIO(shared.to_bytes())).quantization) == count
        assert_same(JpegImage.from_bytes(shared.to_bytes()), shared)


@pytest.mark.skipif(shutil.which("djpeg") is None, reason="djpeg is not installed")
@each_kind
def test_djpeg_shows_the_same_pixels(subsampling, components, tmp_path):
    image = random_image(Geometry(17, 43, subsampling, components), largest=4)
    (tmp_path / "a.jpg").write_bytes(image.to_bytes())
    command = ["djpeg", "-ppm", "-outfile", str(tmp_path / "a.ppm"), str(tmp_path / "a.jpg")]
    subprocess.run(command, check=True)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.ppm").convert("RGB")), image.decode())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "restart_marker_rows": 1}], ids=str)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_files_of_other_encoders_are_read(options, subsampling):
    data = pillow_file(PIXELS[:43, :70], subsampling=":".join(subsampling), **options)
    image = JpegImage.from_bytes(data)
    assert image.geometry == Geometry(43, 70, subsampling)
    np.testing.assert_array_equal(image.decode(), pillow_pixels(data))


@pytest.mark.parametrize("length", [1, ICC_CHUNK, ICC_CHUNK + 1, 2 * ICC_CHUNK + 5], ids=str)
def test_profile_and_exif_come_back(length):
    icc = np.random.default_rng(0).bytes(length)
    exif = Image.Exif()
    exif[0x112] = 6  # orientation
    image = random_image(Geometry(17, 33), icc=icc, exif=exif.tobytes())
    read_back = Image.open(io.BytesIO(image.to_bytes()))
    assert read_back.info["icc_profile"] == icc
    assert read_back.getexif()[0x112] == 6
    assert "jfif" in read_back.info
    again = JpegImage.from_bytes(image.to_bytes())
    assert (again.icc, again.exif, again.adobe) == (icc, exif.tobytes(), None)
    assert again.to_bytes() == image.to_bytes()


@pytest.mark.parametrize("length", [6, 65_533], ids=str)
def test_exif_may_fill_its_marker(length):
    exif = b"Exif\0\0" + bytes(length - 6)
    assert JpegImage.from_bytes(random_image(Geometry(3, 5), exif=exif).to_bytes()).exif == exif


def test_adobes_marker_says_whether_components_are_colours():
    geometry = Geometry(8, 24, "444")
    levels = tuple(np.zeros((1, 3, 8, 8), np.int16) for _ in range(3))
    for plane, code in zip(levels, (200, 90, 128), strict=True):
        plane[..., 0, 0] = code - 128
    tables = (np.full((8, 8), 8, np.uint16),) * 3
    own = JpegImage(levels, tables, geometry, adobe=0)
    assert own.decode()[3, 5].tolist() == [200, 90, 128]
    assert JpegImage.from_bytes(own.to_bytes()).adobe == 0
    for adobe in (None, 1):
        other = JpegImage(levels, tables, geometry, adobe=adobe)
        expected = 200, 200 - 0.344136 * (90 - 128), 200 + 1.772 * (90 - 128)  # JFIF's equations
        np.testing.assert_allclose(other.decode()[3, 5], expected, atol=1)
        assert JpegImage.from_bytes(other.to_bytes()).adobe is None


def test_colours_named_r_g_b_are_read_as_such():
    data = pillow_file(PIXELS[:24, :40], keep_rgb=True, quality=95)
    at = data.index(b"\xff\xee")
    unmarked = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    for file in (data, unmarked):
        image = JpegImage.from_bytes(file)
        assert image.adobe == 0
        np.testing.assert_array_equal(image.decode(), pillow_pixels(file))


@pytest.mark.parametrize("step", [1, 255])
def test_the_largest_levels_are_written(step):
    rng = np.random.default_rng(0)
    geometry = Geometry(17, 40)
    levels = tuple(rng.choice(np.array([-1023, 1023], np.int16), (*blocks, 8, 8)) for blocks in geometry.blocks)
    for plane in levels:
        plane[..., 0, 0] = rng.choice(np.array([-1024, 1023]), plane.shape[:2])
    image = JpegImage(levels, (np.full((8, 8), step, np.uint16),) * 3, geometry)
    assert_same(JpegImage.from_bytes(image.to_bytes()), image)


def test_bytes_are_made_once_and_always_the_same():
    image = random_image(Geometry(17, 33))
    assert image.to_bytes() is image.to_bytes()
    assert random_image(Geometry(17, 33)).to_bytes() == image.to_bytes()
    assert random_image(Geometry(17, 33), seed=1).to_bytes() != image.to_bytes()


def test_the_arrays_are_copies_and_read_only():
    plane, table = np.zeros((1, 2, 8, 8), np.int16), np.ones((8, 8), np.uint16)
    image = JpegImage((plane,), (table,), Geometry(8, 16, components=1))
    plane[:], table[:] = 7, 0
    assert image.levels[0].max() == 0
    assert image.tables[0].min() == 1
    with pytest.raises(ValueError, match="read-only"):
        image.levels[0][0, 0, 0, 0] = 1


def grey(place=(), value=0, least=1, most=1, **others):
    """Arguments of an image with one level or table entry that is not the usual."""
    plane, table = np.zeros((1, 2, 8, 8), np.int16), np.ones((8, 8), np.uint16)
    plane[place], table[0, 1], table[2, 0] = value, least, most
    return {"levels": (plane,), "tables": (table,), "geometry": Geometry(8, 16, components=1), **others}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (grey(least=0), "tables go from 0 to 1, expected 1 to 255"),
        (grey(most=256), "tables go from 1 to 256"),
        (grey((0, 1, 0, 0), 1024), "DC levels go from 0 to 1024, expected -1024 to 1023"),
        (grey((0, 1, 0, 0), -1025), "DC levels go from -1025 to 0"),
        (grey((0, 1, 0, 1), 1024), "AC levels go from 0 to 1024, expected -1023 to 1023"),
        (grey((0, 1, 7, 7), -1024), "AC levels go from -1024 to 0"),
        ({**grey(), "levels": ()}, "levels are , expected int16"),
        ({**grey(), "levels": (np.zeros((1, 2, 8, 8)),)}, r"levels are float64 \[1, 2, 8, 8\], expected int16"),
        ({**grey(), "levels": (np.zeros((2, 1, 8, 8), np.int16),)}, r"levels are .*expected int16 \[1, 2, 8, 8\]"),
        ({**grey(), "tables": (np.ones((8, 8), np.uint8),)}, "tables are uint8"),
        ({**grey(), "tables": (np.ones(64, np.uint16),)}, r"tables are uint16 \[64\]"),
        (grey(adobe=0), "adobe: found 0 for 1 components"),
        (grey(exif=b"MM"), "exif: found 2 bytes"),
        (grey(exif=b"Exif\0\0" + bytes(65_528)), "exif: found 65534 bytes"),
        (grey(icc=b""), "icc: found 0 bytes"),
        (grey(icc=bytes(MOST_ICC + 1)), "icc: found 16707346 bytes"),
    ],
)
def test_impossible_images_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        JpegImage(**arguments)


def test_other_adobe_codes_are_refused():
    with pytest.raises(ValueError, match="adobe: found 2 for 3 components"):
        random_image(Geometry(3, 5), adobe=2)


def test_other_files_are_refused_in_one_line():
    png, cmyk = io.BytesIO(), io.BytesIO()
    Image.fromarray(PIXELS[:5, :9]).save(png, "PNG")
    Image.new("CMYK", (9, 5)).save(cmyk, "JPEG")
    file = pillow_file(PIXELS[:43, :70])
    cases = [
        (b"", "no JPEG"),
        (png.getvalue(), "no JPEG"),
        (cmyk.getvalue(), "sampling factors"),
        (file.replace(b"\x01\x22\0", b"\x01\x12\0"), "sampling factors"),
        (file[:100], "ends before its pixels"),
        (file[:-200], "damaged"),
        (file.replace(b"\xff\xc0", b"\xff\xc9"), "Huffman codes"),
        (file.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12 bits a sample, expected 8"),
    ]
    for data, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            JpegImage.from_bytes(data)
        assert "\n" not in str(caught.value)


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.sampled_from(["baseline", "progressive"]), st.integers(0, 2**32 - 1))
def test_damaged_files_are_read_or_refused(kind, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(pillow_file(PIXELS[:17, :33], progressive=kind == "progressive"))
    for _ in range(rng.integers(1, 5)):
        data[rng.integers(len(data))] = rng.integers(256)
    with contextlib.suppress(ValueError):
        image = JpegImage.from_bytes(bytes(data))
        assert_same(JpegImage.from_bytes(image.to_bytes()), image)
