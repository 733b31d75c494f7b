"""The decoder against libjpeg's own pictures of real files, and against the same steps without rounding in SciPy."""

import io
import pathlib

import jax
import jax.numpy as jnp
import jpeglib
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
from PIL import Image

from diffquant.color import linear_from_srgb, linear_from_srgb8
from diffquant.jpeg.blocks import DCT, blocks_from_plane, dct, inverse_dct, plane_from_blocks
from diffquant.jpeg.decoder import INVERSE, RGB_FROM_YCBCR, decode, linear_light
from diffquant.jpeg.encoder import YCBCR_FROM_RGB, coefficients_from_pixels
from diffquant.jpeg.geometry import SUBSAMPLINGS, Geometry
from diffquant.jpeg.sampling import downsample, upsample

PARROTS = np.asarray(Image.open(pathlib.Path(__file__).parent / "images" / "parrots.png").convert("RGB"))
JFIF = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])
RATIOS = {"444": "4:4:4", "422": "4:2:2", "420": "4:2:0"}
each_subsampling = pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
decoded = jax.jit(decode, static_argnums=1)
upsampled = jax.jit(upsample, static_argnums=(1, 2))
total_slope = jax.jit(
    jax.grad(lambda coefficients, geometry: jnp.sum(decode(coefficients, geometry))), static_argnums=1
)


def noise(shape, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def crop(h, w):
    return PARROTS[100 : 100 + h, 200 : 200 + w]


def garish(h, w):
    """Noise of full strength on stripes of full strength: most samples are clipped on their way."""
    stripes = 255 * (np.indices((h, w)).sum(0) // 3 % 2)[..., None] * np.array([1, 0, 1])
    return np.clip(stripes + noise((h, w, 3), scale=90), 0, 255).astype(np.uint8)


def written(pixels, folder, **options):
    """A file by Pillow: the coefficients in it, and the picture that Pillow makes of it."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", **options)
    path = folder / "picture.jpg"
    path.write_bytes(data.getvalue())
    coded = jpeglib.read_dct(str(path))
    levels = [coded.Y] if pixels.ndim == 2 else [coded.Y, coded.Cb, coded.Cr]
    tables = [coded.qt[number].astype(int) for number in coded.quant_tbl_no]
    coefficients = [(level * table).astype(np.float32) for level, table in zip(levels, tables, strict=True)]
    return coefficients, np.asarray(Image.open(data).convert("RGB"))


def difference(coefficients, picture, subsampling):
    codes = decoded(coefficients, Geometry(*picture.shape[:2], subsampling, len(coefficients)))
    return np.abs(np.moveaxis(np.asarray(codes), 0, 2) - picture)


def smooth(coefficients, geometry, matrix=JFIF):
    """Decoding without rounding or clipping, in float64."""
    planes = []
    for blocks, (rows, columns) in zip(coefficients, geometry.planes, strict=True):
        samples = scipy.fft.idctn(np.asarray(blocks, float), axes=(2, 3), norm="ortho") + 128
        samples = samples.transpose(0, 2, 1, 3).reshape(8 * len(samples), -1)[:rows, :columns]
        planes.append(interpolated(samples, geometry.factors) if planes else samples)
    planes = np.stack([plane[: geometry.height, : geometry.width] for plane in planes])
    return np.tensordot(matrix, planes - np.array([0, 128, 128]).reshape(3, 1, 1), 1)


def interpolated(plane, factors):
    """Linearly between samples in the middle of what they cover."""
    if plane.shape[1] < 3:
        return plane.repeat(factors[0], 0).repeat(factors[1], 1)
    return scipy.ndimage.zoom(plane.astype(float), factors, order=1, mode="nearest", grid_mode=True)


def test_blocks_hold_the_samples_of_their_square():
    plane = noise((24, 40))
    blocks = blocks_from_plane(plane)
    assert blocks.shape == (3, 5, 8, 8)
    np.testing.assert_array_equal(blocks[1, 3], plane[8:16, 24:32])
    np.testing.assert_array_equal(plane_from_blocks(blocks), plane)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_the_transform_of_blocks_is_scipys_and_has_its_inverse(array):
    blocks = noise((3, 5, 8, 8), scale=40)
    expected = scipy.fft.dctn(blocks.astype(float), axes=(2, 3), norm="ortho")
    coefficients = dct(array(blocks))
    assert type(coefficients) is type(array(blocks))
    np.testing.assert_allclose(coefficients, expected, atol=1e-4)
    np.testing.assert_allclose(inverse_dct(coefficients), blocks, atol=1e-4)


def test_libjpegs_constants_are_the_cosines_but_for_the_last_of_13_bits():
    assert np.abs(INVERSE - 8**0.5 * DCT).max() * 2**13 < 1.5


@pytest.mark.parametrize("factors", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 8), (6, 7), (7, 9)])
def test_samples_are_means_and_the_last_pixel_counts_for_those_beyond(shape, factors):
    (h, w), (down, across) = shape, factors
    plane = noise(shape)
    expected = [
        [
            np.mean([plane[min(y + i, h - 1), min(x + j, w - 1)] for i, j in np.ndindex(factors)])
            for x in range(0, w, across)
        ]
        for y in range(0, h, down)
    ]
    np.testing.assert_allclose(downsample(plane, factors), expected, atol=1e-6)
    np.testing.assert_allclose(downsample(jnp.asarray(plane), factors), expected, atol=1e-6)


@pytest.mark.parametrize("factors", [(1, 1), (1, 2), (2, 2)])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 2), (5, 3), (6, 37)])
def test_pixels_are_interpolated_samples_rounded_and_have_the_slope_of_those_not_rounded(shape, factors):
    samples = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    most = np.multiply(shape, factors)
    h, w = np.maximum(most - 1, 1)  # the last pixels are cut off
    pixels, pull = jax.vjp(jax.jit(lambda plane: upsample(plane, factors, (int(h), int(w)))), jnp.asarray(samples))
    weights = noise((h, w))
    np.testing.assert_array_equal(pixels, np.rint(pixels))
    assert np.abs(pixels - interpolated(samples, factors)[:h, :w]).max() <= 0.5
    for move in noise((3, *shape)):
        moved = np.vdot(weights, interpolated(move, factors)[:h, :w])
        assert np.vdot(pull(jnp.asarray(weights))[0], move) == pytest.approx(moved, abs=1e-3)


def test_halves_are_rounded_up_and_down_in_turn():
    samples = jnp.array([[10.0, 12.0, 14.0, 9.0]])  # quarters: 10, 10.5, 11.5, 12.5, 13.5, 12.75, 10.25, 9
    of_row = upsampled(samples, (1, 2), (1, 8))
    np.testing.assert_array_equal(of_row, [[10, 11, 11, 13, 13, 13, 10, 9]])
    of_both = upsampled(samples, (2, 2), (1, 8))
    np.testing.assert_array_equal(of_both, [[10, 10, 12, 12, 14, 13, 10, 9]])


def test_other_factors_are_refused():
    with pytest.raises(ValueError, match=r"factors: found \(2, 1\), expected \(1, 1\), \(1, 2\) or \(2, 2\)"):
        upsample(jnp.zeros((3, 5)), (2, 1), (6, 5))


@each_subsampling
def test_a_photograph_is_decoded_as_libjpeg_does_but_for_one_pixel_in_twenty_thousand(subsampling, tmp_path):
    for quality in (30, 60, 90):
        found = difference(*written(PARROTS, tmp_path, quality=quality, subsampling=RATIOS[subsampling]), subsampling)
        assert found.max() <= 2
        assert (found > 0).any(axis=2).mean() < 1 / 20_000
        assert 10 * np.log10(255**2 / max(np.mean(found**2), 1e-12)) > 90


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 5), (15, 17), (33, 4)])
def test_pictures_of_any_size_are_decoded_as_libjpeg_does(size, tmp_path):
    for subsampling in ("422", "420"):
        for pixels, quality in [(crop(*size), 60), (garish(*size), 90)]:
            file = written(pixels, tmp_path, quality=quality, subsampling=RATIOS[subsampling])
            assert difference(*file, subsampling).max() <= 1
            assert (difference(*file, subsampling) > 0).mean() < 0.002


@each_subsampling
def test_clipped_samples_and_colours_are_decoded_as_libjpeg_does(subsampling, tmp_path):
    file = written(garish(40, 56), tmp_path, quality=20, subsampling=RATIOS[subsampling])
    found = difference(*file, subsampling)
    assert found.max() <= 2
    assert (found > 0).mean() < 0.001


def test_grey_pictures_are_decoded_as_libjpeg_does(tmp_path):
    coefficients, picture = written(crop(21, 35)[..., 1], tmp_path, quality=70)
    assert len(coefficients) == 1
    assert difference(coefficients, picture, "420").max() == 0


@each_subsampling
def test_the_slope_is_that_of_the_steps_without_rounding(subsampling):
    geometry = Geometry(21, 35, subsampling)
    calm = coefficients_from_pixels(64 + crop(21, 35) // 2, geometry)  # nothing is clipped
    weights = noise((3, 21, 35))
    slopes = jax.jit(jax.grad(lambda c: jnp.vdot(weights, decode(c, geometry))))(calm)
    moves = [noise(blocks.shape, seed) for seed, blocks in enumerate(calm)]
    moved = smooth([a + b for a, b in zip(calm, moves, strict=True)], geometry) - smooth(calm, geometry)
    assert sum(map(np.vdot, slopes, moves)) == pytest.approx(np.vdot(weights, moved), rel=1e-3, abs=0.1)


def test_clipped_samples_have_no_slope_and_those_at_the_limits_have_one():
    geometry = Geometry(8, 48, components=1)
    samples = np.float32([-30, -0.6, 0.2, 254.8, 255.6, 300])  # one in each block
    coefficients = [jnp.zeros((1, 6, 8, 8)).at[0, :, 0, 0].set(8 * (samples - 128))]
    slopes = total_slope(coefficients, geometry)[0]
    np.testing.assert_array_equal(decoded(coefficients, geometry)[0, 0, ::8], [0, 0, 0, 255, 255, 255])
    np.testing.assert_allclose(slopes[0, :, 0, 0], [0, 0, 24, 24, 0, 0], atol=1e-5)


def test_clipped_colours_have_no_slope():
    geometry = Geometry(8, 16, "444")
    flat = [
        jnp.zeros((1, 2, 8, 8)).at[0, :, 0, 0].set(8 * jnp.array(dc)) for dc in ((90.0, 0.0), (0.0, 0.0), (70.0, 0.0))
    ]
    codes = decoded(flat, geometry)
    np.testing.assert_array_equal(codes[:, 0, 0], [255, 168, 218])  # red would be 218 + 98, green 218 - 50
    slopes = total_slope(flat, geometry)
    np.testing.assert_allclose(slopes[0][0, :, 0, 0], [16, 24], atol=1e-4)
    np.testing.assert_allclose(slopes[2][0, :, 0, 0], [8 * -0.714136, 8 * (1.402 - 0.714136)], atol=1e-3)


def test_colours_and_slopes_follow_the_matrix():
    geometry = Geometry(21, 35, "444")
    matrix = np.array([[1, 0.1, 0.9], [1.1, -0.3, -0.4], [0.9, 1.2, 0.2]])
    calm = coefficients_from_pixels(64 + crop(21, 35) // 2, geometry)
    assert np.abs(decoded(calm, geometry, matrix) - smooth(calm, geometry, matrix)).max() < 2
    weights = noise((3, 21, 35))
    slopes = jax.jit(jax.grad(lambda m: jnp.vdot(weights, decode(calm, geometry, m))))(jnp.asarray(matrix))
    expected = [[np.vdot(row, plane) for plane in smooth(calm, geometry, np.eye(3))] for row in weights]
    np.testing.assert_allclose(slopes, expected, atol=60)


@each_subsampling
def test_coefficients_are_libjpegs_but_for_its_rounding_of_samples(subsampling, tmp_path):
    for size in ((40, 56), (21, 35), (1, 9)):
        coded, _ = written(crop(*size), tmp_path, qtables=[[1] * 64] * 2, subsampling=RATIOS[subsampling])
        found = coefficients_from_pixels(crop(*size), Geometry(*size, subsampling))
        for ours, theirs in zip(found, coded, strict=True):
            assert (ours.dtype, ours.shape) == (np.float32, theirs.shape)
            errors = scipy.fft.idctn(ours - theirs, axes=(2, 3), norm="ortho")  # of samples, and of levels' rounding
            assert np.abs(errors).max() < 2
            assert errors.std() < 0.55


@each_subsampling
def test_what_is_not_quantized_is_decoded_almost_as_it_was(subsampling):
    for size in ((40, 56), (21, 35)):
        flat = np.clip(scipy.ndimage.gaussian_filter(crop(*size), (5, 5, 0)), 5, 250)
        geometry = Geometry(*size, subsampling)
        codes = np.moveaxis(np.asarray(decoded(coefficients_from_pixels(flat, geometry), geometry)), 0, 2)
        assert np.abs(codes - flat.astype(float)).max() <= (2 if subsampling == "444" else 6)


def test_a_grey_pictures_coefficients_are_its_lumas():
    grey = coefficients_from_pixels(crop(21, 35), Geometry(21, 35, components=1))
    luma, *_ = coefficients_from_pixels(crop(21, 35), Geometry(21, 35))
    assert len(grey) == 1
    np.testing.assert_allclose(grey[0], luma, atol=1e-4)
    codes = np.asarray(decoded(grey, Geometry(21, 35, components=1)))
    assert np.abs(codes[0] - crop(21, 35) @ [0.299, 0.587, 0.114]).max() < 0.6  # half, and what libjpeg rounds before
    np.testing.assert_array_equal(codes[1], codes[0])
    np.testing.assert_array_equal(codes[2], codes[0])


def test_coefficients_of_float_codes_and_of_other_components():
    geometry, matrix = Geometry(16, 24, "444"), np.diag([1.0, 0.5, -1.0])
    pixels = crop(16, 24) + 0.25
    red, green, blue = coefficients_from_pixels(pixels, geometry, matrix)
    for found, samples in [(red, pixels[..., 0] - 128), (green, pixels[..., 1] / 2), (blue, -pixels[..., 2])]:
        expected = scipy.fft.dctn(blocks_from_plane(samples), axes=(2, 3), norm="ortho")
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_the_two_matrices_are_each_others_inverse():
    np.testing.assert_allclose(RGB_FROM_YCBCR @ YCBCR_FROM_RGB, np.eye(3), atol=2e-5)
    np.testing.assert_allclose(YCBCR_FROM_RGB, np.linalg.inv(JFIF), atol=2e-6)


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match=r"pixels: found \(21, 35, 3\), expected \(35, 21, 3\)"):
        coefficients_from_pixels(crop(21, 35), Geometry(35, 21))
    with pytest.raises(ValueError, match=r"coefficients: found \(\(1, 2\),\) blocks, expected \(\(2, 1\),\)"):
        decode([jnp.zeros((1, 2, 8, 8))], Geometry(16, 8, components=1))


def test_linear_light_of_codes_is_that_of_files_with_the_curves_slope():
    codes = np.arange(256).reshape(16, 16)[:, :12]
    planar = jnp.asarray(np.stack([codes, codes[::-1], 255 - codes]), jnp.float32)
    light, pull = jax.vjp(linear_light, planar)
    np.testing.assert_array_equal(light, linear_from_srgb8(np.asarray(planar, np.uint8)))
    _, expected = jax.vjp(lambda x: linear_from_srgb(x / 255), planar)
    weights = jnp.asarray(noise(planar.shape))
    np.testing.assert_allclose(pull(weights)[0], expected(weights)[0], rtol=1e-5, atol=1e-7)
