import dataclasses
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

from diffquant import color
from diffquant.assignment import AnyAssignment
from diffquant.assignment.relaxation import (
    AnyRelaxation,
    Expectation,
    GumbelSoftmax,
    StraightThrough,
    expectation,
    softmax,
)
from diffquant.losses import ExpectedImageError
from diffquant.pipelines.palette import Palette

SHAPE, K = (5, 7), 4
ONE = jnp.float32(1)
KEY = jax.random.key(0)


def members(union):
    """Of one or of several."""
    return typing.get_args(union) or (union,)


RELAXATIONS = [*(member() for member in members(AnyRelaxation)), GumbelSoftmax(hard=True)]
SPECS = [member() for member in members(AnyAssignment)]
each_relaxation = pytest.mark.parametrize("relaxation", RELAXATIONS, ids=repr)
SOFT = [spec for spec in SPECS if any(field.name == "relaxation" for field in dataclasses.fields(spec))]
each_soft_spec = pytest.mark.parametrize("spec", SOFT, ids=lambda spec: type(spec).__name__)
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)


def noise(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def numpy_softmax(logits):
    exponentials = np.exp(np.asarray(logits, float))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


LOGITS, VALUES = noise(0, *SHAPE, K), noise(1, K, 2)


def pixels():
    """A picture of many colours, none of them dark."""
    return np.random.default_rng(2).integers(60, 256, (*SHAPE, 3), np.uint8)


def target():
    return jnp.asarray(color.linear_from_srgb8(np.moveaxis(pixels(), -1, 0)))


def built(spec):
    """The pipeline of an assignment, and the assignment in it."""
    pipeline = Palette(colors=K, assignment=spec).build(pixels(), target())
    return pipeline, pipeline.assignment


# Relaxations.


@each_relaxation
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_weights_are_positive_and_sum_to_one(relaxation, temperature):
    weights = np.asarray(relaxation(LOGITS, jnp.float32(temperature), key=KEY))
    assert weights.shape == (*SHAPE, K)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)


def test_the_expectation_is_the_softmax_of_logits_over_temperature():
    weights = Expectation()(LOGITS, jnp.float32(0.5), key=KEY)
    np.testing.assert_allclose(weights, numpy_softmax(LOGITS / 0.5), rtol=1e-5)


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_samples_choose_as_often_as_the_softmax_says(hard):
    draws = 20_000
    probability = numpy_softmax(LOGITS[:1, :2])

    def counted(keys):
        samples = jax.vmap(lambda key: GumbelSoftmax(hard=hard)(LOGITS[:1, :2], ONE, key=key))(keys)
        return jnp.mean(jax.nn.one_hot(jnp.argmax(samples, axis=-1), K), axis=0)

    frequency = np.asarray(jax.jit(counted)(jax.random.split(KEY, draws)))
    standard_error = np.sqrt(probability * (1 - probability) / draws)
    assert (np.abs(frequency - probability) < 5 * standard_error).all()


def test_cold_gumbel_samples_are_nearly_one_hot_and_hard_ones_are():
    cold = np.asarray(GumbelSoftmax()(LOGITS, jnp.float32(1e-3), key=KEY))
    hard = np.asarray(GumbelSoftmax(hard=True)(LOGITS, ONE, key=KEY))
    np.testing.assert_array_equal(cold.argmax(axis=-1), hard.argmax(axis=-1))  # the same noise
    assert np.sort(hard, axis=-1)[..., -1].min() > 1 - 1e-6
    assert np.median(cold.max(axis=-1)) > 0.999
    assert GumbelSoftmax()(LOGITS, ONE, key=KEY).max() < 0.9999


def test_straight_through_shows_the_likeliest_entry():
    weights = StraightThrough()(LOGITS, jnp.float32(3), key=KEY)
    np.testing.assert_allclose(weights, np.eye(K)[np.asarray(LOGITS).argmax(axis=-1)], atol=1e-6)


@pytest.mark.parametrize(
    ("hard", "soft"), [(StraightThrough(), Expectation()), (GumbelSoftmax(hard=True), GumbelSoftmax())], ids=repr
)
def test_straight_through_has_the_gradient_of_the_soft_weights(hard, soft):
    cotangent = noise(3, *SHAPE, K)
    temperature = jnp.float32(0.7)
    pulled = [jax.vjp(lambda x, r=r: r(x, temperature, key=KEY), LOGITS)[1](cotangent)[0] for r in (hard, soft)]
    np.testing.assert_allclose(pulled[0], pulled[1], rtol=1e-5, atol=1e-7)
    assert np.abs(pulled[1]).max() > 0.01


def test_the_gradient_of_softmax_is_that_of_its_plain_formula():
    cotangent = noise(3, *SHAPE, K)
    value, pull = jax.vjp(softmax, LOGITS)
    plain, plain_pull = jax.vjp(lambda x: jnp.exp(x) / jnp.sum(jnp.exp(x), axis=-1, keepdims=True), LOGITS)
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    np.testing.assert_allclose(pull(cotangent)[0], plain_pull(cotangent)[0], rtol=1e-4, atol=1e-6)
    check_grads(jax.jit(softmax), (LOGITS,), order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=1e-2)


def test_the_gradient_of_expectation_is_that_of_its_plain_formula():
    weights, cotangent = softmax(LOGITS), noise(3, 2, *SHAPE)
    value, pull = jax.vjp(expectation, weights, VALUES)
    plain, plain_pull = jax.vjp(lambda w, v: jnp.einsum("hwk,kd->dhw", w, v), weights, VALUES)
    np.testing.assert_allclose(value, plain, rtol=1e-5, atol=1e-6)
    for got, expected in zip(pull(cotangent), plain_pull(cotangent), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    check_grads(jax.jit(expectation), (weights, VALUES), order=1, modes=["rev"], eps=1e-2, atol=1e-2, rtol=1e-2)


# Assignments.


@each_spec
def test_the_start_prefers_the_entry_that_is_nearest_in_oklab(spec):
    pipeline, assignment = built(spec)
    palette = color.oklab_from_linear(np.asarray(pipeline.palette.linear(), float).T)
    differences = color.oklab_from_linear(np.asarray(target(), float))[..., None] - palette[:, None, None]
    distances = (differences**2).sum(axis=0)
    nearest = np.take_along_axis(distances, np.asarray(assignment.mode())[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(nearest, distances.min(axis=-1), atol=1e-6)


@each_spec
def test_expectation_entropy_and_usage_are_those_of_the_distribution(spec):
    _, assignment = built(spec)
    temperature = jnp.float32(2)
    weights = np.moveaxis(np.asarray(assignment.expect(jnp.eye(K), temperature, key=KEY)[0], float), 0, -1)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    mean, entropy, usage = assignment.expect(VALUES, temperature, key=KEY)
    np.testing.assert_allclose(mean, np.einsum("hwk,kd->dhw", weights, VALUES), atol=1e-5)
    np.testing.assert_allclose(entropy, -(weights * np.log2(np.maximum(weights, 1e-12))).sum(axis=-1), atol=1e-4)
    np.testing.assert_allclose(usage, weights.mean(axis=(0, 1)), atol=1e-6)


@each_spec
def test_mode_is_the_cold_limit_of_the_expectation(spec):
    _, assignment = built(spec)
    cold, entropy, _ = assignment.expect(VALUES, jnp.float32(1e-5), key=KEY)
    np.testing.assert_allclose(cold, np.moveaxis(np.asarray(VALUES)[np.asarray(assignment.mode())], -1, 0), atol=1e-4)
    np.testing.assert_allclose(entropy, 0, atol=1e-3)


@each_spec
def test_samples_average_to_the_expectation(spec):
    _, assignment = built(spec)
    draws, temperature = 4000, jnp.float32(2)
    mean, _, _ = assignment.expect(VALUES, temperature, key=KEY)
    square, _, _ = assignment.expect(VALUES**2, temperature, key=KEY)
    keys = jax.random.split(jax.random.key(1), draws)
    samples = jax.jit(jax.vmap(lambda key: assignment.sample(temperature, key=key)))(keys)
    average = np.moveaxis(np.asarray(VALUES, float)[np.asarray(samples)].mean(axis=0), -1, 0)
    standard_error = np.sqrt(np.maximum(np.asarray(square - mean**2), 0) / draws)
    assert spec not in SOFT or standard_error.max() > 1e-3
    assert (np.abs(average - mean) < 5 * standard_error + 1e-4).all()


@each_spec
def test_thresholds_that_are_even_reproduce_the_distribution(spec):
    _, assignment = built(spec)
    temperature, levels = jnp.float32(2), 200
    weights = np.asarray(assignment.expect(jnp.eye(K), temperature, key=KEY)[0])
    masks = jnp.broadcast_to(((jnp.arange(levels) + 0.5) / levels)[:, None, None], (levels, *SHAPE))
    chosen = np.asarray(jax.jit(jax.vmap(lambda mask: assignment.threshold(temperature, mask)))(masks))
    share = (chosen[:, None] == np.arange(K)[:, None, None]).mean(axis=0)
    np.testing.assert_allclose(share, weights, atol=1.01 / levels)


@each_soft_spec
def test_a_uniform_distribution_has_the_entropy_of_its_number_of_entries(spec):
    _, assignment = built(spec)
    _, entropy, _ = assignment.expect(VALUES, jnp.float32(1e6), key=KEY)
    np.testing.assert_allclose(entropy, math.log2(K), rtol=1e-4)


@each_soft_spec
@each_relaxation
def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(spec, relaxation):
    pipeline, _ = built(dataclasses.replace(spec, relaxation=relaxation))
    graph, parameters, constants = nnx.split(pipeline, nnx.Param, ...)

    def loss(parameters):
        rendered = nnx.merge(graph, parameters, constants).render(ONE, key=KEY)
        return ExpectedImageError(space="linear")(rendered, target())

    gradients = jax.tree.leaves(jax.jit(jax.grad(loss))(parameters))
    assert len(gradients) >= 2  # of the palette and of the assignment
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 1e-6
