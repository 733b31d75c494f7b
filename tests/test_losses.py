import dataclasses
import functools
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.test_util import check_vjp

from diffquant import color
from diffquant.interfaces import Rendered
from diffquant.losses import (
    AnyLoss,
    BlurError,
    ExpectedImageError,
    ExpectedSquaredError,
    Ssimulacra2,
    Variance,
)
from diffquant.losses.base import judged as judge
from diffquant.losses.base import prepared
from diffquant.pipelines.palette import Palette

SHAPE = (12, 20)
LOSSES = [loss() for loss in typing.get_args(AnyLoss)]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
KEY = jax.random.key(0)


@functools.partial(jax.jit, static_argnums=0)
def judged(loss, rendered, target):
    """The loss, and its gradient in all that was rendered."""
    return jax.value_and_grad(loss)(rendered, target)


scored = jax.jit(lambda loss, rendered, target: loss(rendered, target), static_argnums=0)


def certain(image):
    """A picture without any chance in it, and a file of no bits."""
    h, w = image.shape[1:]
    zero = jnp.zeros((h, w))
    return Rendered(image=jnp.asarray(image), covariance=jnp.zeros((6, h, w)), entropy=zero, bits=jnp.zeros(()))


def distribution(seed, shape=SHAPE, k=4):
    """Colours [k 3] in linear light and their probability at each pixel [h w k]."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.05, 0.95, (k, 3)), rng.dirichlet(np.ones(k), shape)


def soft(colors, weights):
    """The moments of a random pixel, by NumPy."""
    mean = np.moveaxis(weights @ colors, -1, 0)
    covariance = [weights @ (colors[:, i] * colors[:, j]) - mean[i] * mean[j] for i, j in color.UPPER]
    entropy = -(weights * np.log2(weights)).sum(axis=-1)
    moments = {"image": mean, "covariance": np.array(covariance), "entropy": entropy, "bits": entropy.sum()}
    return Rendered(**{name: jnp.asarray(value, jnp.float32) for name, value in moments.items()})


def picture(seed, shape=SHAPE):
    """Smooth colours away from black, in linear light [3 h w]."""
    noise = np.random.default_rng(seed).uniform(0, 1, (3, *shape))
    return jnp.asarray(0.1 + 0.8 * scipy.ndimage.gaussian_filter(noise, (0, 1, 1)), jnp.float32)


# Contracts: a loss is tested by being a member of `AnyLoss`.


@each_loss
def test_a_perfect_rendering_scores_zero_and_a_random_one_worse(loss):
    target = picture(0)
    best, _ = judged(loss, certain(target), target)
    worse, _ = judged(loss, soft(*distribution(1)), target)
    assert best.shape == ()
    assert float(best) == pytest.approx(0, abs=1e-6)
    assert float(worse) > 1e-4


@each_loss
def test_a_target_that_was_prepared_is_judged_as_it_is_itself(loss):
    target, rendered = picture(0), soft(*distribution(1))
    seen = prepared((loss,), target)
    found = jax.jit(lambda rendered, seen: judge((loss,), rendered, seen))(rendered, seen)
    assert float(found[0]) == pytest.approx(float(scored(loss, rendered, target)), rel=1e-6)


class Doubled(Ssimulacra2):
    def __call__(self, rendered, target):
        return 2 * super().__call__(rendered, target)


class FlatBlurError(BlurError):
    def map(self, rendered, target, extent=None):
        return jnp.full(target.shape[1:], 3.0)


def test_a_loss_that_judges_otherwise_than_its_parent_is_prepared_for_that():
    target, rendered, pair = picture(0), soft(*distribution(1)), (Doubled(), FlatBlurError())
    double, flat = judge(pair, rendered, prepared(pair, target))
    assert float(double) == pytest.approx(2 * float(scored(Ssimulacra2(), rendered, target)), rel=1e-5)
    assert float(flat) == pytest.approx(3)


@each_loss
def test_gradients_match_finite_differences(loss):
    target, rendered = picture(0), soft(*distribution(1))
    names = [field.name for field in dataclasses.fields(Rendered)]

    def value_and_gradient(*values):
        perturbed = Rendered(**{name: jnp.asarray(value) for name, value in zip(names, values, strict=True)})
        return judged(loss, perturbed, target)

    def value_and_pull(*values):
        value, gradient = value_and_gradient(*values)
        return value, lambda cotangent: tuple(cotangent * getattr(gradient, name) for name in names)

    values = tuple(getattr(rendered, name) for name in names)
    check_vjp(lambda *v: value_and_gradient(*v)[0], value_and_pull, values, eps=3e-3, atol=2e-4, rtol=2e-2)


@each_loss
def test_gradients_are_finite_for_equal_pictures_and_at_black(loss):
    colors, black = picture(0), jnp.zeros((3, *SHAPE))
    for image, target in ((colors, colors), (black, black), (black, colors), (colors, black)):
        value, gradient = judged(loss, certain(image), target)
        assert np.isfinite(value)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@each_loss
def test_the_loss_itself_is_unweighted(loss):
    rendered, target = soft(*distribution(1)), picture(0)
    traced = [str(jax.make_jaxpr(dataclasses.replace(loss, weight=weight))(rendered, target)) for weight in (1.0, 7.0)]
    assert traced[0] == traced[1]


# The blur error, against SciPy and NumPy.


def scipy_blur(planes, sigma):
    return scipy.ndimage.gaussian_filter(np.asarray(planes, float), (0, sigma, sigma), mode="reflect", truncate=3.0)


@functools.cache
def squared_impulses(shape, sigma):
    """[i j]: the square of what a unit impulse at pixel i adds to pixel j."""
    h, w = shape
    return scipy_blur(np.eye(h * w).reshape(-1, h, w), sigma).reshape(h * w, h * w) ** 2


def numpy_metric(linear):
    """J^T J [n 3 3] of OkLab by central differences in float64, at colours [3 n]."""
    steps = 1e-6 * np.eye(3)[:, :, None]
    slopes = [(color.oklab_from_linear(linear + d) - color.oklab_from_linear(linear - d)) / 2e-6 for d in steps]
    return np.einsum("iln,jln->nij", slopes, slopes)


def test_blur_error_is_the_expected_blurred_error_of_random_pixels_up_to_the_border():
    # Monte Carlo over a picture so small that no pixel is far from a border; tolerance: five standard errors.
    loss = BlurError(space="linear", sigmas=(0.5, 1.5), weights=(0.3, 1.0))
    shape, draws = (5, 8), 20_000
    colors, weights = distribution(2, shape)
    target = picture(3, shape)
    uniform = np.random.default_rng(4).uniform(size=(draws, *shape, 1))
    chosen = np.minimum((uniform > weights.cumsum(axis=-1)).sum(axis=-1), len(colors) - 1)
    errors = np.moveaxis(colors[chosen], -1, 1) - np.asarray(target)
    each = np.zeros(draws)
    for weight, sigma in zip(loss.weights, loss.sigmas, strict=True):
        eye = scipy.ndimage.gaussian_filter(errors, (0, 0, sigma, sigma), mode="reflect", truncate=3.0)
        each += weight * (eye**2).sum(axis=1).mean(axis=(1, 2))
    standard_error = each.std() / math.sqrt(draws)
    value = float(scored(loss, soft(colors, weights), target))
    assert standard_error < 0.005 * each.mean()
    assert abs(value - each.mean()) < 5 * standard_error
    without = scored(loss, certain(soft(colors, weights).image), target)
    assert each.mean() - float(without) > 50 * standard_error  # the variance is a good part of it


def test_blur_error_in_oklab_is_the_papers_formula_in_numpy():
    loss = LOSSES[[type(loss) for loss in LOSSES].index(BlurError)]
    rendered, target = soft(*distribution(1)), picture(0)
    pixels = SHAPE[0] * SHAPE[1]
    covariance = np.empty((3, 3, pixels))
    for (i, j), entry in zip(color.UPPER, np.asarray(rendered.covariance), strict=True):
        covariance[i, j] = covariance[j, i] = entry.ravel()
    bias = variance = 0.0
    for weight, sigma in zip(loss.weights, loss.sigmas, strict=True):
        seen, wanted = scipy_blur(rendered.image, sigma), scipy_blur(target, sigma)
        bias += weight * ((color.oklab_from_linear(seen) - color.oklab_from_linear(wanted)) ** 2).sum() / pixels
        metric = numpy_metric(wanted.reshape(3, -1))
        passed = squared_impulses(SHAPE, sigma)
        variance += weight * np.einsum("pq,qij,ijp->", passed, metric, covariance) / pixels
    assert variance > 0.1 * bias
    assert float(judged(loss, rendered, target)[0]) == pytest.approx(bias + variance, rel=1e-4)
    certainly, _ = judged(loss, certain(rendered.image), target)
    assert float(certainly) == pytest.approx(bias, rel=1e-4)


def test_blur_error_is_blind_to_hue_where_chroma_is_zero():
    # The same lightness everywhere, other hues: two flat fields, and, unblurred, two textures.
    rng = np.random.default_rng(5)
    lightness, hues = rng.uniform(0.5, 0.7, (1, *SHAPE)), rng.uniform(-0.06, 0.06, (2, 2, *SHAPE))
    textures = [color.linear_from_oklab(np.concatenate([lightness, hue])) for hue in hues]
    fields = [np.broadcast_to(texture[:, :1, :1], texture.shape) for texture in textures]
    for sigmas, (image, target) in (((0.0,), textures), ((0.0, 1.0, 2.0), fields)):
        weights = (1.0,) * len(sigmas)
        image, target = jnp.asarray(image, jnp.float32), jnp.asarray(target, jnp.float32)
        change = hues[0] - hues[1] if len(sigmas) == 1 else (hues[0] - hues[1])[:, :1, :1]
        expected = len(sigmas) * (change**2).sum(axis=0).mean()
        for chroma in (0.0, 0.3):
            eye = BlurError(sigmas=sigmas, weights=weights, chroma=(chroma,) * len(sigmas))
            assert float(scored(eye, certain(image), target)) == pytest.approx(chroma * expected, rel=1e-4, abs=1e-8)


def test_chroma_also_weighs_the_variance_of_hue():
    # A colour and its opposite hue, mixed: their mean is grey, and all variance is of a and b.
    sides = color.linear_from_oklab(np.array([[0.6, 0.6], [0.01, -0.01], [0.01, -0.01]]))
    rendered = soft(sides.T, np.full((*SHAPE, 2), 0.5))
    target = rendered.image
    noise = [
        float(scored(BlurError(sigmas=(0.0,), weights=(1.0,), chroma=(chroma,)), rendered, target))
        for chroma in (0.0, 0.5, 1.0)
    ]
    assert noise[2] == pytest.approx(2 * 0.01**2, rel=0.01)
    assert noise[1] == pytest.approx(0.5 * noise[2], rel=0.01)
    assert noise[0] == pytest.approx(0, abs=1e-3 * noise[2])


@pytest.mark.parametrize("certainly", [True, False], ids=["bias", "variance"])
def test_masking_halves_the_weight_of_an_error_at_that_contrast(certainly):
    # Columns alternate between two lightnesses: far from the border their standard deviation is half the difference,
    # since the mean within 1.5 pixels sees nothing so fine. The error is in the middle.
    contrast, h, w = 0.05, 21, 30
    lightness = np.broadcast_to(0.6 + contrast * (-1.0) ** np.arange(w), (h, w))
    target = jnp.asarray(color.linear_from_oklab(np.stack([lightness, 0 * lightness, 0 * lightness])), jnp.float32)
    middle = (slice(None), slice(9, 12), slice(14, 16))
    if certainly:
        rendered = certain(target.at[middle].add(0.02))
    else:
        rendered = dataclasses.replace(certain(target), covariance=certain(target).covariance.at[middle].set(0.01))
    eye = BlurError(sigmas=(0.0, 0.5), weights=(0.3, 1.0))
    whole = float(scored(eye, rendered, target))
    masked = float(scored(dataclasses.replace(eye, masking=(contrast, contrast)), rendered, target))
    assert masked == pytest.approx(0.5 * whole, rel=1e-2)
    third = float(scored(dataclasses.replace(eye, masking=(contrast / 2**0.5,) * 2), rendered, target))
    assert third == pytest.approx(whole / 3, rel=1e-2)


def test_nothing_is_masked_on_a_flat_picture():
    target, rendered = flat((0.3, 0.2, 0.5), SHAPE), soft(*distribution(1))
    eye = BlurError(sigmas=(0.0, 1.0), weights=(0.3, 1.0))
    masked = dataclasses.replace(eye, masking=(0.03, 0.1))
    assert float(scored(masked, rendered, target)) == pytest.approx(float(scored(eye, rendered, target)), rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": (1.0,)}, "found 2 sigmas and 1 weights"),
        ({"chroma": (1.0,)}, "found 2 sigmas and 1 chroma"),
        ({"masking": (0.1, 0.1, 0.1)}, "found 2 sigmas and 3 masking"),
        ({"sigmas": (), "weights": ()}, "found 0 sigmas and 0 weights"),
        ({"weights": (1.0, -1.0)}, "expected none below 0"),
        ({"sigmas": (1.0, -2.0)}, "expected none below 0"),
        ({"chroma": (1.0, -1.0)}, r"chroma \(1.0, -1.0\), expected none below 0"),
        ({"masking": (-0.1, 0.0)}, r"masking \(-0.1, 0.0\), expected none below 0"),
        ({"chroma": (1.0, 1.0), "space": "linear"}, r"chroma \(1.0, 1.0\) in linear light"),
    ],
    ids=str,
)
def test_blur_error_refuses_settings_that_make_no_sense_in_one_line(settings, message):
    with pytest.raises(ValueError, match=f"^BlurError: .*{message}") as refused:
        BlurError(**{"sigmas": (1.0, 2.0), "weights": (1.0, 1.0)} | settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_derived_coefficient_of_variance_is_that_of_a_gaussian(sigma):
    rendered, target = soft(*distribution(1)), picture(0)
    whole = float(np.asarray(rendered.covariance)[[0, 3, 5]].sum(axis=0).mean())
    derived = Variance(space="linear", sigma=sigma)(rendered, target)
    assert float(derived) == pytest.approx(whole / (4 * math.pi * sigma**2), rel=1e-3)
    assert float(Variance(space="linear", coefficient=0.25)(rendered, target)) == pytest.approx(whole / 4, rel=1e-5)


def test_far_from_the_border_variance_is_the_second_term_of_the_blur_error():
    # Chance only in the middle, so that no border is reached; 3 sigma against 4 in the two kernels: 0.6 %.
    image = jnp.full((3, 21, 24), 0.5)
    rendered = dataclasses.replace(certain(image), covariance=certain(image).covariance.at[:, 9:12, 9:15].set(0.04))
    blurred = scored(BlurError(space="linear", sigmas=(1.0,), weights=(1.0,)), rendered, image)
    assert float(blurred) == pytest.approx(float(Variance(space="linear", sigma=1.0)(rendered, image)), rel=1e-2)


# The article's pictures, through the palette pipeline.


rendered_by = jax.jit(lambda pipeline: pipeline.render(jnp.float32(1), key=KEY))


def rendered_with(colors, shares, shape=(3, 5)):
    """What a palette pipeline renders when every pixel has these `shares` of the linear-light `colors`."""
    distinct = np.zeros((*shape, 3), np.uint8)
    distinct.reshape(-1, 3)[:, 0] = 20 * (np.arange(shape[0] * shape[1]) % len(colors))
    target = jnp.zeros((3, *shape))
    pipeline = Palette(colors=len(colors), space="linear").build(distinct, target)
    pipeline.palette.free[...] = jnp.asarray(colors, jnp.float32)
    logits = np.log(np.maximum(shares, 1e-30)).astype(np.float32)
    pipeline.assignment.logits[...] = jnp.broadcast_to(logits, (*shape, len(colors)))
    return rendered_by(pipeline)


BLACK, WHITE = (0, 0, 0), (1, 1, 1)
RED, BLUE, PURPLE = (1, 0, 0), (0, 0, 1), (0.5, 0, 0.5)


def flat(value, shape=(3, 5)):
    return jnp.broadcast_to(jnp.array(value, jnp.float32)[:, None, None], (3, *shape))


@pytest.mark.parametrize("white", [0, 0.5, 1])
def test_the_expected_squared_error_of_grey_cannot_prefer_a_dither(white):
    rendered = rendered_with([BLACK, WHITE], [1 - white, white])
    loss = ExpectedSquaredError(space="linear")(rendered, flat((0.5, 0.5, 0.5)))
    assert float(loss) == pytest.approx(3 * 0.25, abs=1e-6)  # 0.25 a channel


def test_the_error_of_the_expected_grey_prefers_the_dither():
    losses = {}
    for white in (0, 0.5, 1):
        rendered = rendered_with([BLACK, WHITE], [1 - white, white])
        losses[white] = float(ExpectedImageError(space="linear")(rendered, flat((0.5, 0.5, 0.5))))
    assert losses == pytest.approx({0: 0.75, 0.5: 0, 1: 0.75}, abs=1e-6)


def test_the_blur_error_of_grey_prefers_the_dither():
    eye = BlurError(sigmas=(1.0,), weights=(1.0,))
    grey = flat((0.5, 0.5, 0.5))
    black, dither, white = (float(scored(eye, rendered_with([BLACK, WHITE], [1 - s, s]), grey)) for s in (0, 0.5, 1))
    assert dither < min(black, white) / 2


def test_only_variance_tells_purple_from_a_mixture_of_red_and_blue():
    mixed = rendered_with([RED, BLUE, PURPLE], [0.5, 0.5, 0])
    pure = rendered_with([RED, BLUE, PURPLE], [0, 0, 1])
    purple = flat(PURPLE)
    for rendered in (mixed, pure):
        assert float(ExpectedImageError(space="linear")(rendered, purple)) == pytest.approx(0, abs=1e-10)
    noise = Variance(space="linear", coefficient=1.0)
    assert float(noise(pure, purple)) == pytest.approx(0, abs=1e-6)
    assert float(noise(mixed, purple)) == pytest.approx(0.5, abs=1e-6)  # 1/4 in red, 1/4 in blue
