import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from jax.test_util import check_grads

from diffquant import color

# Ottosson's matrices, typed again here: the oracle is plain NumPy in float64.
LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
LINEAR_FROM_XYZ = np.array(  # IEC 61966-2-1
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)

oklab_of = jax.jit(color.oklab_from_linear)


def reference(linear):
    return LAB @ np.cbrt(LMS @ linear)


def grid_of_codes():
    """Every fifth code of each channel, and all of the darkest 4096 colours: uint8 [3 n]."""
    coarse = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3, indexing="ij")).reshape(3, -1)
    dark = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij")).reshape(3, -1)
    return np.concatenate([coarse, dark], axis=1).astype(np.uint8)


CODES = grid_of_codes()
LINEAR = color.LINEAR_OF_CODE[CODES]
COLORS = np.array(  # black, the primaries, white, below and just above the toe, and a few in between
    [
        *([0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [2e-6, 3e-6, 1e-6], [3e-5, 3e-5, 3e-5]),
        *([0.2, 0.5, 0.1], [0.01, 0.003, 0.02], [0.9, 0.2, 0.6]),
    ],
    np.float32,
).T


@pytest.mark.parametrize(
    ("srgb", "oklab"),  # CSS Color 4, https://www.w3.org/TR/css-color-4: to five digits
    [
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_has_the_published_values(srgb, oklab):
    np.testing.assert_allclose(color.oklab_from_linear(np.array(srgb, float)), oklab, atol=1.5e-5)
    np.testing.assert_allclose(oklab_of(jnp.array(srgb, jnp.float32)), oklab, atol=1.5e-5)


@pytest.mark.parametrize(
    ("xyz", "oklab"),  # the table of Ottosson's article, to three digits
    [
        ((0.950, 1.000, 1.089), (1.000, 0.000, 0.000)),
        ((1.000, 0.000, 0.000), (0.450, 1.236, -0.019)),
        ((0.000, 1.000, 0.000), (0.922, -0.671, 0.263)),
    ],
)
def test_oklab_agrees_with_the_table_of_its_article(xyz, oklab):
    np.testing.assert_allclose(color.oklab_from_linear(LINEAR_FROM_XYZ @ xyz), oklab, atol=1.5e-3)


def test_oklab_of_8_bit_codes_is_exact():
    expected = reference(LINEAR)
    np.testing.assert_allclose(color.oklab_from_linear(LINEAR), expected, atol=1e-14)
    np.testing.assert_allclose(oklab_of(jnp.asarray(LINEAR, jnp.float32)), expected, atol=1e-6)


def test_the_fast_cube_root_has_the_precision_of_float32():
    x = np.geomspace(color.TOE * 1.0001, 4, 20_000).astype(np.float32)
    np.testing.assert_allclose(jax.jit(color.cube_root)(jnp.asarray(x)), np.cbrt(x.astype(float)), rtol=3e-7)


def test_the_toe_is_a_straight_line_through_black_that_meets_the_cube_root():
    x = np.array([-1e-3, 0, color.TOE / 2, color.TOE * (1 - 1e-6), color.TOE * (1 + 1e-6)])
    expected = [x[0] * color.TOE ** (-2 / 3), 0, color.TOE ** (1 / 3) / 2, *[color.TOE ** (1 / 3)] * 2]
    np.testing.assert_allclose(color.cube_root(x), expected, rtol=1e-5)
    np.testing.assert_allclose(color.cube_root(jnp.asarray(x, jnp.float32)), expected, rtol=1e-5)


def test_8_bit_codes_come_back_from_oklab():
    np.testing.assert_allclose(color.linear_from_oklab(color.oklab_from_linear(LINEAR)), LINEAR, atol=1e-9)
    back = jax.jit(lambda x: color.linear_from_oklab(color.oklab_from_linear(x)))(jnp.asarray(LINEAR, jnp.float32))
    np.testing.assert_array_equal(color.srgb8_from_linear(np.asarray(back)), CODES)


def test_the_metric_is_the_jacobian_times_itself():
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacfwd(color.oklab_from_linear)))(jnp.asarray(COLORS.T)))
    expected = np.einsum("nli,nlj->ijn", jacobians, jacobians)
    for metric in (color.oklab_metric(COLORS), jax.jit(color.oklab_metric)(jnp.asarray(COLORS))):
        np.testing.assert_allclose(metric, [expected[i, j] for i, j in color.UPPER], rtol=2e-4, atol=1e-4)


def test_the_metric_measures_small_differences():
    linear = LINEAR[:, LINEAR.min(axis=0) > 0.01][:, ::37]
    change = np.random.default_rng(0).normal(0, 1e-6, linear.shape)
    expected = ((reference(linear + change) - reference(linear)) ** 2).sum(axis=0)
    measured = sum(change * color.apply_symmetric(color.oklab_metric(linear), change))
    np.testing.assert_allclose(measured, expected, rtol=2e-3)


LIGHTS = st.lists(st.floats(0.005, 1), min_size=3, max_size=3).map(lambda light: np.array(light)[:, None])


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(LIGHTS, LIGHTS, st.floats(0, 2))
def test_the_metric_between_two_colours_gives_their_exact_squared_difference(one, other, chroma):
    lightness, a, b = (reference(one) - reference(other))[:, 0] ** 2
    change = other - one
    for first, second in ((one, other), (other, one)):
        measured = sum(change * color.apply_symmetric(color.oklab_metric(first, chroma, second), change))
        np.testing.assert_allclose(measured, lightness + chroma * (a + b), rtol=1e-9, atol=1e-14)


def test_the_metric_between_equal_colours_is_the_local_one():
    linear = np.random.default_rng(0).uniform(0.005, 1, (3, 50))
    for chroma in (0.0, 0.3, 1.0):
        np.testing.assert_allclose(color.oklab_metric(linear, chroma, linear), color.oklab_metric(linear, chroma))


def test_the_metric_between_colours_is_the_same_in_jax_and_finite_at_black():
    one = np.repeat(COLORS, COLORS.shape[1], axis=1)
    other = np.tile(COLORS, COLORS.shape[1])
    expected = color.oklab_metric(one.astype(float), 0.4, other.astype(float))
    assert np.isfinite(expected).all()
    found = jax.jit(lambda x, y: color.oklab_metric(x, 0.4, y))(jnp.asarray(one), jnp.asarray(other))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max(axis=0).min())


def test_gradients_of_oklab_match_finite_differences():
    check_grads(oklab_of, (jnp.asarray(COLORS[:, -3:]),), order=1, modes=["fwd", "rev"], eps=1e-3, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize(
    "function",
    [color.oklab_from_linear, color.linear_from_oklab, color.srgb_from_linear, color.linear_from_srgb],
    ids=lambda function: function.__name__,
)
def test_gradients_are_finite_at_black_and_outside_the_gamut(function):
    planes = jnp.array([[0.0, -0.1, 1.2, 1e-7], [0.0, -0.1, 1.2, 0.0], [0.0, -0.1, 1.2, 0.0]])
    gradient = np.asarray(jax.jit(jax.grad(lambda x: jnp.sum(function(x))))(planes))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:, 2:]).max() > 0


def test_xyb_fills_the_ranges_that_libjxl_states():
    planes = np.array(color.xyb_planes(color.linear_from_srgb(grid_of_codes() / 255)))
    ranges = [(0.204594, 0.813402), (0.010000, 0.855308), (0.272295, 0.938012)]  # of sRGB, in tools/ssimulacra2.cc
    np.testing.assert_allclose(np.array([planes.min(axis=1), planes.max(axis=1)]).T, ranges, atol=2e-6)


def test_symmetric_matrices_act_like_dense_ones():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(2, 3, 3, 7))
    a, b = np.einsum("mikn,mjkn->mijn", roots, roots)
    upper_a, upper_b = (np.array([matrix[i, j] for i, j in color.UPPER]) for matrix in (a, b))
    vector = rng.normal(size=(3, 7))
    np.testing.assert_allclose(color.apply_symmetric(upper_a, vector), np.einsum("ijn,jn->in", a, vector))
    np.testing.assert_allclose(color.symmetric_inner(upper_a, upper_b), np.einsum("ijn,ijn->n", a, b))


def decoded(code):
    """IEC 61966-2-1, as the standard writes it."""
    value = code / 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_the_table_of_codes_is_the_standards_formula():
    expected = [decoded(code) for code in range(256)]
    np.testing.assert_allclose(color.LINEAR_OF_CODE, expected, rtol=1e-14)
    table = color.linear_from_srgb8(np.arange(256, dtype=np.uint8).reshape(4, 64))
    assert table.dtype == np.float32
    np.testing.assert_allclose(table.ravel(), expected, rtol=1e-7)
    np.testing.assert_allclose(color.linear_from_srgb(jnp.arange(256) / 255), expected, rtol=2e-6)


def test_every_code_comes_back_and_light_rounds_to_the_nearest_code():
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(color.srgb8_from_linear(color.linear_from_srgb8(codes)), codes)
    almost_half = np.array([decoded(code + share) for code in range(255) for share in (0.49, 0.51)])
    np.testing.assert_array_equal(
        color.srgb8_from_linear(almost_half).reshape(255, 2), np.stack([codes[:-1], codes[1:]]).T
    )
    assert color.srgb8_from_linear(np.array([-3.0, 7.0])).tolist() == [0, 255]


def test_the_gamma_curve_undoes_its_inverse():
    srgb = np.linspace(-0.2, 1.2, 281)
    np.testing.assert_allclose(color.srgb_from_linear(color.linear_from_srgb(srgb)), srgb, atol=1e-6)
    np.testing.assert_allclose(color.srgb_from_linear(color.linear_from_srgb(jnp.asarray(srgb))), srgb, atol=1e-6)


def test_clipping_drops_only_gradients_that_push_further_out():
    # A descent moves against the gradient: below 0 a positive one pushes out, above 1 a negative one does.
    x = jnp.array([-0.5, -0.5, 0.0, 0.3, 0.3, 1.0, 1.5, 1.5])
    incoming = jnp.array([2.0, -2.0, 2.0, 2.0, -2.0, -2.0, 2.0, -2.0])
    value, pull = jax.vjp(color.clip_to_gamut, x)
    np.testing.assert_array_equal(value, np.clip(x, 0, 1))
    np.testing.assert_array_equal(pull(incoming)[0], [0, -2, 2, 2, -2, -2, 2, 0])
