import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import uniform_filter

from diffquant import color
from diffquant.assignment import Network, PixelSoftmax
from diffquant.assignment.features import Fourier, HashGrid
from diffquant.assignment.network import STRIP
from diffquant.assignment.relaxation import GumbelSoftmax

K, SHAPE = 5, (STRIP + 3, 11)  # a whole strip and a part of one
ONE, KEY = jnp.float32(1), jax.random.key(0)
GRID = HashGrid(levels=2, entries=64, coarsest=3, finest=24)
SPECS = [Network(), Network(features=GRID, local=False)]
each_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec.features).__name__)


def target(*shape):
    codes = np.random.default_rng(3).integers(60, 256, (3, *shape), np.uint8)
    return jnp.asarray(color.linear_from_srgb8(codes))


def palette():
    """In OkLab."""
    codes = np.random.default_rng(4).integers(60, 256, (3, K), np.uint8)
    return jnp.asarray(color.oklab_from_linear(color.linear_from_srgb8(codes)).T)


def built(spec, shape=SHAPE):
    return spec.build(target(*shape), palette())


def parameters(assignment):
    return jax.tree.leaves(nnx.state(assignment, nnx.Param))


def whole(assignment):
    """Logits [h w k] of the whole picture at once, in NumPy: the formula without strips."""
    h, w = len(assignment.places.y), len(assignment.places.x)
    places = (np.arange(max(h, w)) + 0.5) / max(h, w)
    features = jax.jit(jax.vmap(assignment.features, in_axes=(None, 0)))
    inputs = np.asarray(features(jnp.asarray(places[:w], jnp.float32), jnp.asarray(places[:h], jnp.float32)))
    if assignment.prior is not None:
        oklab = np.asarray(color.oklab_from_linear(np.asarray(target(h, w), float)))
        mean = uniform_filter(oklab, (0, 3, 3), mode="nearest")
        planes = np.moveaxis(np.concatenate([oklab, mean]), 0, -1)
        inputs = np.concatenate([inputs, (planes - 2 * [0.5, 0, 0]) / (2 * [0.25, 0.1, 0.1])], axis=-1)
    for layer in assignment.layers[:-1]:
        inputs = np.maximum(inputs @ np.asarray(layer.weights[...]) + np.asarray(layer.biases[...]), 0)
    logits = inputs @ np.asarray(assignment.layers[-1].weights[...]) + np.asarray(assignment.layers[-1].biases[...])
    if assignment.prior is not None:
        distances = ((oklab[..., None] - np.asarray(palette(), float).T[:, None, None]) ** 2).sum(axis=0)
        logits = logits - distances / (4 * distances.min(axis=-1).mean())
    return logits


@each_spec
def test_strips_give_the_softmax_of_the_network_over_the_whole_picture(spec):
    assignment = built(spec)
    exponentials = np.exp(whole(assignment))
    expected = exponentials / exponentials.sum(axis=-1, keepdims=True)
    weights, _, usage = jax.jit(lambda: assignment.expect(jnp.eye(K), ONE, key=KEY))()
    np.testing.assert_allclose(np.moveaxis(np.asarray(weights), 0, -1), expected, atol=1e-4)
    np.testing.assert_allclose(usage, expected.mean(axis=(0, 1)), atol=1e-4)


@each_spec
def test_the_number_of_parameters_does_not_grow_with_the_picture(spec):
    small, large = (sum(leaf.size for leaf in parameters(built(spec, shape))) for shape in ((4, 7), (23, 40)))
    assert small == large


@each_spec
def test_every_parameter_gets_a_finite_gradient_that_is_not_zero(spec):
    graph, learned, constants = nnx.split(built(spec), nnx.Param, ...)

    def loss(learned):
        mean, entropy, _ = nnx.merge(graph, learned, constants).expect(jnp.eye(K)[:, :2], ONE, key=KEY)
        return jnp.mean(mean**2) + jnp.mean(entropy)

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(learned)):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


def test_the_memory_of_a_gradient_grows_by_planes_and_not_by_logits():
    entries = 128

    def temporaries(height):
        colors = jnp.asarray(np.random.default_rng(5).normal(size=(entries, 3)), jnp.float32)
        graph, learned, constants = nnx.split(Network(width=8).build(target(height, 32), colors), nnx.Param, ...)

        def loss(learned):
            return jnp.sum(nnx.merge(graph, learned, constants).expect(colors, ONE, key=KEY)[0] ** 2)

        return jax.jit(jax.grad(loss)).lower(learned).compile().memory_analysis().temp_size_in_bytes

    more = temporaries(STRIP * 24) - temporaries(STRIP * 8)
    logits = STRIP * 16 * 32 * entries * 4  # bytes of those of the rows between
    assert more < logits / 3


def test_without_local_colour_the_start_is_all_but_uniform_whatever_the_picture():
    _, entropy, usage = built(Network(local=False)).expect(jnp.eye(K), ONE, key=KEY)
    np.testing.assert_allclose(entropy, math.log2(K), atol=1e-3)
    np.testing.assert_allclose(usage, 1 / K, atol=1e-2)
    assert not [leaf for leaf in jax.tree.leaves(nnx.state(built(Network(local=False)))) if leaf.shape[-2:] == SHAPE]


def test_the_local_start_is_nearly_that_of_free_logits():
    ours, free = (built(spec).expect(jnp.eye(K), ONE, key=KEY)[0] for spec in (Network(), PixelSoftmax()))
    np.testing.assert_allclose(ours, free, atol=0.02)


def test_fourier_features_are_the_sines_and_cosines_of_the_angle_at_each_place():
    features = Fourier(frequencies=6).build(np.random.default_rng(0), 1.0)
    x, y = np.linspace(0, 1, 9), 0.3
    angle = 2 * math.pi * (np.stack([x, np.full(9, y)], axis=1) @ np.asarray(features.frequencies[...], float))
    found = features(jnp.asarray(x, jnp.float32), jnp.float32(y))
    np.testing.assert_allclose(found, np.concatenate([np.sin(angle), np.cos(angle)], axis=1), atol=1e-4)


def test_grid_features_are_scipys_bilinear_interpolation_of_the_tables():
    features = GRID.build(np.random.default_rng(0), 1.0)
    x, y = np.linspace(0.01, 0.99, 13), 0.37
    expected = []
    for table, cells in zip(np.asarray(features.tables[...], float), GRID.cells(), strict=True):
        row, column = np.meshgrid(np.arange(cells + 1), np.arange(cells + 1), indexing="ij")
        hashed = (column ^ (row * 2654435761 % 2**32)) % GRID.entries  # equation 4 of the source
        direct = row * (cells + 1) + column
        corners = table[direct if direct.max() < GRID.entries else hashed]
        axis = np.arange(cells + 1) / cells
        expected.append(RegularGridInterpolator((axis, axis), corners)(np.stack([np.full(13, y), x], axis=1)))
    found = features(jnp.asarray(x, jnp.float32), jnp.float32(y))
    assert {(cells + 1) ** 2 <= GRID.entries for cells in GRID.cells()} == {True, False}
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-8)


def test_grids_grow_in_equal_ratios_from_the_coarsest_to_the_finest():
    assert HashGrid(levels=5, coarsest=4, finest=64).cells() == (4, 8, 16, 32, 64)


def test_each_row_has_noise_of_its_own():
    spec = dataclasses.replace(Network(local=False), relaxation=GumbelSoftmax())
    mean = np.asarray(built(spec).expect(jnp.eye(K), ONE, key=KEY)[0])
    assert np.abs(np.corrcoef(mean[0])[np.triu_indices(SHAPE[0], 1)]).max() < 0.95
    drawn = np.asarray(built(spec).sample(ONE, key=KEY))
    assert len(np.unique(drawn, axis=0)) == SHAPE[0]


def test_the_seed_decides_the_start():
    first, same, other = (parameters(built(Network(seed=seed)))[-1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Network(width=0), "Network: found width 0 and depth 2, expected"),
        (lambda: Network(depth=-1), "Network: found width 64 and depth -1, expected"),
        (lambda: Fourier(frequencies=0), "Fourier: found 0 frequencies, expected at least 1"),
        (lambda: HashGrid(levels=0), "HashGrid: found 0 levels, 4096 entries and 2 channels, expected"),
        (lambda: HashGrid(coarsest=9, finest=8), "HashGrid: found 9 to 8 cells, expected"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
