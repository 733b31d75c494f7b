"""Oracles: pixels known by construction; numpy flips for orientation; profiles built by hand, whose effect is known."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib

import hypothesis
import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageCms

import diffquant.decoding
from diffquant.image import ImageError, parse_color, read

RNG = np.random.default_rng(1)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RGB[..., 0]
ALPHA = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7, 4), dtype=np.uint16)
SMOOTH = np.stack(np.broadcast_arrays(np.arange(24) * 9, np.arange(16)[:, None] * 12, 90), -1).astype(np.uint8)
LOSSLESS = {"png": {}, "webp": {"lossless": True, "exact": True}, "tif": {}, "bmp": {}}


def saved(path, array, mode=None, **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows, *, size, bits, color_type, extra=b""):
    """A PNG by the book (ISO/IEC 15948): `rows` are packed bytes, without filters."""
    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def deep_png(array, color_type, extra=b""):
    height, width = array.shape[:2]
    rows = [row.astype(">u2").tobytes() for row in array]
    return png(rows, size=(width, height), bits=16, color_type=color_type, extra=extra)


def over(color, alpha, background):
    """Compositing by the textbook, in float64."""
    share = alpha.astype(float)[..., None] / 255
    return np.rint(color * share + np.array(background) * (1 - share))


# Formats and modes


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_files_keep_their_codes(tmp_path, extension):
    picture = read(saved(tmp_path / f"a.{extension}", RGB, **LOSSLESS[extension]))
    assert picture.srgb8.dtype == np.uint8
    np.testing.assert_array_equal(picture.srgb8, RGB)
    np.testing.assert_array_equal(picture.srgb, RGB.astype(np.float32) / np.float32(255))
    assert picture.notices == ()
    assert picture.bits == 8
    assert picture.name == str(tmp_path / f"a.{extension}")


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiffs_keep_their_codes(tmp_path, compression):
    path = saved(tmp_path / "a.tif", RGB, compression=compression)
    np.testing.assert_array_equal(read(path).srgb8, RGB)


@pytest.mark.parametrize("options", [{"quality": 90}, {"progressive": True}, {"subsampling": 2}])
def test_jpegs_are_near_the_original_and_as_pillow_decodes_them(tmp_path, options):
    picture = read(saved(tmp_path / "a.jpg", SMOOTH, **options))
    np.testing.assert_array_equal(picture.srgb8, np.asarray(Image.open(tmp_path / "a.jpg")))
    assert np.abs(picture.srgb8.astype(int) - SMOOTH).mean() < 4


def test_ycbcr_tiffs_are_near_the_original(tmp_path):
    picture = read(saved(tmp_path / "a.tif", SMOOTH, "YCbCr"))
    assert np.abs(picture.srgb8.astype(int) - SMOOTH).max() <= 3  # two roundings to 8 bits


@pytest.mark.parametrize("extension", ["png", "tif", "bmp", "gif"])
def test_grey_files_have_three_equal_channels(tmp_path, extension):
    picture = read(saved(tmp_path / f"a.{extension}", GREY))
    np.testing.assert_array_equal(picture.srgb8, np.stack([GREY] * 3, -1))


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
def test_one_bit_files_are_black_and_white(tmp_path, extension):
    bits = GREY > 127
    picture = read(saved(tmp_path / f"a.{extension}", bits))
    np.testing.assert_array_equal(picture.srgb8, np.stack([bits * 255] * 3, -1))


@pytest.mark.parametrize("extension", ["png", "gif", "bmp", "tif"])
def test_palette_files_give_the_colours_of_their_entries(tmp_path, extension):
    palette, index = RGB.reshape(-1, 3)[:12], RNG.integers(0, 12, (5, 7), dtype=np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    np.testing.assert_array_equal(read(saved(tmp_path / f"a.{extension}", image)).srgb8, palette[index])


def test_cmyk_without_a_profile_is_converted_by_the_plain_formula(tmp_path):
    cmyk = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    picture = read(saved(tmp_path / "a.tif", Image.fromarray(cmyk, "CMYK")))
    expected = (255.0 - cmyk[..., :3]) * (255.0 - cmyk[..., 3:]) / 255
    assert np.abs(picture.srgb8 - expected).max() <= 1
    assert "CMYK without a usable profile" in picture.notices[0]


def test_cmyk_jpegs_are_not_inverted(tmp_path):
    cmyk = np.zeros((8, 16, 4), np.uint8)
    cmyk[..., 0] = 255  # cyan ink
    picture = read(saved(tmp_path / "a.jpg", Image.fromarray(cmyk, "CMYK"), quality=95))
    assert np.abs(picture.srgb8 - np.array([0.0, 255, 255])).max() <= 6


def test_cielab_is_converted_to_srgb(tmp_path):
    lab = np.broadcast_to(np.uint8([138, 81, 70]), (5, 7, 3)).copy()  # L 54.1, a 81, b 70: sRGB red, by CSS Color 4
    tifffile.imwrite(tmp_path / "a.tif", lab, photometric="cielab")
    assert np.abs(read(tmp_path / "a.tif").srgb8 - np.array([255.0, 0, 0])).max() <= 6


@pytest.mark.parametrize("extension", ["png", "jpg", "webp", "tif", "gif", "bmp"])
def test_a_single_pixel_is_a_picture(tmp_path, extension):
    picture = read(saved(tmp_path / f"a.{extension}", np.full((1, 1, 3), 128, np.uint8)))
    assert picture.srgb8.shape == (1, 1, 3)
    assert np.abs(picture.srgb8.astype(int) - 128).max() <= 2


@pytest.mark.parametrize(("extension", "word"), [("gif", "animated GIF"), ("webp", "animated WebP"), ("tif", "TIFF")])
def test_of_many_frames_the_first_is_read_with_a_notice(tmp_path, extension, word):
    frames = [Image.new("RGB", (7, 5), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if extension == "webp" else {}
    frames[0].save(tmp_path / f"a.{extension}", save_all=True, append_images=frames[1:], **options)
    picture = read(tmp_path / f"a.{extension}")
    assert (picture.srgb8 == [255, 0, 0]).all()
    pages = "pages" if extension == "tif" else "frames"
    assert picture.notices == (f"{tmp_path / f'a.{extension}'}: {word}: first of 3 {pages}",)


def test_the_format_is_told_from_the_content_not_the_name(tmp_path):
    saved(tmp_path / "a.jpg", RGB, format="PNG")
    np.testing.assert_array_equal(read(tmp_path / "a.jpg").srgb8, RGB)


@hypothesis.given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
@hypothesis.settings(max_examples=30, deadline=None)
def test_a_png_round_trip_is_exact(tmp_path_factory, array):
    path = saved(tmp_path_factory.getbasetemp() / "round.png", array)
    np.testing.assert_array_equal(read(path).srgb8, array)


# 16 bits


def assert_deep(picture, expected):
    assert picture.bits == 16
    np.testing.assert_array_equal(np.rint(picture.srgb.astype(float) * 65535), expected)
    np.testing.assert_array_equal(picture.srgb8, np.rint(expected / 257))


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2)])
def test_16_bit_pngs_keep_their_precision(tmp_path, channels, color_type):
    (tmp_path / "a.png").write_bytes(deep_png(DEEP[..., :channels], color_type))
    assert_deep(read(tmp_path / "a.png"), np.broadcast_to(DEEP[..., :channels], (5, 7, 3)))


@pytest.mark.parametrize(("channels", "color_type"), [(2, 4), (4, 6)])
def test_16_bit_alpha_is_composited_in_16_bits(tmp_path, channels, color_type):
    (tmp_path / "a.png").write_bytes(deep_png(DEEP[..., :channels], color_type))
    share = DEEP[..., channels - 1 : channels] / 65535
    expected = np.rint(DEEP[..., : channels - 1] * share + np.array([0, 255, 51]) * 257 * (1 - share))
    assert_deep(read(tmp_path / "a.png", background=(0, 255, 51)), expected)


@pytest.mark.parametrize(("channels", "color_type"), [(1, 0), (3, 2)])
def test_the_transparent_colour_of_a_16_bit_png_is_compared_in_16_bits(tmp_path, channels, color_type):
    array = DEEP[..., :channels].copy()
    array[0, 1] = array[0, 0] ^ 1  # differs in the lowest bit only: stays
    (tmp_path / "a.png").write_bytes(deep_png(array, color_type, chunk(b"tRNS", array[0, 0].astype(">u2").tobytes())))
    expected = np.broadcast_to(array, (5, 7, 3)).copy()
    expected[0, 0] = 65535
    assert_deep(read(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("photometric", "byteorder"),
    [("minisblack", "<"), ("minisblack", ">"), ("miniswhite", "<"), ("rgb", "<"), ("rgb", ">")],
)
def test_16_bit_tiffs_keep_their_precision(tmp_path, byteorder, compression, photometric):
    array = DEEP[..., :3] if photometric == "rgb" else DEEP[..., 0]
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric=photometric, byteorder=byteorder, compression=compression, rowsperstrip=2
    )
    expected = 65535 - array if photometric == "miniswhite" else array
    assert_deep(read(tmp_path / "a.tif"), expected if array.ndim == 3 else np.stack([expected] * 3, -1))


def test_12_bit_grey_tiffs_have_the_full_range(tmp_path):
    # two samples in three bytes: 0xfff and 0x800; a little-endian file with one strip
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 3)]
    directory = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    content = b"II*\0" + struct.pack("<I", 12) + bytes([0xFF, 0xF8, 0x00, 0]) + struct.pack("<H", len(tags)) + directory
    (tmp_path / "a.tif").write_bytes(content + bytes(4))
    assert_deep(read(tmp_path / "a.tif"), np.array([[[65535] * 3, [round(0x800 / 0xFFF * 65535)] * 3]]))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiffs_in_planes_are_read_at_8_bits_and_refused_at_16_rather_than_misread(tmp_path, compression):
    options = {"photometric": "rgb", "planarconfig": "separate", "compression": compression}
    tifffile.imwrite(tmp_path / "a.tif", RGB.transpose(2, 0, 1), **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").srgb8, RGB)
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., :3].transpose(2, 0, 1), **options)
    with pytest.raises(ImageError, match="16-bit TIFF in separate planes; expected interleaved samples"):
        read(tmp_path / "a.tif")


# Alpha


@pytest.mark.parametrize("extension", ["png", "webp", "tif"])
def test_alpha_is_composited_in_gamma_encoded_values(tmp_path, extension):
    path = saved(tmp_path / f"a.{extension}", np.dstack([RGB, ALPHA]), **LOSSLESS[extension])
    picture = read(path, background=(10, 200, 30))
    np.testing.assert_array_equal(picture.srgb8, over(RGB, ALPHA, (10, 200, 30)))
    assert picture.notices == (f"{path}: alpha composited on #0ac81e",)


def test_grey_alpha_is_composited_on_a_coloured_background(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([GREY, ALPHA]), "LA"))
    expected = over(np.stack([GREY] * 3, -1), ALPHA, (255, 0, 9))
    np.testing.assert_array_equal(read(path, background=(255, 0, 9)).srgb8, expected)


def test_full_alpha_changes_nothing_and_is_not_worth_a_notice(tmp_path):
    picture = read(saved(tmp_path / "a.png", np.dstack([RGB, np.full_like(ALPHA, 255)])))
    np.testing.assert_array_equal(picture.srgb8, RGB)
    assert picture.notices == ()


def test_half_transparent_black_on_white_is_grey_127():
    assert read(np.uint8([[[0, 128]]])).srgb8.tolist() == [[[127, 127, 127]]]  # 255 * 127 / 255


@pytest.mark.parametrize("transparency", [0, bytes([0, 128])])
@pytest.mark.parametrize("extension", ["png", "gif"])
def test_transparent_palette_entries_show_the_background(tmp_path, extension, transparency):
    if extension == "gif" and transparency != 0:
        pytest.skip("a GIF has one transparent entry")
    image = Image.fromarray(np.uint8([[0, 1, 2]]), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture = read(saved(tmp_path / f"a.{extension}", image, transparency=transparency), background=(0, 0, 255))
    second = [40, 50, 60] if transparency == 0 else [20, 25, 157]  # 40 * 128 / 255 + 0, ..., 60 * 128 / 255 + 127
    assert picture.srgb8.tolist() == [[[0, 0, 255], second, [70, 80, 90]]]


def test_the_transparent_colour_of_a_png_shows_the_background(tmp_path):
    colors = np.uint8([[[1, 2, 3], [1, 2, 4]]])
    picture = read(saved(tmp_path / "a.png", colors, transparency=(1, 2, 3)))
    assert picture.srgb8.tolist() == [[[255, 255, 255], [1, 2, 4]]]


@pytest.mark.parametrize(("bits", "codes"), [(1, [0, 255]), (2, [0, 85, 170, 255]), (4, [0, 17, 34, 51])])
def test_the_transparent_grey_of_a_png_of_few_bits_shows_the_background(tmp_path, bits, codes):
    packed = sum(value << (8 * 2 - bits * (i + 1)) for i, value in enumerate(range(len(codes))))
    extra = chunk(b"tRNS", struct.pack(">H", 1))
    row = packed.to_bytes(2, "big")[: -(-bits * len(codes) // 8)]
    (tmp_path / "a.png").write_bytes(png([row], size=(len(codes), 1), bits=bits, color_type=0, extra=extra))
    expected = [9 if i == 1 else code for i, code in enumerate(codes)]
    assert read(tmp_path / "a.png", background=(9, 9, 9)).srgb8[0, :, 0].tolist() == expected


# Orientation

STORED = {  # how a camera stores an upright picture under each EXIF orientation
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, 1),  # shown turned clockwise, so stored turned counter-clockwise
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
def test_every_orientation_is_shown_upright(tmp_path, orientation, extension):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](RGB))
    path = saved(tmp_path / f"a.{extension}", stored, exif=exif, **LOSSLESS[extension])
    np.testing.assert_array_equal(read(path).srgb8, RGB)


def test_the_orientation_of_a_jpeg_swaps_its_sides(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read(saved(tmp_path / "a.jpg", np.rot90(SMOOTH).copy(), exif=exif, quality=95))
    assert np.abs(picture.srgb8.astype(int) - SMOOTH).mean() < 4


def test_alpha_and_16_bits_turn_with_the_picture(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.rot90(DEEP[..., :3]),
        photometric="rgb",
        extratags=[(274, "H", 1, 6, True)],
    )
    assert_deep(read(tmp_path / "a.tif"), DEEP[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "b.png", np.rot90(np.dstack([RGB, ALPHA])).copy(), exif=exif)
    np.testing.assert_array_equal(read(path).srgb8, over(RGB, ALPHA, (255, 255, 255)))


def test_damaged_exif_data_do_not_cost_the_picture(tmp_path):
    picture = read(saved(tmp_path / "a.png", RGB, exif=b"Exif\0\0garbage that is no TIFF header"))
    np.testing.assert_array_equal(picture.srgb8, RGB)


# EXIF data that are kept

MAKER_NOTE, EXPOSURE, GPS_LATITUDE = 37500, 33434, 2
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


def camera_exif(orientation=6, *, big_endian=False):
    exif = Image.Exif()
    exif.endian = ">" if big_endian else "<"
    exif[0x0112] = orientation
    exif[271] = "A maker of cameras"
    exif[EXIF_IFD] = {EXPOSURE: 0.25, MAKER_NOTE: bytes(range(40))}
    exif[GPS_IFD] = {1: "N", GPS_LATITUDE: (49.0, 30.0, 0.5)}
    return exif


def loaded(block):
    exif = Image.Exif()
    exif.load(block)
    return dict(exif), dict(exif.get_ifd(EXIF_IFD)), dict(exif.get_ifd(GPS_IFD))


@pytest.mark.parametrize("big_endian", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_kept_exif_data_are_those_of_the_file_but_for_the_orientation(tmp_path, extension, big_endian):
    before = camera_exif(big_endian=big_endian).tobytes()
    path = saved(tmp_path / f"a.{extension}", np.rot90(SMOOTH).copy(), exif=before)
    picture = read(path, keep=("exif",))
    assert picture.srgb8.shape == SMOOTH.shape
    assert picture.notices == ()
    differing = [at for at, (a, b) in enumerate(zip(before, picture.exif, strict=True)) if a != b]
    assert [before[at] for at in differing] == [6]
    assert [picture.exif[at] for at in differing] == [1]
    assert loaded(picture.exif)[0][0x0112] == 1
    assert read(path).exif is None


def test_kept_exif_data_of_a_tiff_describe_the_picture_and_not_its_storage(tmp_path):
    path = saved(tmp_path / "a.tif", np.rot90(SMOOTH).copy(), exif=camera_exif().tobytes())
    picture = read(path, keep=("exif",))
    assert picture.srgb8.shape == SMOOTH.shape
    assert picture.notices == ()
    main, camera, place = loaded(picture.exif)
    assert main.keys() <= {271, 282, 283, 296, EXIF_IFD, GPS_IFD}  # neither strips nor sides
    assert main[271] == "A maker of cameras"
    assert camera == {EXPOSURE: 0.25, MAKER_NOTE: bytes(range(40))}
    assert place[GPS_LATITUDE] == (49.0, 30.0, 0.5)


def test_a_file_without_exif_data_has_none_to_keep(tmp_path):
    for extension in ("png", "jpg", "gif"):
        picture = read(saved(tmp_path / f"a.{extension}", RGB), keep=("exif", "icc"))
        assert (picture.exif, picture.icc, picture.notices) == (None, None, ())
    assert read(RGB, keep=("exif", "icc")).exif is None


def test_exif_data_cut_anywhere_are_kept_whole_or_not_at_all(tmp_path):
    block = camera_exif().tobytes()
    for length in range(7, len(block)):
        picture = read(saved(tmp_path / "a.png", RGB, exif=block[:length]), keep=("exif",))
        assert picture.exif is None
        assert "EXIF data not kept (" in picture.notices[-1]
        assert "\n" not in picture.notices[-1]


def test_exif_data_too_long_for_a_jpeg_are_not_kept(tmp_path):
    exif = camera_exif(1)
    exif[271] = "x" * 65_500
    picture = read(saved(tmp_path / "a.png", RGB, exif=exif), keep=("exif",))
    assert picture.exif is None
    assert "EXIF data not kept (found 65" in picture.notices[0]


# Profiles

SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# D50-adapted sRGB primaries, from the sRGB profile of the ICC
PRIMARIES = {"r": (0.43607, 0.22249, 0.01392), "g": (0.38515, 0.71687, 0.09708), "b": (0.14307, 0.06061, 0.71410)}
SRGB_TERMS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
SRGB_CURVE = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(round(65536 * term) for term in SRGB_TERMS))


def gamma(value):
    return struct.pack(">4sIIH", b"curv", 0, 1, round(value * 256)) + b"\0\0"


def xyz(values):
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(v * 65536) for v in values))


def profile(space, tags, *, kind=b"mntr", pcs=b"XYZ "):
    """An ICC v2 profile (ICC.1:2001-04) named 'By hand'."""
    text = b"By hand\0"
    tags = {
        "desc": struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78),
        "wtpt": xyz((0.9642, 1, 0.8249)),
        **tags,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += struct.pack(">4sII", name.encode(), offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4sI4s4s4s12x4s", 0, b"lcms", 0x02400000, kind, space, pcs, b"acsp").ljust(68, b"\0")
    header += struct.pack(">3i", 63190, 65536, 54061)
    whole = header.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(whole)) + whole[4:]


def rgb_profile(order="rgb", curve=SRGB_CURVE):
    tags = {f"{name}XYZ": xyz(PRIMARIES[primary]) for name, primary in zip("rgb", order, strict=True)}
    return profile(b"RGB ", tags | {f"{name}TRC": curve for name in "rgb"})


def encoded(linear):
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("icc", [SRGB_PROFILE, rgb_profile()], ids=["of LittleCMS", "by hand"])
@pytest.mark.parametrize("extension", ["png", "tif", "webp"])
def test_an_srgb_profile_keeps_the_codes_without_a_notice(tmp_path, extension, icc):
    picture = read(saved(tmp_path / f"a.{extension}", RGB, icc_profile=icc, **LOSSLESS[extension]))
    np.testing.assert_array_equal(picture.srgb8, RGB)
    assert picture.notices == ()


def test_a_profile_of_swapped_primaries_swaps_the_channels(tmp_path):
    path = saved(tmp_path / "a.png", RGB, icc_profile=rgb_profile("grb"))
    picture = read(path)
    assert np.abs(picture.srgb8.astype(int) - RGB[..., [1, 0, 2]]).max() <= 1
    assert picture.notices == (f"{path}: embedded profile 'By hand' converted to sRGB",)


@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.2])
def test_a_profile_of_another_gamma_brightens_as_computed(tmp_path, exponent):
    picture = read(saved(tmp_path / "a.png", RGB, icc_profile=rgb_profile(curve=gamma(exponent))))
    stored = round(exponent * 256) / 256
    assert np.abs(picture.srgb8 - encoded((RGB / 255) ** stored)).max() <= 1.5


def test_a_grey_profile_applies_to_grey_and_leaves_alpha_alone(tmp_path):
    icc = profile(b"GRAY", {"kTRC": gamma(1.0)})
    picture = read(saved(tmp_path / "a.png", Image.fromarray(np.dstack([GREY, ALPHA]), "LA"), icc_profile=icc))
    converted = np.stack([encoded(GREY / 255)] * 3, -1)
    assert np.abs(picture.srgb8 - over(converted, ALPHA, (255, 255, 255))).max() <= 1.5
    assert len(picture.notices) == 2


def test_an_rgb_profile_applies_to_a_grey_picture(tmp_path):
    picture = read(saved(tmp_path / "a.png", GREY, icc_profile=rgb_profile(curve=gamma(1.0))))
    assert np.abs(picture.srgb8[..., 1] - encoded(GREY / 255)).max() <= 1.5


def test_a_palette_is_converted_through_its_profile(tmp_path):
    image = Image.fromarray(np.uint8([[0, 1]]), "P")
    image.putpalette([10, 200, 30, 250, 100, 0])
    picture = read(saved(tmp_path / "a.png", image, icc_profile=rgb_profile("grb")))
    assert np.abs(picture.srgb8.astype(int) - [[[200, 10, 30], [100, 250, 0]]]).max() <= 1


def test_cmyk_is_converted_through_its_profile(tmp_path):
    lab = np.uint8([255, 128, 128])  # paper white; each ink subtracts a quarter of the lightness
    nodes = [np.uint8([255 - 63 * sum(inks), *lab[1:]]) for inks in np.ndindex(2, 2, 2, 2)]
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0) + identity + ramp * 4 + np.stack(nodes).tobytes() + ramp * 3
    icc = profile(b"CMYK", {"A2B0": table, "A2B1": table}, kind=b"prtr", pcs=b"Lab ")
    cmyk = np.uint8([[[0, 0, 0, 0], [255, 0, 0, 0], [255, 255, 0, 0]]])
    picture = read(saved(tmp_path / "a.tif", Image.fromarray(cmyk, "CMYK"), icc_profile=icc))
    assert "converted to sRGB" in picture.notices[0]
    grey = picture.srgb8.astype(int)
    assert np.ptp(grey, axis=-1).max() <= 2  # by the plain formula cyan ink would be cyan
    assert grey[0, 0, 0] >= 254
    assert grey[0, 0, 0] > grey[0, 1, 0] > grey[0, 2, 0]


def test_a_16_bit_picture_with_a_profile_is_converted_at_8_bits_and_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(
        deep_png(DEEP, 6, chunk(b"iCCP", b"x\0\0" + zlib.compress(rgb_profile(curve=gamma(1.0)))))
    )
    picture = read(tmp_path / "a.png", background=(0, 0, 0))
    expected = encoded(DEEP[..., :3] / 65535) * DEEP[..., 3:] / 65535
    assert np.abs(picture.srgb8 - expected)[DEEP[..., :3].min(-1) > 2000].max() <= 2.5
    assert picture.bits == 8
    assert "16-bit samples rounded to 8 bits" in picture.notices[1]


def test_an_srgb_profile_leaves_16_bits_alone(tmp_path):
    extra = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB_PROFILE))
    (tmp_path / "a.png").write_bytes(deep_png(DEEP[..., :3], 2, extra))
    assert_deep(read(tmp_path / "a.png"), DEEP[..., :3])


@pytest.mark.parametrize(
    "icc", [b"not a profile", rgb_profile()[:200], profile(b"GRAY", {"kTRC": gamma(1.0)}), profile(b"RGB ", {})]
)
def test_a_profile_that_cannot_be_used_is_ignored_with_a_notice(tmp_path, icc):
    picture = read(saved(tmp_path / "a.png", RGB, icc_profile=icc))
    np.testing.assert_array_equal(picture.srgb8, RGB)
    (notice,) = picture.notices
    assert "embedded profile ignored (" in notice
    assert "\n" not in notice


# Profiles that are kept

GREY_PROFILE = profile(b"GRAY", {"kTRC": gamma(1.0)})


@pytest.mark.parametrize("icc", [rgb_profile("grb"), SRGB_PROFILE], ids=["another", "sRGB"])
def test_a_kept_profile_leaves_codes_as_they_are(tmp_path, icc):
    picture = read(saved(tmp_path / "a.png", RGB, icc_profile=icc), keep=("icc",))
    np.testing.assert_array_equal(picture.srgb8, RGB)
    assert (picture.icc, picture.notices) == (icc, ())
    assert read(tmp_path / "a.png").icc is None


def test_a_grey_profile_is_kept_of_a_grey_picture(tmp_path):
    picture = read(saved(tmp_path / "a.png", GREY, icc_profile=GREY_PROFILE), keep=("icc",))
    np.testing.assert_array_equal(picture.srgb8, np.stack([GREY] * 3, -1))
    assert picture.icc == GREY_PROFILE


def test_16_bits_stay_where_their_profile_is_kept(tmp_path):
    icc = rgb_profile(curve=gamma(1.0))
    (tmp_path / "a.png").write_bytes(deep_png(DEEP[..., :3], 2, chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))))
    picture = read(tmp_path / "a.png", keep=("icc",))
    assert_deep(picture, DEEP[..., :3])
    assert picture.icc == icc


@pytest.mark.parametrize(
    ("image", "icc"),
    [
        (GREY, rgb_profile(curve=gamma(1.0))),
        (np.stack([GREY] * 3, -1), rgb_profile(curve=gamma(1.0))),
        (Image.fromarray(np.dstack([GREY, ALPHA]), "LA"), GREY_PROFILE),
    ],
    ids=["grey with one for RGB", "RGB that is grey", "grey on a colour"],
)
def test_a_profile_that_suits_other_pixels_is_converted_and_not_kept(tmp_path, image, icc):
    path = saved(tmp_path / "a.png", image, icc_profile=icc)
    picture = read(path, keep=("icc",), background=(200, 0, 0))
    np.testing.assert_array_equal(picture.srgb8, read(path, background=(200, 0, 0)).srgb8)
    assert picture.icc is None
    assert "embedded profile 'By hand' converted to sRGB" in picture.notices[0]
    assert "embedded profile not kept; expected one for grey" in picture.notices[-1]


def test_a_profile_that_cannot_be_used_is_not_kept(tmp_path):
    picture = read(saved(tmp_path / "a.png", RGB, icc_profile=b"not a profile"), keep=("icc",))
    assert picture.icc is None
    (notice,) = picture.notices
    assert "embedded profile ignored (" in notice


# PIL images and arrays


def test_a_pil_image_reads_as_its_file_does(tmp_path):
    path = saved(tmp_path / "a.png", np.dstack([RGB, ALPHA]))
    with Image.open(path) as image:
        np.testing.assert_array_equal(read(image).srgb8, read(path).srgb8)
    assert read(Image.fromarray(RGB)).name == "PIL image"


@pytest.mark.parametrize(
    ("array", "codes"),
    [
        (GREY, np.stack([GREY] * 3, -1)),
        (GREY[..., None], np.stack([GREY] * 3, -1)),
        (RGB, RGB),
        (RGB[:, ::-1], RGB[:, ::-1]),
        (np.dstack([GREY, ALPHA]), over(np.stack([GREY] * 3, -1), ALPHA, (255, 255, 255))),
        (np.dstack([RGB, ALPHA]), over(RGB, ALPHA, (255, 255, 255))),
        (GREY > 99, np.stack([GREY > 99] * 3, -1) * 255),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float16), RGB),
        (np.dstack([RGB, ALPHA]) / 255, over(RGB, ALPHA, (255, 255, 255))),
        (RGB * np.uint16(257), RGB),
    ],
)
def test_arrays_of_all_kinds_are_pictures(array, codes):
    picture = read(array)
    np.testing.assert_array_equal(picture.srgb8, codes)
    assert picture.srgb.dtype == np.float32
    assert picture.srgb8.flags.c_contiguous
    assert not np.shares_memory(picture.srgb8, array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((4, 5), np.int64),
        np.zeros((4, 5), complex),
        np.full((4, 5), np.nan),
        np.full((4, 5), 1.01),
        np.full((4, 5), -0.01),
        np.array([["a"]]),
    ],
)
def test_an_array_that_is_no_picture_is_refused_by_shape_type_and_range(array):
    with pytest.raises(ImageError, match=rf"array: {array.dtype}.*; expected .*") as caught:
        read(array)
    assert str(array.shape) in str(caught.value) or "[0, 1]" in str(caught.value)


@pytest.mark.parametrize("source", [None, 3, [[0]], b"a.png", Image.new("RGB", (0, 4)), Image.new("I", (4, 3))])
def test_a_source_that_is_no_picture_is_refused(source):
    with pytest.raises(ImageError, match="; expected "):
        read(source)


# Linear light


def test_linear_light_of_8_bit_codes_is_planar_and_by_the_standard():
    linear = read(RGB).linear()
    srgb = RGB.transpose(2, 0, 1) / 255
    np.testing.assert_allclose(linear, np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4), 1e-6)
    assert linear.dtype == np.float32
    assert linear.flags.c_contiguous


def test_linear_light_of_16_bit_samples_keeps_their_precision():
    codes = np.uint16([[30000, 30001]])
    low, high = read(codes).linear()[0, 0]
    slope = 2.4 / 1.055 * ((30000 / 65535 + 0.055) / 1.055) ** 1.4 / 65535
    assert abs((high - low) / slope - 1) < 0.01


def test_importing_the_reader_does_not_import_jax():
    code = "import sys, diffquant.image; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Colours


@pytest.mark.parametrize(
    ("text", "color"),
    [("#fff", (255, 255, 255)), ("#0aC81e", (10, 200, 30)), ("RebeccaPurple", (102, 51, 153)), (" white ", (255,) * 3)],
)
def test_colours_are_parsed(text, color):
    assert parse_color(text) == color


@pytest.mark.parametrize("text", ["", "#ff", "#ffff", "#ffffff80", "nocolor", "rgb(1,2,3)", "transparent", "white\n#"])
def test_other_colours_are_refused_in_one_line(text):
    with pytest.raises(ValueError, match="expected '#rgb', '#rrggbb' or a CSS name") as caught:
        parse_color(text)
    assert "\n" not in str(caught.value)


# What cannot be read


def encoding(file_format, **options):
    stream = io.BytesIO()
    Image.fromarray(RGB).convert("P" if file_format == "GIF" else "RGB").save(stream, file_format, **options)
    return stream.getvalue()


PNG = encoding("PNG")
BAD = {
    "an empty file": (b"", "empty file"),
    "text": ("Grüße\n".encode() * 200, "text"),
    "an unknown format": (b"\0\1\2\3" * 9, "unknown format"),
    "a HEIC": (b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
    "a bare signature": (PNG[:8], "PNG"),
    "a wrong checksum": (PNG[:-20] + bytes([PNG[-20] ^ 1]) + PNG[-19:], "PNG"),
    "a PNG without its end mark": (PNG[:-12], "PNG"),
    "a PNG of impossible type": (png([bytes(21)], size=(7, 1), bits=8, color_type=5), "PNG"),
    "a bomb": (
        png([b""], size=(60000, 60000), bits=8, color_type=2),
        "60000 x 60000 pixels; expected at most 268 mega",
    ),
    "a large but small enough header": (png([b""], size=(14000, 14000), bits=1, color_type=0), "truncated"),
    "a float TIFF": (None, "unknown pixel mode"),
    **{
        f"half a {name}": (data[: len(data) // 2], name)
        for name in ("PNG", "JPEG", "WebP", "GIF", "BMP", "TIFF")
        for data in (encoding(name),)
    },
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_it(tmp_path, case):
    path = tmp_path / "photo.png"
    data, found = BAD[case]
    if data is None:
        tifffile.imwrite(path, np.zeros((5, 7, 3), np.float32), photometric="rgb")
    else:
        path.write_bytes(data)
    with pytest.raises(ImageError, match="; expected ") as caught:
        read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert found in line
    assert "\n" not in line


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WebP", "GIF", "BMP"])
def test_a_file_cut_anywhere_is_refused_or_read_whole(tmp_path, file_format):
    data, path = encoding(file_format), tmp_path / "cut"
    path.write_bytes(data)
    whole = read(path).srgb8
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with contextlib.suppress(ImageError):
            np.testing.assert_array_equal(read(path).srgb8, whole)


@hypothesis.given(st.sampled_from(["PNG", "JPEG", "WebP", "GIF", "BMP"]), st.data())
@hypothesis.settings(max_examples=100, deadline=None)
def test_damage_of_any_kind_gives_a_picture_or_an_image_error(tmp_path_factory, file_format, data):
    content, path = bytearray(encoding(file_format)), tmp_path_factory.getbasetemp() / "damaged"
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(ImageError):
        patch.setattr(diffquant.decoding, "MAX_PIXELS", 10**6)
        assert read(path).srgb8.shape[-1] == 3


@pytest.mark.parametrize("error", [SyntaxError("odd"), struct.error("a\nb"), IndexError(), RuntimeError("x")])
def test_whatever_a_decoder_raises_is_an_image_error(tmp_path, monkeypatch, error):
    def fail(stream):
        raise error

    monkeypatch.setitem(diffquant.decoding.OPENERS, "PNG", fail)
    with pytest.raises(ImageError, match="; expected a whole image") as caught:
        read(saved(tmp_path / "a.png", RGB))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupts_and_lack_of_memory_are_not_disguised(tmp_path, monkeypatch, error):
    def fail(stream):
        raise error

    monkeypatch.setitem(diffquant.decoding.OPENERS, "PNG", fail)
    with pytest.raises(error):
        read(saved(tmp_path / "a.png", RGB))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("missing.png", "no such file"),
        ("", "a directory"),
        ("nul\0.png", "not a path"),
        ("new\nline.png", "no such file"),
    ],
)
def test_a_path_without_a_file_is_refused_in_one_line(tmp_path, name, found):
    with pytest.raises(ImageError, match=found) as caught:
        read(os.path.join(tmp_path, name))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(tmp_path):
    path = saved(tmp_path / "a.png", RGB)
    path.chmod(0)
    with pytest.raises(ImageError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read(path)


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "gif", "bmp"])
def test_pillows_own_limit_is_not_in_force(tmp_path, monkeypatch, extension):
    path = saved(tmp_path / f"a.{extension}", RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)  # `Image.open` would warn
    assert read(path).srgb8.shape == RGB.shape
