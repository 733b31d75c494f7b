"""The metric and the loss: against NVIDIA's values, the paper's formulas as written, each other."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from pictures import PAIRS, alike, certain, planes, read

from diffquant.color import LINEAR_OF_CODE
from diffquant.losses.flip import Flip
from diffquant.metrics.flip import flip
from diffquant.signal.bank import filter_bank
from diffquant.signal.flip import PIXELS_PER_DEGREE, filters

SIZES = [(1, 1), (1, 6), (9, 4), (21, 20), (37, 50)]


def noise(seed, h, w):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def judge(image, target, loss=None):
    return (loss or Flip())(certain(image), target)


judged = jax.jit(judge, static_argnums=2)
judged_with_gradient = jax.jit(jax.value_and_grad(judge))


def paper(reference, decoded, ppd):
    """The paper's formulas as written, in float64, with two-dimensional kernels; sRGB's matrix is flip-evaluator's."""
    xyz_from_linear = np.array(
        [
            [10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
            [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
            [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382],
        ]
    )
    white = xyz_from_linear.sum(axis=1)

    def ycxcz(linear):
        x, y, z = np.moveaxis(linear @ xyz_from_linear.T / white, 2, 0)
        return 116 * y - 16, 500 * (x - y), 200 * (y - z)

    def linear_from(luminance, cx, cz):
        y = (luminance + 16) / 116
        return np.stack([y + cx / 500, y, y - cz / 200], axis=2) * white @ np.linalg.inv(xyz_from_linear).T

    def hunt(linear):
        relative = linear @ xyz_from_linear.T / white
        x, y, z = np.moveaxis(
            np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / 3 * (29 / 6) ** 2 + 4 / 29), 2, 0
        )
        lightness = 116 * y - 16
        return lightness, 0.01 * lightness * 500 * (x - y), 0.01 * lightness * 200 * (y - z)

    def distance(one, other):
        lightness, a, b = (p - q for p, q in zip(one, other, strict=True))
        return abs(lightness) + np.hypot(a, b)

    def correlated(plane, kernel):
        padded = np.pad(plane, len(kernel) // 2, mode="edge")
        return scipy.ndimage.correlate(padded, kernel)[
            tuple(slice(len(kernel) // 2, -(len(kernel) // 2)) for _ in "hw")
        ]

    def grid(radius):
        return np.meshgrid(np.arange(-radius, radius + 1), np.arange(-radius, radius + 1))

    def seen(linear):
        gaussians = [[(1, 0.0047), (0, 1e-5)], [(1, 0.0053), (0, 1e-5)], [(34.1, 0.04), (13.5, 0.025)]]
        x, y = grid(math.ceil(3 * math.sqrt(0.04 / (2 * math.pi**2)) * ppd))
        square = (x**2 + y**2) / ppd**2
        filtered = []
        for plane, pair in zip(ycxcz(linear), gaussians, strict=True):
            kernel = sum(a * math.sqrt(math.pi / b) * np.exp(-(math.pi**2) * square / b) for a, b in pair)
            filtered.append(correlated(plane, kernel / kernel.sum()))
        return hunt(np.clip(linear_from(*filtered), 0, 1))

    def features(linear):
        sigma = 0.5 * 0.082 * ppd
        x, y = grid(math.ceil(3 * sigma))
        gaussian = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        luminance = (ycxcz(linear)[0] + 16) / 116
        found = []
        for kernel in (-x * gaussian, (x**2 / sigma**2 - 1) * gaussian):
            kernel = np.where(kernel > 0, kernel / kernel[kernel > 0].sum(), kernel / -kernel[kernel < 0].sum())
            found.append(np.hypot(correlated(luminance, kernel), correlated(luminance, kernel.T)))
        return found

    one, other = LINEAR_OF_CODE[reference], LINEAR_OF_CODE[decoded]
    color = distance(seen(one), seen(other)) ** 0.7
    green, blue = (hunt(np.array([[primary]])) for primary in ([0, 1, 0], [0, 0, 1]))
    largest = distance(green, blue).item() ** 0.7
    knee = 0.4 * largest
    color = np.where(color < knee, 0.95 / knee * color, 0.95 + (color - knee) / (largest - knee) * 0.05)
    edges, points = (abs(p - q) for p, q in zip(features(one), features(other), strict=True))
    feature = (np.maximum(edges, points) / math.sqrt(2)) ** 0.5
    return (color ** (1 - feature)).mean()


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_metric_and_loss_have_the_golden_values(pair):
    reference, decoded = read(pair["ref"]), read(pair["dis"])
    golden = float(pair["values"]["flip"])
    assert flip(reference, decoded) == pytest.approx(golden, rel=3e-5)
    assert float(judged(planes(decoded), planes(reference))) == pytest.approx(golden, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("ppd", [PIXELS_PER_DEGREE, 31])
@pytest.mark.parametrize(("h", "w"), SIZES)
def test_metric_is_the_papers_formulas_at_every_size(h, w, ppd):
    for reference, decoded in (alike(h, h, w), (noise(0, h, w), noise(1, h, w))):
        expected = paper(reference, decoded, ppd)
        assert flip(reference, decoded, ppd) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("ppd", [20.0, PIXELS_PER_DEGREE, 100.0])
def test_metric_is_flip_evaluators(ppd):
    flip_evaluator = pytest.importorskip("flip_evaluator")
    for reference, decoded in (alike(0, 37, 50), alike(1, 9, 4), (noise(0, 31, 20), noise(1, 31, 20))):
        pair = [picture.astype(np.float32) / 255 for picture in (reference, decoded)]
        _, expected, _ = flip_evaluator.evaluate(*pair, "LDR", applyMagma=False, parameters={"ppd": ppd})
        assert flip(reference, decoded, ppd) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (9, 4)])
def test_loss_is_the_metric_at_every_size(h, w):
    reference, decoded = alike(h, h, w)
    expected = flip(reference, decoded)
    assert 0.02 < expected < 0.5
    assert float(judged(planes(decoded), planes(reference))) == pytest.approx(expected, rel=2e-3)


def test_loss_is_the_metric_of_unlike_pictures_seen_from_elsewhere():
    reference, decoded = noise(0, 37, 50), noise(1, 37, 50)
    value = judged(planes(decoded), planes(reference), Flip(pixels_per_degree=31))
    assert float(value) == pytest.approx(flip(reference, decoded, 31), rel=1e-4)


def test_values_of_flat_pictures_by_hand():
    """They have no features. CIELAB, rounded: white 100 0 0, sRGB 119 50.03 0 0, green 87.73 -86.18 83.18, blue 32.30
    79.19 -107.86."""
    largest = 87.73 - 32.30 + math.hypot(0.8773 * -86.18 - 0.323 * 79.19, 0.8773 * 83.18 + 0.323 * 107.86)
    black, gray, white = (np.full((4, 5, 3), code, np.uint8) for code in (0, 119, 255))
    assert flip(black, gray) == pytest.approx((50.03 / largest) ** 0.7 * 0.95 / 0.4, rel=1e-4)
    assert flip(black, white) == pytest.approx(0.95 + 0.05 * ((100 / largest) ** 0.7 - 0.4) / 0.6, rel=1e-4)
    green, blue = (np.full((4, 5, 3), color, np.uint8) for color in ((0, 255, 0), (0, 0, 255)))
    assert flip(green, blue) == pytest.approx(1, rel=1e-5)


def test_identical_pictures_have_no_error_and_no_gradient():
    picture = alike(0, 37, 50)[0]
    assert flip(picture, picture.copy()) == 0
    value, gradient = judged_with_gradient(planes(picture), planes(picture))
    assert float(value) == pytest.approx(0, abs=1e-7)
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


def test_order_mirroring_and_transposition_do_not_matter():
    reference, decoded = alike(4, 23, 40)
    expected = pytest.approx(flip(reference, decoded), rel=1e-5)
    assert flip(decoded, reference) == expected
    assert flip(reference[::-1], decoded[::-1]) == expected
    assert flip(reference[:, ::-1], decoded[:, ::-1]) == expected
    assert flip(np.swapaxes(reference, 0, 1), np.swapaxes(decoded, 0, 1)) == expected


def test_gradients_are_finite_at_black_at_white_and_near_the_target():
    target = planes(alike(0, 37, 50)[0])
    images = [jnp.zeros_like(target), jnp.ones_like(target), target + 1e-7, target.at[1, 2, 3].add(1e-4)]
    for pair in [(image, target) for image in images] + [(target, images[0]), (images[0], images[1])]:
        value, gradient = judged_with_gradient(*pair)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    for image in images[:2]:
        assert np.count_nonzero(judged_with_gradient(image, target)[1]) > 0.9 * target.size


def test_no_slope_is_steep():
    target = planes(alike(0, 37, 50)[0])
    for step in (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
        _, gradient = judged_with_gradient(target + step * np.random.default_rng(0).normal(size=target.shape), target)
        assert 37 * 50 * np.abs(gradient).max() < 1000  # of the loss for each unit of one pixel's light


@pytest.mark.parametrize(("h", "w"), [(5, 3), (37, 50)])
def test_gradient_is_the_slope_along_any_direction(h, w):
    reference, decoded = noise(0, h, w), noise(1, h, w)
    image, target = 0.2 + 0.6 * planes(decoded), 0.2 + 0.6 * planes(reference)
    _, gradient = judged_with_gradient(image, target)
    directions = [np.random.default_rng(seed).normal(size=image.shape).astype(np.float32) for seed in range(4)]
    for direction in (*directions, 4 * (target - image)):
        ahead, behind = (float(judged_with_gradient(image + step * direction, target)[0]) for step in (1e-4, -1e-4))
        slope = float(jnp.vdot(gradient, direction))
        assert (ahead - behind) / 2e-4 == pytest.approx(slope, rel=1e-2, abs=2e-3)


def test_following_the_gradient_lowers_the_metric():
    reference, decoded = alike(3, 37, 50)
    image, target = planes(decoded), planes(reference)
    for _ in range(20):
        _, gradient = judged_with_gradient(image, target)
        image = jnp.clip(image - 1e-3 * jnp.sign(gradient), 0, 1)
    assert float(judged_with_gradient(image, target)[0]) < 0.7 * flip(reference, decoded)


@pytest.mark.parametrize(("h", "w"), [(1, 1), (3, 40)])
def test_the_gradient_of_the_filters_is_their_adjoint(h, w):
    bank = filters(PIXELS_PER_DEGREE)
    rng = np.random.default_rng(0)
    x, y = (tuple(jnp.asarray(p, jnp.float32) for p in rng.normal(size=(n, h, w))) for n in (3, 7))
    there, pull = jax.vjp(lambda p: filter_bank(bank, p, "edge"), x)
    forth = sum(float(jnp.vdot(p, q)) for p, q in zip(there, y, strict=True))
    back = sum(float(jnp.vdot(p, q)) for p, q in zip(x, pull(y)[0], strict=True))
    assert forth == pytest.approx(back, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("ppd", [0.0, -67.0, 0.5, math.nan, math.inf])
def test_pixels_per_degree_must_be_sensible(ppd):
    with pytest.raises(ValueError, match=r"pixels_per_degree: found .*, expected at least 1"):
        Flip(pixels_per_degree=ppd)
