"""The metric and the loss against libjxl 0.11's own program, their pieces against NumPy and SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from pictures import PAIRS, certain, planes, read

from diffquant.losses.butteraugli import Butteraugli
from diffquant.metrics.butteraugli import butteraugli
from diffquant.signal import malta
from diffquant.signal.butteraugli import three_norm
from diffquant.signal.opsin import smoothed

LOSS = Butteraugli()
SIDES = (37, 50)  # two scales, the coarser of odd height and width

# 3-norms that libjxl 0.11.1's code, compiled by itself, gives for crops of h x w at row 40, column 60 of a golden pair.
CROPS = {("00", 5, 9): 3.873261, ("01", 5, 9): 1.07903, ("00", *SIDES): 3.724993, ("01", *SIDES): 2.535293}
SWAPPED = 3.140222  # crop of pair 00, the decoded picture as the reference


@functools.cache
def crop(pair, h, w):
    return [read(f"{pair}_{role}.png")[40 : 40 + h, 60 : 60 + w] for role in ("ref", "dis")]


@jax.jit
@jax.value_and_grad
def judged(image, target):
    return LOSS(certain(image), target)


def distance(image, target):
    return float(judged(image, target)[0])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["distortion"])
def test_metric_gives_libjxls_values(pair):
    value = butteraugli(read(pair["ref"]), read(pair["dis"]))
    assert value == pytest.approx(pair["values"]["butteraugli_3norm"], rel=1e-4)


@pytest.mark.parametrize("pair", ["00", "01"])
def test_metric_extends_small_pictures_as_libjxl_does(pair):
    assert butteraugli(*crop(pair, 5, 9)) == pytest.approx(CROPS[pair, 5, 9], rel=1e-4)


@pytest.mark.parametrize("pair", ["00", "01"])
def test_loss_gives_libjxls_values_at_odd_sizes(pair):
    reference, decoded = map(planes, crop(pair, *SIDES))
    assert distance(decoded, reference) == pytest.approx(CROPS[pair, *SIDES], rel=1e-4)


def test_the_reference_is_not_like_the_decoded_picture():
    reference, decoded = map(planes, crop("00", *SIDES))
    assert distance(reference, decoded) == pytest.approx(SWAPPED, rel=1e-4)


def test_equal_pictures_are_at_no_distance_and_there_the_slope_is_finite():
    for pixels in crop("00", *SIDES):
        value, gradient = judged(planes(pixels), planes(pixels))
        assert float(value) == 0
        assert np.isfinite(gradient).all()


def test_gradients_are_finite_at_black_at_white_and_near_the_target():
    target = planes(crop("00", *SIDES)[0])
    images = [jnp.zeros_like(target), jnp.ones_like(target), target + 1e-7, target + 1e-5, target.at[1, 2, 3].add(1e-3)]
    for pair in [(image, target) for image in images] + [(target, images[0]), (images[0], images[1])]:
        value, gradient = judged(*pair)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("pair", ["00", "01"])
def test_gradient_is_the_slope_along_any_direction(pair):
    target, image = (0.1 + 0.8 * planes(pixels) for pixels in crop(pair, *SIDES))
    _, gradient = judged(image, target)
    directions = [np.random.default_rng(seed).normal(size=image.shape).astype(np.float32) for seed in range(4)]
    for direction in (*directions, jnp.sign(gradient), 30 * (target - image)):
        ahead, behind = (distance(image + step * direction, target) for step in (2e-4, -2e-4))
        slope = float(jnp.vdot(gradient, direction))
        assert (ahead - behind) / 4e-4 == pytest.approx(slope, rel=1e-2, abs=0.05)  # of -80 to 130: kinks are many


def test_following_the_gradient_brings_pictures_nearer():
    target, image = map(planes, crop("00", *SIDES))
    before, _ = judged(image, target)
    for _ in range(20):
        _, gradient = judged(image, target)
        image = jnp.clip(image - 2e-3 * jnp.sign(gradient), 0, 1)
    assert distance(image, target) < 0.8 * float(before)


def test_more_of_the_same_error_is_farther():
    target, image = map(planes, crop("00", *SIDES))
    values = [distance(target + share * (image - target), target) for share in (0.1, 0.3, 0.6, 1)]
    assert values == sorted(values)
    assert values[0] < 0.3 * values[-1]


def test_busy_pictures_hide_errors():
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.normal(size=(3, *SIDES))
    calm = np.full((3, *SIDES), 0.4)
    busy = calm + 0.15 * rng.normal(size=(1, *SIDES))
    values = [distance(jnp.asarray(p + noise, jnp.float32), jnp.asarray(p, jnp.float32)) for p in (calm, busy)]
    assert values[1] < 0.7 * values[0]


normed = jax.jit(jax.value_and_grad(three_norm))


def test_the_three_norm_is_a_mean_of_three_norms_at_any_magnitude():
    distances = np.random.default_rng(0).uniform(0, 3, (7, 9))
    expected = np.mean([np.mean(distances**p) ** (1 / p) for p in (3, 6, 12)])
    for scale in (1e-3, 1.0, 1e6):
        value, _ = normed(jnp.asarray(scale * distances, jnp.float32))
        assert float(value) == pytest.approx(scale * expected, rel=1e-5)
    value, gradient = normed(jnp.zeros((7, 9)))
    assert float(value) == 0
    assert (np.asarray(gradient) == 0).all()


@pytest.mark.parametrize("sigma", [1.5, 7.2])
def test_smoothing_is_a_mean_of_what_is_inside(sigma):
    planes = np.random.default_rng(0).uniform(0, 1, (2, 11, 40))
    radius = int(2.25 * sigma)

    def blur(x):
        return scipy.ndimage.gaussian_filter(x, (0, sigma, sigma), mode="constant", radius=(0, radius, radius))

    expected = blur(planes) / blur(np.ones_like(planes))
    np.testing.assert_allclose(smoothed(jnp.asarray(planes, jnp.float32), sigma), expected, rtol=2e-5)


# The Malta filter's lines.


def drawn(lines):
    """[line 9 9]: ones along each line."""
    pictures = np.zeros((len(lines), 9, 9))
    for picture, line in zip(pictures, lines, strict=True):
        for y, x in ((0, 0), *line):
            picture[4 + y, 4 + x] = 1
    return pictures


@pytest.mark.parametrize(("lines", "taps"), [(malta.DENSE, {7, 9}), (malta.SPARSE, {5})])
def test_there_are_sixteen_lines_as_many_along_rows_as_along_columns(lines, taps):
    pictures = drawn(lines)
    assert len(lines) == 16
    assert set(pictures.sum(axis=(1, 2))) == taps
    np.testing.assert_array_equal(pictures, pictures[:, ::-1, ::-1])
    for turned in (np.swapaxes(pictures, 1, 2), pictures[:, ::-1]):
        assert sorted(map(np.ndarray.tobytes, turned)) == sorted(map(np.ndarray.tobytes, pictures))


@pytest.mark.parametrize("lines", [malta.DENSE, malta.SPARSE], ids=["dense", "sparse"])
def test_line_energy_and_its_slope_are_those_of_the_sums_along_lines(lines):
    rng = np.random.default_rng(0)
    planes, gradient = rng.normal(size=(2, 11, 14)), rng.uniform(size=(11, 14))
    along = functools.partial(scipy.ndimage.correlate, mode="constant")
    sums = [[along(plane, line) for line in drawn(lines)] for plane in planes]
    value, pull = jax.vjp(lambda x: malta.line_energy(x, lines), jnp.asarray(planes, jnp.float32))
    np.testing.assert_allclose(value, np.square(sums).sum(axis=(0, 1)), rtol=1e-5)
    pulled = [
        sum(along(2 * gradient * each, line) for each, line in zip(row, drawn(lines), strict=True)) for row in sums
    ]
    np.testing.assert_allclose(pull(jnp.asarray(gradient, jnp.float32))[0], pulled, rtol=1e-4, atol=1e-4)
