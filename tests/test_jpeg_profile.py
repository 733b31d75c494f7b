"""Oracles: LittleCMS; the ICC's own sRGB profiles; SciPy for tables between their nodes and for cosines."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from PIL import Image, ImageCms
from PIL.ImageCms import Flags, Intent
from scipy.interpolate import RegularGridInterpolator

from diffquant.image import read
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.profile import LARGEST, profile

PARROTS = Path(__file__).parent / "images" / "parrots.png"
OFFSET = np.array([0, 128, 128])
BT601 = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
YCOCG = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
NEAR = [BT601 @ (np.eye(3) + np.random.default_rng(seed).uniform(-0.1, 0.1, (3, 3))) for seed in range(3)]
each_matrix = pytest.mark.parametrize("matrix", [BT601, YCOCG, *NEAR], ids=["BT.601", "YCoCg", *("near",) * 3])
BLACK_POINT = Flags.BLACKPOINTCOMPENSATION
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
# X, Y, Z of red, green and blue, and the adaptation from D65: from the sRGB profiles of the ICC
PRIMARIES = np.array([(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)])
ADAPTATION = [(1.047882, 0.022918, -0.050217), (0.029587, 0.990479, -0.017059), (-0.009247, 0.015076, 0.751678)]


def random_codes(seed, shape=(60, 90)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def components(matrix, rgb):
    """Codes of the components of sRGB codes, and which of the colours have some within 0 to 255."""
    whole = np.rint(rgb @ matrix.T + OFFSET)
    return whole.clip(0, 255).astype(np.uint8), ((whole >= 0) & (whole <= 255)).all(axis=-1)


def stood_for(matrix, codes):
    """sRGB codes, not rounded."""
    return np.clip((codes - OFFSET) @ np.linalg.inv(matrix).T, 0, 255)


def shown(icc, codes, intent=Intent.RELATIVE_COLORIMETRIC, flags=Flags.NONE):
    """By LittleCMS, without the table of 33 nodes a side by which it would approximate."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    transform = ImageCms.buildTransform(source, SRGB, "RGB", "RGB", intent, flags | Flags.NOOPTIMIZE)
    return np.asarray(ImageCms.applyTransform(Image.fromarray(codes), transform)).astype(int)


def tags(icc):
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * n) for n in range(count)]
    assert all(start % 4 == 0 and start + size <= len(icc) for _, start, size in entries)
    return {name: icc[start : start + size] for name, start, size in entries}


def fixed(data, at, count):
    return np.frombuffer(data, ">i4", count, at) / 65536


def parts(icc):
    """Matrix, M curves, table, and where the table ends: of the transform, whose other curves do nothing."""
    data = tags(icc)[b"A2B0"]
    assert data[:12] == b"mAB \0\0\0\0\3\3\0\0"
    at_b, at_matrix, at_m, at_table, at_a = struct.unpack_from(">5I", data, 12)
    for at in (at_a, at_b):
        assert data[at : at + 36] == 3 * (b"curv" + bytes(8))
    curves = []
    for at in range(at_m, at_m + 120, 40):
        assert data[at : at + 12] == b"para\0\0\0\0\0\4\0\0"
        curves.append(fixed(data, at + 12, 7))
    assert data[at_table : at_table + 20] == bytes([2, 2, 2, *13 * [0], 2, 0, 0, 0])
    nodes = np.frombuffer(data, ">u2", 24, at_table + 20).reshape(2, 2, 2, 3) / 65535
    assert not fixed(data, at_matrix + 36, 3).any()
    return fixed(data, at_matrix, 9).reshape(3, 3), curves, nodes, at_table + 20 + 48


@each_matrix
def test_colours_come_back_from_their_components(matrix):
    rgb = random_codes(0)
    codes, within = components(matrix, rgb)
    assert within.mean() > 0.95
    error = np.abs(shown(profile(np.linalg.inv(matrix)), codes) - rgb)[within]
    assert error.max() <= 1
    assert error.mean() < 0.5


@pytest.mark.parametrize("flags", [Flags.NONE, BLACK_POINT], ids=["", "black point"])
@pytest.mark.parametrize("intent", [Intent.RELATIVE_COLORIMETRIC, Intent.ABSOLUTE_COLORIMETRIC], ids=lambda i: i.name)
@each_matrix
def test_any_components_are_shown_as_the_nearest_colours_clipped(matrix, intent, flags):
    codes = random_codes(1)
    expected = stood_for(matrix, codes)
    assert {expected.min(), expected.max()} == {0, 255}
    found = shown(profile(np.linalg.inv(matrix)), codes, intent, flags)
    assert np.abs(found - np.rint(expected)).mean() < 0.01
    assert np.abs(found - expected).max() < 0.9


def test_the_largest_entries_leave_the_table_fine_enough():
    steep = LARGEST * np.array([[1.0, -1, 1], [-1, 1, 1], [1, 1, -1]])
    assert 255 * 3 * LARGEST / 65535 < 0.1  # of a code: its steps
    codes, within = components(np.linalg.inv(steep), random_codes(2))
    assert within.all()
    assert np.abs(shown(profile(steep), codes) - stood_for(np.linalg.inv(steep), codes)).max() < 0.7


def test_the_perceptual_intent_shows_darks_up_to_12_codes_darker():
    grey = np.broadcast_to(np.arange(256)[:, None, None], (256, 2, 3))
    codes, _ = components(BT601, grey)
    found = shown(profile(np.linalg.inv(BT601)), codes, Intent.PERCEPTUAL)
    darker = grey - found
    assert 11 <= darker.max() <= 12
    assert darker.min() >= -1
    assert np.abs(darker[100:]).max() <= 1


@each_matrix
def test_a_reader_that_clips_at_every_step_finds_the_colours(matrix):
    """As the ICC has it: tables and curves go from [0, 1] to [0, 1]."""
    codes = random_codes(3, (50, 30))
    to_xyz, curves, nodes, _ = parts(profile(np.linalg.inv(matrix)))
    values = RegularGridInterpolator(((0, 1),) * 3, nodes)(codes / 255)
    light = np.empty(values.shape)
    for n, (gamma, a, b, c, d, e, f) in enumerate(curves):
        x = values[..., n]
        light[..., n] = np.where(x >= d, np.maximum(a * x + b, 0) ** gamma + e, c * x + f).clip(0, 1)
    xyz = (light @ to_xyz.T).clip(0, 1) * (65535 / 32768)
    srgb = stood_for(matrix, codes) / 255
    expected = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) @ PRIMARIES
    np.testing.assert_allclose(xyz, expected, atol=2e-4)


def test_white_is_that_of_the_connection_space_and_adapted_from_d65():
    icc = profile(np.linalg.inv(BT601))
    to_xyz, *_ = parts(icc)
    white = fixed(tags(icc)[b"wtpt"], 8, 3)
    np.testing.assert_allclose(white, [0.9642, 1, 0.8249], atol=1e-5)
    np.testing.assert_allclose(to_xyz.sum(axis=1) * (65535 / 32768), white, atol=1e-4)
    np.testing.assert_allclose(fixed(tags(icc)[b"chad"], 8, 9).reshape(3, 3), ADAPTATION, atol=1e-3)


def test_the_file_is_small_whole_and_the_same_each_time():
    icc = profile(np.linalg.inv(BT601))
    assert len(icc) == 644
    assert struct.unpack_from(">I", icc)[0] == len(icc)
    assert profile(np.linalg.inv(BT601)) == icc
    assert profile(np.linalg.inv(YCOCG)) != icc
    assert set(tags(icc)) == {b"desc", b"cprt", b"wtpt", b"chad", b"A2B0"}  # what ICC.1:2022, 8.3.2 asks for
    *_, end = parts(icc)
    assert end + 2 <= len(tags(icc)[b"A2B0"])  # skcms reads as far
    opened = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    assert opened.profile.version == pytest.approx(4.2)
    assert (opened.profile.device_class, opened.profile.xcolor_space) == ("scnr", "RGB ")
    assert opened.profile.connection_space == "XYZ "
    assert opened.profile.rendering_intent == Intent.RELATIVE_COLORIMETRIC
    assert ImageCms.getProfileDescription(opened).strip() == "diffquant"
    assert ImageCms.getProfileCopyright(opened).strip() == "CC0"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1.01 * LARGEST, -1.01 * LARGEST])
def test_entries_that_no_profile_could_hold_are_refused(wrong):
    matrix = np.eye(3)
    matrix[1, 2] = wrong
    with pytest.raises(ValueError, match=r"rgb_from_components: found \[\[1\.0, .*expected -8 to 8"):
        profile(matrix)


@each_matrix
def test_a_jpeg_of_such_components_is_read_as_the_picture_it_holds(matrix, tmp_path):
    """Components as the file has them, cosines by SciPy: nothing here is Y, Cb, Cr but by the matrix."""
    pixels = np.asarray(Image.open(PARROTS).convert("RGB"))[100:172, 60:164]
    samples = np.moveaxis(pixels @ matrix.T + OFFSET - 128, 2, 0)
    blocks = samples.reshape(3, 9, 8, 13, 8).swapaxes(2, 3)
    levels = np.rint(scipy.fft.dctn(blocks, axes=(3, 4), norm="ortho") / 2).astype(np.int16)
    tables = (np.full((8, 8), 2, np.uint16),) * 3
    icc = profile(np.linalg.inv(matrix))
    image = JpegImage(tuple(levels), tables, Geometry(72, 104, "444"), icc=icc, adobe=0)
    (tmp_path / "a.jpg").write_bytes(image.to_bytes())
    picture = read(tmp_path / "a.jpg")
    assert picture.notices == (f"{tmp_path / 'a.jpg'}: embedded profile 'diffquant' converted to sRGB",)

    def psnr(found):
        return 10 * np.log10(255**2 / np.mean((found.astype(float) - pixels) ** 2))

    assert psnr(picture.srgb8) > 40
    assert psnr(image.decode()) < 20  # by a viewer that knows no profiles
