import functools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from diffquant.signal.rounding import (
    COLDEST,
    AdditiveNoise,
    AnyRounding,
    Cubic,
    SoftRound,
    StraightThrough,
    straight_through,
)

KEY = jax.random.key(0)
each_rounding = pytest.mark.parametrize("rounding", [cls() for cls in typing.get_args(AnyRounding)], ids=repr)
each_temperature = pytest.mark.parametrize("temperature", [1e-6, 0.05, 0.5, 100.0])


def numbers(shape=(3, 17)):
    return jnp.asarray(np.random.default_rng(0).uniform(-9, 9, shape), jnp.float32)


def awkward():
    """Whole numbers and halves, and what lies next to them."""
    exact = np.arange(-8, 9) / np.float32(2)
    return jnp.concatenate([exact, np.nextafter(exact, np.float32(9)), np.nextafter(exact, np.float32(-9))])


@functools.partial(jax.jit, static_argnums=0)
def rounded(rounding, x, temperature, key=KEY):
    return rounding(x, temperature, key=key)


@functools.partial(jax.jit, static_argnums=0)
def slope(rounding, x, temperature):
    return jax.grad(lambda x: jnp.sum(rounding(x, temperature, key=KEY)))(x)


@each_rounding
@each_temperature
def test_every_rounding_stays_within_half_a_step(rounding, temperature):
    for x in (numbers(), awkward()):
        y = rounded(rounding, x, temperature)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert np.abs(y - x).max() <= 0.5 + 1e-6


@each_rounding
@each_temperature
def test_every_slope_is_finite_and_none_is_negative(rounding, temperature):
    for x in (numbers(), awkward()):
        slopes = slope(rounding, x, temperature)
        assert np.isfinite(slopes).all()
        assert (slopes >= 0).all()


@each_rounding
@each_temperature
def test_no_slope_between_the_whole_numbers_is_zero(rounding, temperature):
    x = jnp.linspace(-2.9, 2.9, 59)
    between = np.abs(x - np.rint(x)) > 0.05
    assert (slope(rounding, x, temperature)[between] > 0).all()


@each_rounding
def test_only_the_cubics_slope_is_zero_at_whole_numbers(rounding):
    slopes = slope(rounding, jnp.arange(-3.0, 4.0), 0.3)
    assert (slopes == 0).all() if isinstance(rounding, Cubic) else (slopes > 0).all()


@each_rounding
def test_roundings_are_equal_when_their_settings_are(rounding):
    assert rounding == type(rounding)()
    assert hash(rounding) == hash(type(rounding)())


def test_straight_through_has_the_value_of_one_and_the_slope_of_the_other():
    x, hard = numbers((3, 5)), jnp.full((3, 5), 1 / 3)
    value, pull = jax.vjp(straight_through, x, hard)
    weights = numbers((3, 5)) + 1
    of_x, of_hard = pull(weights)
    np.testing.assert_array_equal(value, hard)
    np.testing.assert_array_equal(of_x, weights)
    np.testing.assert_array_equal(of_hard, 0)


def test_straight_through_rounds_exactly_with_a_slope_of_one():
    for x in (numbers(), awkward()):
        np.testing.assert_array_equal(rounded(StraightThrough(), x, 1.0), np.rint(x))
        np.testing.assert_array_equal(slope(StraightThrough(), x, 1.0), 1)


@each_temperature
def test_soft_round_is_the_papers_formula(temperature):
    x, alpha = np.asarray(numbers()), 1 / max(temperature, COLDEST)
    middle = np.floor(np.asarray(x, float)) + 0.5
    expected = middle + np.tanh(alpha * (x - middle)) / (2 * np.tanh(alpha / 2))
    np.testing.assert_allclose(rounded(SoftRound(), jnp.asarray(x), temperature), expected, atol=5e-6)


def test_soft_round_rounds_when_cold_and_does_nothing_when_hot():
    x = numbers()
    far = np.abs(x - np.floor(x) - 0.5) > 0.1
    np.testing.assert_allclose(rounded(SoftRound(), x, 0.0)[far], np.rint(x)[far], atol=1e-4)
    np.testing.assert_allclose(rounded(SoftRound(), x, 1e6), x, atol=1e-5)


def test_soft_round_rises_and_keeps_whole_numbers():
    x = jnp.linspace(-3, 3, 601)
    for temperature in (0.02, 0.1, 1.0):
        y = np.asarray(rounded(SoftRound(), x, temperature))
        assert (np.diff(y) >= 0).all()
        np.testing.assert_allclose(y[::100], x[::100], atol=1e-5)


@pytest.mark.parametrize("temperature", [0.02, 0.07, 0.5, 10.0])
def test_the_slope_of_soft_round_is_that_of_its_formula_even_where_it_is_tiny(temperature):
    x = jnp.float32([-1.99, -0.5, 0.01, 0.25, 0.5, 0.9, 2.0])
    alpha, middle = 1 / temperature, np.floor(np.asarray(x, float)) + 0.5
    expected = alpha / np.cosh(alpha * (x - middle)) ** 2 / (2 * np.tanh(alpha / 2))
    assert expected.min() > 0
    np.testing.assert_allclose(slope(SoftRound(), x, temperature), expected, rtol=1e-4)


def test_soft_round_has_a_slope_in_its_temperature_too():
    x = numbers((3, 5))
    at = functools.partial(rounded, SoftRound(), x)
    check_grads(at, (jnp.float32(0.3),), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_soft_round_changes_no_more_below_its_coldest_temperature():
    x = numbers()
    np.testing.assert_array_equal(rounded(SoftRound(), x, 1e-9), rounded(SoftRound(), x, COLDEST))


def test_additive_noise_is_uniform_over_one_step_and_drawn_by_the_key():
    x = numbers((100, 300))
    noise = np.asarray(rounded(AdditiveNoise(), x, 1.0)) - x
    assert np.abs(noise.mean()) < 5 * (1 / 12 / noise.size) ** 0.5
    assert noise.var() == pytest.approx(1 / 12, rel=0.02)
    np.testing.assert_array_equal(rounded(AdditiveNoise(), x, 1.0) - x, noise)
    assert not np.array_equal(rounded(AdditiveNoise(), x, 1.0, jax.random.key(1)) - x, noise)
    np.testing.assert_array_equal(slope(AdditiveNoise(), x, 1.0), 1)


def test_the_cubic_adds_the_cube_of_what_is_rounded_off():
    x = jnp.float32([1.0, 1.25, -0.25, 0.4])
    np.testing.assert_allclose(rounded(Cubic(), x, 1.0), [1.0, 1 + 1 / 64, -1 / 64, 0.064], rtol=1e-6)
    np.testing.assert_allclose(slope(Cubic(), x, 1.0), [0, 3 / 16, 3 / 16, 0.48], rtol=1e-6)
    assert slope(Cubic(), jnp.float32([2.5]), 1.0) == pytest.approx(3 / 4)
    assert np.abs(rounded(Cubic(), awkward(), 1.0) - np.rint(awkward())).max() == pytest.approx(1 / 8)
