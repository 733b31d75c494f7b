import json
import math
from pathlib import Path

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics
from PIL import Image

from diffquant import metrics
from diffquant.color import LINEAR_OF_CODE, oklab_from_linear
from diffquant.metrics.convolution import filtered, gains_of, gaussian_taps

GOLDEN = (
    Path(__file__).parent / "golden"
)  # scikit-image, SciPy and the papers' formulas in float64; see its definitions
PAIRS = json.loads((GOLDEN / "golden.json").read_text())["pairs"]
RELATIVE, ABSOLUTE = "rel", "abs"
TOLERANCES = {
    "psnr": {ABSOLUTE: 1e-6},
    "ssim": {ABSOLUTE: 1e-5},
    "ms_ssim": {ABSOLUTE: 1e-5},
    "ssimulacra2": {ABSOLUTE: 0.25},  # libjxl's rounding; test_ssimulacra2.py has a finer oracle
    "oklab_mse": {RELATIVE: 1e-6},
    "oklab_mse_blur": {RELATIVE: 1e-5},
    "scielab": {RELATIVE: 1e-4},
    "flip": {RELATIVE: 3e-5},
    "butteraugli_3norm": {RELATIVE: 1e-4},
}
ALL = sorted(metrics.METRICS)
ERRORS = ("oklab_mse", "oklab_mse_blur", "scielab", "flip", "butteraugli_3norm")
IDENTICAL = {"psnr": math.inf, "ssim": 1, "ms_ssim": 1, "ssimulacra2": 100, **dict.fromkeys(ERRORS, 0)}
INSTANT = [name for name in ALL if name != "butteraugli_3norm"]  # that one compiles for each size: tested elsewhere
SYMMETRIC = [name for name in INSTANT if name != "ssimulacra2"]  # that one halves from the top left, and has sides
LEAST_SIDE = {"ms_ssim": 176, "ssimulacra2": 8}


def read(name):
    return np.asarray(Image.open(GOLDEN / name).convert("RGB"))


def noise(seed, h, w):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def alike(seed, h, w):
    """A smooth picture and the same with noise."""
    reference = scipy.ndimage.gaussian_filter(noise(seed, h, w).astype(float), (3, 3, 0)) * 3 - 256
    decoded = reference + np.random.default_rng(seed + 1).normal(0, 9, reference.shape)
    return tuple(np.clip(np.rint(x), 0, 255).astype(np.uint8) for x in (reference, decoded))


@st.composite
def pairs(draw):
    shape = (draw(st.integers(1, 19)), draw(st.integers(1, 19)), 3)
    picture = hypothesis.extra.numpy.arrays(np.uint8, shape)
    return draw(picture), draw(picture)


def direct_similarity(x, y):
    """The paper's SSIM and contrast-structure maps, float64, one plane, by SciPy's direct filter."""

    def blur(plane):
        return scipy.ndimage.gaussian_filter(plane, 1.5, truncate=3.5)

    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    contrast = (2 * cov + 58.5225) / (var_x + var_y + 58.5225)
    return (2 * mean_x * mean_y + 6.5025) / (mean_x**2 + mean_y**2 + 6.5025) * contrast, contrast


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_metrics_match_their_golden_values(pair, name):
    value = metrics.METRICS[name].function(read(pair["ref"]), read(pair["dis"]))
    assert value == pytest.approx(float(pair["values"][name]), **TOLERANCES[name])


@pytest.mark.parametrize("name", ALL)
def test_identical_pictures_have_the_exact_best_value(name):
    picture = noise(0, 176, 179)
    assert metrics.METRICS[name].function(picture, picture.copy()) == IDENTICAL[name]


@pytest.mark.parametrize(("h", "w"), [(11, 12), (31, 17), (64, 90)])
def test_ssim_matches_scikit_image(h, w):
    reference, decoded = alike(h, h, w)
    expected = skimage.metrics.structural_similarity(
        reference,
        decoded,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert metrics.ssim(reference, decoded) == pytest.approx(expected, abs=2e-5)


def test_ssim_of_a_small_picture_mirrors_it_along_its_short_axis():
    reference, decoded = alike(3, 7, 15)
    planes = zip(np.moveaxis(reference, 2, 0), np.moveaxis(decoded, 2, 0), strict=True)
    maps = [direct_similarity(x.astype(float), y.astype(float))[0] for x, y in planes]
    assert metrics.ssim(reference, decoded) == pytest.approx(np.mean(np.array(maps)[:, :, 5:-5]), abs=2e-5)


def test_ms_ssim_drops_odd_rows_and_columns():
    reference, decoded = alike(4, 179, 193)
    luma = [picture @ np.array([0.299, 0.587, 0.114]) for picture in (reference, decoded)]
    expected = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        similarity, contrast = (m[5:-5, 5:-5].mean() for m in direct_similarity(*luma))
        expected *= (similarity if scale == 4 else contrast) ** weight
        h, w = (n // 2 for n in luma[0].shape)
        luma = [x[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean(axis=(1, 3)) for x in luma]
    assert metrics.ms_ssim(reference, decoded) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_needs_176_pixels_a_side():
    assert math.isnan(metrics.ms_ssim(noise(0, 175, 300), noise(1, 175, 300)))
    assert 0 <= metrics.ms_ssim(noise(0, 176, 300), noise(1, 176, 300)) <= 1


def test_ms_ssim_of_a_negative_is_zero():
    picture = noise(0, 176, 180)
    assert metrics.ms_ssim(picture, 255 - picture) == 0


@pytest.mark.parametrize(("h", "w"), [(5, 3), (23, 40)])
def test_blurred_oklab_error_matches_scipys_filter(h, w):
    reference, decoded = noise(0, h, w), noise(1, h, w)
    seen = [scipy.ndimage.gaussian_filter(LINEAR_OF_CODE[p], (1.5, 1.5, 0)) for p in (reference, decoded)]
    lab = [oklab_from_linear(np.moveaxis(picture, 2, 0)) for picture in seen]
    expected = ((lab[0] - lab[1]) ** 2).sum(axis=0).mean()
    assert metrics.oklab_mse_blur(reference, decoded) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (4, 7), (37, 70)])
def test_scielab_matches_a_direct_convolution_with_its_kernels(h, w):
    """Oracle: float64, two-dimensional 59x59 kernels as in the golden file's definition, scipy.ndimage."""
    kernels = [
        [(0.921, 0.0283), (0.105, 0.133), (-0.108, 4.336)],
        [(0.531, 0.0392), (0.330, 0.494)],
        [(0.488, 0.0536), (0.371, 0.386)],
    ]
    radius_squared = np.add.outer(np.arange(-29, 30) ** 2, np.arange(-29, 30) ** 2) / 60**2
    xyz_from_linear = np.array(
        [
            [0.41239080, 0.35758434, 0.18048079],
            [0.21263901, 0.71516868, 0.07219232],
            [0.01933082, 0.11919478, 0.95053215],
        ]
    )
    opponent_from_xyz = np.array([[0.279, 0.72, -0.107], [-0.449, 0.29, -0.077], [0.086, -0.59, 0.501]])

    def lab(picture):
        opponent = opponent_from_xyz @ xyz_from_linear @ LINEAR_OF_CODE[picture].reshape(-1, 3).T
        planes = []
        for plane, gaussians in zip(opponent.reshape(3, h, w), kernels, strict=True):
            gaussians = [(weight, np.exp(-radius_squared / spread**2)) for weight, spread in gaussians]
            kernel = sum(weight * taps / taps.sum() for weight, taps in gaussians)
            kernel /= sum(weight for weight, _ in gaussians)
            padded = np.pad(plane, 29, mode="symmetric")  # SciPy's own border is wrong for kernels far wider than h, w
            planes.append(scipy.ndimage.convolve(padded, kernel)[29:-29, 29:-29].ravel())
        xyz = np.linalg.solve(opponent_from_xyz, np.array(planes)) / xyz_from_linear.sum(axis=1)[:, None]
        x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    reference, decoded = alike(5, h, w)
    expected = np.sqrt(((lab(reference) - lab(decoded)) ** 2).sum(axis=0)).mean()
    assert metrics.scielab(reference, decoded) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (1, 6), (3, 2), (13, 40)])
def test_the_cosine_filter_is_a_convolution_with_mirrored_borders(h, w):
    plane = np.random.default_rng(0).normal(size=(h, w))
    taps = gaussian_taps(2.0, radius=8)
    expected = scipy.ndimage.gaussian_filter(plane, 2.0)
    np.testing.assert_allclose(filtered(plane, gains_of(taps, h, w)), expected, rtol=0, atol=1e-12)


@hypothesis.given(pairs())
@hypothesis.settings(max_examples=40, deadline=None)
def test_metrics_are_symmetric_and_blind_to_mirroring_and_transposition(pair):
    reference, decoded = pair
    there = metrics.measure(reference, decoded, SYMMETRIC)
    for other in (
        metrics.measure(decoded, reference, SYMMETRIC),
        metrics.measure(reference[::-1], decoded[::-1], SYMMETRIC),
        metrics.measure(np.swapaxes(reference, 0, 1), np.swapaxes(decoded, 0, 1), SYMMETRIC),
    ):
        assert other == pytest.approx(there, rel=1e-4, abs=5e-5, nan_ok=True)  # S-CIELAB: L* to 100 in float32


@hypothesis.given(pairs())
@hypothesis.settings(max_examples=40, deadline=None)
def test_every_size_has_a_value_and_identity_the_best(pair):
    reference, decoded = pair
    for name, value in metrics.measure(reference, decoded, INSTANT).items():
        if min(reference.shape[:2]) < LEAST_SIDE.get(name, 1):
            assert math.isnan(value)
        elif metrics.METRICS[name].higher_is_better:
            assert value <= IDENTICAL[name]
        else:
            assert IDENTICAL[name] <= value < math.inf


def test_values_of_one_pixel_by_hand():
    black, gray = np.full((1, 1, 3), 0, np.uint8), np.full((1, 1, 3), 51, np.uint8)
    assert metrics.psnr(black, gray) == pytest.approx(20 * math.log10(5))
    assert metrics.ssim(black, gray) == pytest.approx(6.5025 / (51**2 + 6.5025))
    linear = ((0.2 + 0.055) / 1.055) ** 2.4
    for oklab in (metrics.oklab_mse, metrics.oklab_mse_blur):  # Ottosson's rounded rows make white 1 to 5e-8
        assert oklab(black, gray) == pytest.approx(linear ** (2 / 3), rel=1e-6)
    assert metrics.scielab(black, gray) == pytest.approx(116 * linear ** (1 / 3) - 16, rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_pictures_of_different_sizes_are_refused(name):
    with pytest.raises(ValueError, match=r"found uint8 \[4, 5, 3\] and uint8 \[5, 4, 3\], expected"):
        metrics.METRICS[name].function(noise(0, 4, 5), noise(0, 5, 4))


def test_measure_runs_the_named_metrics_in_order():
    reference, decoded = alike(0, 20, 30)
    values = metrics.measure(reference, decoded, ["scielab", "psnr"])
    expected = {"scielab": metrics.scielab(reference, decoded), "psnr": metrics.psnr(reference, decoded)}
    assert list(values.items()) == list(expected.items())
    assert list(metrics.measure(reference, decoded)) == list(metrics.METRICS)


def test_measure_names_the_unknown_metric():
    with pytest.raises(ValueError, match="names: found vmaf, expected some of psnr, ssim"):
        metrics.measure(noise(0, 4, 5), noise(1, 4, 5), ["psnr", "vmaf"])


def test_metrics_print_their_digits_and_unit():
    assert metrics.METRICS["psnr"].format(25.47866) == "25.48 dB"
    assert metrics.METRICS["psnr"].format(math.inf) == "inf dB"
    assert metrics.METRICS["ms_ssim"].format(0.98765) == "0.9877"


def test_size_and_colours_are_counted():
    picture = np.array([[[0, 0, 1], [0, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 1, 0], [255, 255, 255]]], np.uint8)
    assert metrics.count_colors(picture) == 4
    assert metrics.bits_per_pixel(9, picture) == 12.0
    assert [metrics.count_colors(read(pair["dis"])) for pair in PAIRS] == [p["unique_colours_dis"] for p in PAIRS]
