import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx
from jax.test_util import check_grads

from diffquant import color, training
from diffquant.assignment import PixelSoftmax, TopK
from diffquant.assignment.pixel import PixelSoftmaxAssignment
from diffquant.assignment.relaxation import Expectation
from diffquant.assignment.topk import TopKAssignment, nearest_entries, sparse_expectation
from diffquant.config import Config
from diffquant.interfaces import Refreshable, Rendered
from diffquant.losses import ExpectedImageError
from diffquant.pipelines.palette import Palette
from diffquant.training import whole as whole_picture

SHAPE, K, N = (6, 7), 9, 4
KEY = jax.random.key(0)


def normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def picture(seed=0, shape=SHAPE):
    """sRGB codes and linear light of many colours, none of them dark."""
    pixels = np.random.default_rng(seed).integers(60, 256, (*shape, 3), np.uint8)
    return pixels, jnp.asarray(color.linear_from_srgb8(np.moveaxis(pixels, -1, 0)))


def palette(k, seed=1):
    """Colours in OkLab."""
    light = np.random.default_rng(seed).uniform(0.1, 1, (3, k))
    return jnp.asarray(color.oklab_from_linear(light).T, jnp.float32)


def squared_distances(target, oklab):
    """[h w k], in double precision."""
    pixels = np.moveaxis(color.oklab_from_linear(np.asarray(target, float)), 0, -1)
    return ((pixels[:, :, None] - np.asarray(oklab, float)) ** 2).sum(axis=-1)


def candidates(seed=3, n=N, k=K):
    """Different entries at each pixel, in no order."""
    entries = np.broadcast_to(np.arange(k, dtype=np.uint8), (*SHAPE, k))
    return jnp.asarray(np.random.default_rng(seed).permuted(entries, axis=-1)[..., :n])


def dense(values, chosen, outside, k=K):
    """[h w n] at the candidates as [h w k]."""
    full = np.full((*values.shape[:2], k), outside, np.float32)
    np.put_along_axis(full, np.asarray(chosen, int), np.asarray(values), axis=-1)
    return full


def assignment(logits, chosen, spec=TopK(n=N, refresh=True), k=K):
    return TopKAssignment(nnx.Param(logits, rate=1.0), nnx.Variable(chosen), k, spec)


def test_the_candidates_are_those_of_an_exhaustive_search():
    for k, n, shape in [(256, 8, (5, 11)), (9, 9, (4, 3)), (33, 1, (9, 2)), (1, 1, (3, 5))]:
        target, oklab = picture(shape=shape)[1], palette(k)
        found = np.asarray(nearest_entries(target, oklab, n))
        distances = squared_distances(target, oklab)
        assert found.dtype == np.uint8
        assert (np.diff(np.sort(found, axis=-1), axis=-1) > 0).all()  # all different
        expected = np.sort(distances, axis=-1)[..., :n]  # the nearest first
        np.testing.assert_allclose(np.take_along_axis(distances, found, axis=-1), expected, rtol=2**-15, atol=1e-9)


def test_neither_the_search_nor_the_gradient_holds_all_distances_or_all_values():
    (h, w), k, n, d = (64, 80), 256, 4, 9
    planes, colors = jax.ShapeDtypeStruct((3, h, w), jnp.float32), jax.ShapeDtypeStruct((k, 3), jnp.float32)
    search = nearest_entries.lower(planes, colors, n).compile().memory_analysis().temp_size_in_bytes
    assert search < h * w * k * 4 / 4

    def pulled(weights, chosen, values, gradient):
        return jax.vjp(lambda w, v: sparse_expectation(w, chosen, v), weights, values)[1](gradient)

    weights, gradient = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((h, w, n), (d, h, w)))
    chosen, values = jax.ShapeDtypeStruct((h, w, n), jnp.uint8), jax.ShapeDtypeStruct((k, d), jnp.float32)
    compiled = jax.jit(pulled).lower(weights, chosen, values, gradient).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < h * w * n * d * 4


def test_the_gradient_of_the_sparse_expectation_is_that_of_its_plain_formula():
    weights, chosen = jax.nn.softmax(normal(0, *SHAPE, N)), candidates()
    values, cotangent = normal(1, K, 2), normal(2, 2, *SHAPE)
    one_hot = jax.nn.one_hot(chosen, K)
    value, pull = jax.vjp(lambda w, v: sparse_expectation(w, chosen, v), weights, values)
    plain, plain_pull = jax.vjp(lambda w, v: jnp.einsum("hwn,hwnk,kd->dhw", w, one_hot, v), weights, values)
    np.testing.assert_allclose(value, plain, rtol=1e-5, atol=1e-6)
    for got, expected in zip(pull(cotangent), plain_pull(cotangent), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    check_grads(
        jax.jit(lambda w, v: sparse_expectation(w, chosen, v)),
        (weights, values),
        order=1,
        modes=["rev"],
        eps=1e-2,
        atol=1e-2,
        rtol=1e-2,
    )


def test_it_is_the_dense_softmax_whose_other_logits_are_hopeless():
    logits, chosen, temperature = normal(0, *SHAPE, N), candidates(), jnp.float32(0.8)
    sparse = assignment(logits, chosen)
    full = PixelSoftmaxAssignment(nnx.Param(jnp.asarray(dense(logits, chosen, -1e4))), Expectation())
    values = normal(1, K, 5)
    for got, expected in zip(
        sparse.expect(values, temperature, key=KEY), full.expect(values, temperature, key=KEY), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(sparse.mode(), full.mode())
    for level in (0.03, 0.3, 0.5, 0.97):  # in the palette's order, whatever that of the candidates
        mask = jnp.full(SHAPE, level)
        np.testing.assert_array_equal(sparse.threshold(temperature, mask), full.threshold(temperature, mask))
    drawn = np.asarray(sparse.sample(temperature, key=KEY))
    assert (np.asarray(chosen) == drawn[..., None]).any(axis=-1).all()


def test_with_every_entry_a_candidate_training_is_that_of_the_dense_softmax():
    pixels, target = picture()
    plan = Config(losses={"image": ExpectedImageError()}, steps=4, every=2).plan()

    def run(spec):
        pipeline = Palette(colors=5, assignment=spec).build(pixels, target)
        *_, last = training.fit(pipeline, target, plan, key=KEY)
        return last.loss, np.asarray(last.pipeline.palette.linear()), np.asarray(last.pipeline.assignment.mode())

    for got, expected in zip(run(TopK(n=8)), run(PixelSoftmax()), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


def test_the_size_of_the_state_is_that_of_the_candidates():
    pixels, target = picture(shape=(17, 19))
    pipeline = Palette(colors=40, assignment=TopK(n=3)).build(pixels, target)
    arrays = jax.tree.leaves(nnx.state(pipeline.assignment))
    assert sum(array.nbytes for array in arrays) == 17 * 19 * 3 * (4 + 1)  # a float and a byte each


def test_more_candidates_than_entries_are_all_entries():
    assert TopK(n=8).build(picture()[1], palette(5)).logits[...].shape == (*SHAPE, 5)


def test_there_is_at_least_one_candidate():
    with pytest.raises(ValueError, match="TopK: found n = 0, expected at least 1"):
        TopK(n=0)


# Refreshing.


def test_a_refresh_with_the_same_palette_changes_nothing():
    target, oklab = picture()[1], palette(K)
    start = TopK(n=N).build(target, oklab)
    moved = assignment(start.logits[...] + normal(4, *SHAPE, N), start.candidates[...])
    again, carry = moved.refreshed(target, oklab)
    np.testing.assert_array_equal(again.candidates[...], moved.candidates[...])
    np.testing.assert_array_equal(again.logits[...], moved.logits[...])
    moments = normal(5, *SHAPE, N)
    np.testing.assert_array_equal(carry(moments), moments)


def test_who_stays_keeps_logits_and_moments_and_newcomers_start_by_distance():
    target, oklab = picture()[1], palette(K)
    logits, chosen, moments = normal(0, *SHAPE, N) + 30, candidates(), normal(5, *SHAPE, N)
    fresh, carry = assignment(logits, chosen).refreshed(target, oklab)
    new = np.asarray(fresh.candidates[...], int)
    np.testing.assert_array_equal(new, nearest_entries(target, oklab, N))
    was = np.take_along_axis(dense(np.ones((*SHAPE, N)), chosen, 0.0), new, axis=-1) == 1
    assert was.any(axis=-1).mean() > 0.5  # a case of all kinds: pixels where some stay,
    assert not was.all(axis=-1).any()  # newcomers everywhere,
    assert not was.any(axis=-1).all()  # and pixels where nobody stays
    for got, before in ((fresh.logits[...], logits), (carry(moments), moments)):
        np.testing.assert_array_equal(
            np.asarray(got)[was], np.take_along_axis(dense(before, chosen, 0.0), new, -1)[was]
        )
    assert (np.asarray(carry(moments))[~was] == 0).all()
    # The oracle of newcomers: their share against those that stay is that of the start.
    start = np.asarray(TopK(n=N).build(target, oklab).logits[...], float)
    got = np.asarray(fresh.logits[...], float)
    for pixel in np.ndindex(SHAPE):
        stay = was[pixel]
        if stay.any():
            shares = [x[pixel][~stay] - scipy.special.logsumexp(x[pixel][stay]) for x in (got, start)]
            np.testing.assert_allclose(*shares, rtol=1e-4, atol=1e-4)
        else:
            np.testing.assert_allclose(got[pixel], start[pixel], rtol=1e-4)


def run(spec, *, steps=6, start=None, colors=12, rate=0.05):
    """Snapshots: palette in OkLab, candidates, state. The palette moves fast."""
    pixels, target = picture(shape=(8, 11))
    pipeline = Palette(colors=colors, rate=rate, assignment=spec).build(pixels, target)
    plan = Config(losses={"image": ExpectedImageError(space="linear")}, steps=steps, every=2).plan()
    for snapshot in training.fit(pipeline, target, plan, key=KEY, start=start):
        oklab = color.oklab_from_linear(np.asarray(snapshot.pipeline.palette.linear()).T).T
        chosen = np.asarray(snapshot.pipeline.assignment.candidates[...])
        arrays = {name: np.asarray(array) for name, array in snapshot.state.arrays.items()}
        yield oklab, chosen, dataclasses.replace(snapshot.state, arrays=arrays)


def test_candidates_follow_the_palette_from_chunk_to_chunk_without_compiling_again():
    before = whole_picture._advance._cache_size()
    snapshots = list(run(TopK(n=3, refresh=True)))
    assert whole_picture._advance._cache_size() == before + 1
    target = picture(shape=(8, 11))[1]
    for (oklab, _, _), (_, chosen, _) in itertools.pairwise(snapshots):
        np.testing.assert_array_equal(chosen, nearest_entries(target, jnp.asarray(oklab), 3))
    assert (snapshots[0][1] != snapshots[-1][1]).any()


def test_fixed_candidates_stay():
    first, *_, last = run(TopK(n=3))
    np.testing.assert_array_equal(first[1], last[1])
    assert np.abs(first[0] - last[0]).max() > 0.02


def test_training_that_is_resumed_goes_on_with_the_same_candidates():
    whole = list(run(TopK(n=3, refresh=True)))
    resumed = list(run(TopK(n=3, refresh=True), start=whole[0][2]))
    assert len(resumed) == len(whole) - 1
    for got, expected in zip(resumed, whole[1:], strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


class Turning(nnx.Module):
    """A toy codec: a gain for each channel. When it is refreshed, another parameter stands for each channel."""

    def __init__(self, gains, turns, turning):
        self.gains = nnx.Param(gains, rate=0.1)
        self.turns = nnx.Variable(turns)
        self.turning = turning

    def channels(self):
        return jnp.roll(self.gains[...], -self.turns[...])

    def render(self, temperature, *, key):
        image = 0.5 * jnp.ones((3, 2, 5)) * self.channels()[:, None, None]
        zero = jnp.zeros((2, 5))
        return Rendered(image=image, covariance=jnp.zeros((6, 2, 5)), entropy=zero, bits=jnp.float32(0))

    def refreshed(self, target):
        if not self.turning:
            return None
        turned = Turning(jnp.roll(self.gains[...], 1), self.turns[...] + 1, self.turning)
        return turned, lambda moments: jax.tree.map(lambda x: jnp.roll(x, 1), moments)


def test_moments_follow_parameters_that_change_their_meaning():
    target = jnp.broadcast_to(jnp.array([0.1, 0.4, 0.9])[:, None, None], (3, 2, 5))
    plan = Config(losses={"image": ExpectedImageError(space="linear")}, steps=7, every=2).plan()
    ends = []
    for turning in (True, False):
        toy = Turning(jnp.ones(3), jnp.int32(0), turning)
        assert isinstance(toy, Refreshable)
        *_, last = training.fit(toy, target, plan, key=KEY)
        assert int(last.pipeline.turns[...]) == 3 * turning  # before every chunk but the first
        ends.append(np.asarray(last.pipeline.channels()))
    np.testing.assert_allclose(*ends, rtol=1e-6)
    assert np.ptp(ends[0]) > 0.5
