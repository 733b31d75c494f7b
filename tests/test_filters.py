import functools
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffquant.signal.filters import (
    Border,
    Extent,
    band,
    band_within,
    blur,
    blur_within,
    energy,
    gaussian_kernel,
    noise_gain,
)

# Sizes, also with the kernel larger than the picture, and standard deviations.
CASES = [((12, 20), 0.0), ((12, 20), 0.7), ((1, 1), 2.0), ((1, 5), 2.0), ((3, 40), 2.0)]
each_case = pytest.mark.parametrize(("shape", "sigma"), CASES, ids=lambda value: str(value).replace(", ", "x"))

blurred = jax.jit(blur, static_argnums=(1, 2))


def noise(seed, shape, planes=2):
    return np.random.default_rng(seed).uniform(size=(planes, *shape)).astype(np.float32)


def scipy_blur(planes, sigma):
    return scipy.ndimage.gaussian_filter(planes.astype(float), (0, sigma, sigma), mode="reflect", truncate=4.0)


@functools.cache
def dense(shape, sigma):
    """The blur as a matrix: column i is the blurred unit impulse at pixel i."""
    h, w = shape
    return scipy_blur(np.eye(h * w).reshape(h * w, h, w), sigma).reshape(h * w, h * w).T


@each_case
def test_blur_is_scipys_gaussian_filter(shape, sigma):
    planes = noise(0, shape)
    np.testing.assert_allclose(blurred(planes, gaussian_kernel(sigma)), scipy_blur(planes, sigma), atol=1e-6)


def test_blur_takes_any_symmetric_kernel():
    planes, kernel = noise(0, (12, 20)), (0.3, -0.2, 0.8, -0.2, 0.3)
    rows = scipy.ndimage.correlate1d(planes.astype(float), kernel, axis=1, mode="reflect")
    expected = scipy.ndimage.correlate1d(rows, kernel, axis=2, mode="reflect")
    np.testing.assert_allclose(blurred(planes, kernel), expected, atol=1e-6)


@each_case
def test_blur_may_see_zeros_outside(shape, sigma):
    planes, kernel = noise(0, shape), gaussian_kernel(sigma)
    rows = scipy.ndimage.correlate1d(planes.astype(float), kernel, axis=1, mode="constant")
    expected = scipy.ndimage.correlate1d(rows, kernel, axis=2, mode="constant")
    np.testing.assert_allclose(blurred(planes, kernel, "zero"), expected, atol=1e-6)


@each_case
@pytest.mark.parametrize("border", typing.get_args(Border))
def test_blur_is_its_own_adjoint(shape, sigma, border):
    x, y, kernel = noise(0, shape), noise(1, shape), gaussian_kernel(sigma)
    assert np.vdot(blurred(x, kernel, border), y) == pytest.approx(np.vdot(x, blurred(y, kernel, border)), rel=1e-5)


@each_case
def test_a_constant_picture_stays_constant(shape, sigma):
    np.testing.assert_allclose(blurred(np.full((2, *shape), 0.37, np.float32), gaussian_kernel(sigma)), 0.37, rtol=1e-6)


@pytest.mark.parametrize("border", typing.get_args(Border))
def test_gradients_of_blur_match_finite_differences(border):
    kernel = gaussian_kernel(0.7)
    check_grads(
        lambda x: jnp.sin(blurred(x, kernel, border)),
        (noise(0, (12, 20)),),
        order=1,
        modes=["rev"],
        atol=1e-2,
        rtol=1e-2,
    )


@pytest.mark.parametrize("size", [1, 2, 5, 40])
@pytest.mark.parametrize("sigma", [0.0, 0.7, 2.0])
def test_the_band_holds_the_blurs_of_unit_impulses(size, sigma):
    kernel = gaussian_kernel(sigma)
    radius, weights = len(kernel) // 2, band(size, kernel)
    matrix = scipy.ndimage.gaussian_filter1d(np.eye(size), sigma, axis=0, mode="reflect") if sigma else np.eye(size)
    assert weights.shape == (size, len(kernel))
    for row in range(size):
        for tap in range(len(kernel)):
            column = row + tap - radius
            expected = matrix[row, column] if 0 <= column < size else 0
            assert weights[row, tap] == pytest.approx(expected, abs=1e-7)


@each_case
def test_energy_is_the_squared_dense_matrix_up_to_the_border(shape, sigma):
    planes = noise(0, shape)
    expected = (planes.reshape(2, -1) @ dense(shape, sigma) ** 2).reshape(planes.shape)
    got = jax.jit(energy, static_argnums=1)(planes, gaussian_kernel(sigma))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)


def test_noise_gain_is_the_share_of_variance_that_reaches_a_pixel_far_from_the_border():
    centre = dense((41, 43), 2.0)[20 * 43 + 21]
    assert noise_gain(gaussian_kernel(2.0)) == pytest.approx((centre**2).sum(), rel=1e-9)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_noise_gain_is_near_that_of_the_continuous_gaussian(sigma):
    assert noise_gain(gaussian_kernel(sigma)) == pytest.approx(1 / (4 * math.pi * sigma**2), rel=1e-3)


def test_kernels_sum_to_one_are_symmetric_and_end_at_the_cut():
    assert gaussian_kernel(0) == gaussian_kernel(0.1) == (1.0,)
    for sigma, truncate, taps in [(0.5, 4.0, 5), (1.0, 3.0, 7), (2.0, 3.0, 13)]:
        kernel = gaussian_kernel(sigma, truncate)
        assert len(kernel) == taps
        assert kernel == kernel[::-1]
        assert sum(kernel) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match="sigma: found -1, expected at least 0"):
        gaussian_kernel(-1)


# A picture in the corner of a larger array

ARRAY = (12, 20)
extents = given(st.integers(1, ARRAY[0]), st.integers(1, ARRAY[1]), st.sampled_from([0.0, 0.7, 2.0]))


def each_extent(test):
    return settings(deadline=None, max_examples=25)(extents(test))


blurred_within = jax.jit(blur_within, static_argnums=1)
energy_within = jax.jit(energy, static_argnums=1)


def extent(h, w):
    return Extent(jnp.int32(h), jnp.int32(w))


def in_noise(planes, seed):
    """The picture in an array of something else."""
    h, w = planes.shape[1:]
    array = 1e3 * noise(seed, ARRAY, len(planes))
    array[:, :h, :w] = planes
    return array


@each_extent
def test_blur_within_is_the_blur_of_the_picture_alone_whatever_lies_beyond_it(h, w, sigma):
    planes, kernel = noise(0, (h, w)), gaussian_kernel(sigma)
    got = np.asarray(blurred_within(in_noise(planes, 1), kernel, extent(h, w)))
    np.testing.assert_allclose(got[:, :h, :w], scipy_blur(planes, sigma), atol=1e-6)
    if sigma:
        assert not got[:, h:].any()
        assert not got[:, :, w:].any()
    other = np.asarray(blurred_within(in_noise(planes, 2), kernel, extent(h, w)))
    np.testing.assert_array_equal(got[:, :h, :w], other[:, :h, :w])


@each_extent
def test_blur_within_is_its_own_adjoint(h, w, sigma):
    x, y, kernel = noise(0, ARRAY), noise(1, ARRAY), gaussian_kernel(sigma)
    there = np.vdot(blurred_within(x, kernel, extent(h, w)), y)
    assert there == pytest.approx(np.vdot(x, blurred_within(y, kernel, extent(h, w))), rel=1e-5)


@each_extent
def test_energy_within_is_that_of_the_picture_alone_whatever_lies_beyond_it(h, w, sigma):
    planes, kernel = noise(0, (h, w)), gaussian_kernel(sigma)
    got = np.asarray(energy_within(in_noise(planes, 1), kernel, extent(h, w)))[:, :h, :w]
    expected = (planes.reshape(2, -1) @ dense((h, w), sigma) ** 2).reshape(planes.shape) if sigma else planes
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("length", [1, 2, 5, 19, 20])
def test_the_band_of_a_traced_length_is_that_of_the_length_and_then_zero(length):
    kernel = gaussian_kernel(2.0)
    got = jax.jit(band_within, static_argnums=(0, 1))(20, kernel, jnp.int32(length))
    np.testing.assert_allclose(got[:length], band(length, kernel), atol=1e-7)
    assert not np.any(got[length:])
