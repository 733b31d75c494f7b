"""Temporal stability: the loss of two frames, its form in the descent, and frames after frames.

Oracles: the loss written out in NumPy; every single change of a pixel, tried.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from jax.test_util import check_grads

from diffquant import color
from diffquant.animation.steady import Follower, State, Steady, follow, picture
from diffquant.export import polish
from diffquant.export.lattice import LATTICE
from diffquant.losses import BlurError

H, W = 18, 27
EYE = BlurError(sigmas=(0.0, 1.5), weights=(0.1, 1.0))
ORDER = np.arange(LATTICE**2, dtype=np.int32)
SWEEPS = 2
LOSS, STILLNESS, HOLD = (jax.jit(f) for f in (Steady().__call__, Steady().stillness, Steady().hold))


def scene(seed=0, shape=(H, W)):
    """Smooth light away from black, [3 h w]."""
    noise = np.random.default_rng(seed).uniform(0, 1, (3, *shape))
    return jnp.asarray(0.15 + 0.7 * scipy.ndimage.gaussian_filter(noise, (0, 1.5, 1.5)), jnp.float32)


def palette(k=6):
    return np.random.default_rng(1).uniform(0.2, 0.8, (k, 3)).astype(np.float32)


def noisy(n, amount=0.01, shape=(H, W)):
    """A still scene, and a camera's noise."""
    rng = np.random.default_rng(2)
    return [scene(shape=shape) + jnp.asarray(rng.normal(0, amount, (3, *shape)), jnp.float32) for _ in range(n)]


def made(frames, seed=0):
    step = Follower(palette(), EYE, Steady(), SWEEPS, seed)
    return [step(frame, number) for number, frame in enumerate(frames)]


def bound_by(bound, frames):
    """The same, with all that change costs so many times as dear."""
    grid = polish.grid_of(frames[0].shape, EYE)
    state = State(jnp.asarray(made(frames[:1])[0], jnp.int32), frames[0])
    orders = np.tile(ORDER, (SWEEPS, 1))
    found = [state.entries]
    for frame in frames[1:]:
        state = follow(state, frame, jnp.asarray(palette()), orders, bound, eye=EYE, grid=grid, steady=Steady())
        found.append(state.entries)
    return np.asarray(found)


def changes(indices):
    return sum(int((a != b).sum()) for a, b in itertools.pairwise(indices))


def weighed(form, vector):
    """v' M v at each pixel, of a symmetric M by its upper triangle; in float64."""
    full = np.empty((3, 3, *vector.shape[1:]))
    for plane, (i, j) in zip(np.asarray(form, float), color.UPPER, strict=True):
        full[i, j] = full[j, i] = plane
    return np.einsum("ihw,ijhw,jhw->hw", vector, full, vector)


# The loss


def test_a_frame_that_changes_as_the_clip_does_costs_nothing():
    before, target, shown = scene(0), scene(0) + 0.03, scene(3)
    image = shown + target - before
    assert float(LOSS(image, target, shown, before)) == pytest.approx(0, abs=1e-12)
    assert float(LOSS(image + 0.01, target, shown, before)) > 0


def test_the_loss_is_the_squared_oklab_change_of_the_error_where_the_clip_is_still():
    target, shown = scene(0), scene(3)
    rng = np.random.default_rng(4)
    image = shown + jnp.asarray(rng.normal(0, 1e-3, target.shape), jnp.float32)
    loss = float(LOSS(image, target, shown, target))
    slopes = jax.jit(jax.vmap(jax.jacfwd(color.oklab_from_linear)))(target.reshape(3, -1).T)  # of each colour
    moves = np.einsum("nij,nj->ni", slopes, np.asarray(image - shown).reshape(3, -1).T)
    assert loss == pytest.approx(Steady().flicker * np.square(moves).sum(axis=1).mean(), rel=1e-3)
    assert float(LOSS(image, 0.3 * target, shown, target)) == pytest.approx(0, abs=1e-12)  # all has moved


def test_stillness_is_one_for_the_same_frame_and_a_noisy_one_is_stiller_than_one_that_moves():
    here = scene()
    np.testing.assert_allclose(STILLNESS(here, here), 1)
    noise = STILLNESS(*noisy(2, 0.005))
    moved = STILLNESS(here, jnp.roll(here, 9, axis=2))
    assert float(jnp.mean(noise)) > 0.8 > 0.5 > float(jnp.mean(moved))
    for still in (noise, moved):
        assert 0 <= float(still.min()) <= float(still.max()) <= 1


def test_gradients_are_those_of_finite_differences():
    shape = (5, 7)
    target, before = noisy(2, shape=shape)
    image, shown = scene(3, shape), scene(4, shape)
    loss = jax.jit(lambda x: 1e3 * Steady()(jnp.asarray(x), target, shown, before))
    check_grads(loss, (image,), order=1, modes=("rev",), rtol=2e-2)
    for slope in jax.jit(jax.grad(Steady(), argnums=(0, 1, 2, 3)))(image, target, shown, before):
        assert jnp.all(jnp.isfinite(slope))
        assert float(jnp.abs(slope).max()) > 0


# Its form in the descent


@pytest.mark.parametrize("bound", [1.0, 0.25])
def test_the_form_of_the_descent_is_the_loss(bound):
    target, before = noisy(2)
    shown, image, had = scene(3), scene(4), np.zeros((H, W), np.int32)
    hold = HOLD(target, before, shown, jnp.asarray(had), bound)
    form = weighed(hold.metric, np.asarray(image - hold.light, float))
    assert form.mean() == pytest.approx(bound * float(LOSS(image, target, shown, before)), rel=1e-4)
    np.testing.assert_array_equal(hold.had, had)


def test_change_is_dearer_where_the_clip_has_not_changed_at_all():
    before = scene()
    target = before.at[1, 3, 5].add(0.01)
    hold = Steady(price=2e-4, rest=8.0).hold(target, before, before, jnp.zeros((H, W), jnp.int32), 0.5)
    expected = np.full((H, W), 8e-4)
    expected[3, 5] = 1e-4
    np.testing.assert_allclose(hold.price, expected, rtol=1e-6)


def test_where_the_descent_ends_no_single_pixel_would_do_better():
    # At most one pixel in each phase: they move one at a time.
    shape, colors = (3, 4), jnp.asarray(palette())
    steady = Steady(flicker=0.5, price=2e-4)
    before, target = noisy(2, 0.005, shape)
    assert np.all(STILLNESS(target, before) > 0.5)  # so that the descent starts from what was
    had = np.random.default_rng(5).integers(0, len(colors), shape)
    state = State(jnp.asarray(had, jnp.int32), before)
    grid = polish.grid_of(target.shape, EYE)
    orders = jnp.asarray(np.tile(ORDER, (12, 1)))
    found = np.asarray(follow(state, target, colors, orders, 1.0, eye=EYE, grid=grid, steady=steady).entries)
    shown = picture(colors, jnp.asarray(had))
    hold = jax.jit(steady.hold)(target, before, shown, jnp.asarray(had))

    @jax.jit
    def seen(index):
        problem = polish.quadratic(target, shown, EYE, grid)
        return polish.loss(grid.split(index[None])[:, :, 0].astype(jnp.int32), colors, problem, EYE, grid) * index.size

    def cost(index):
        flicker = weighed(hold.metric, np.asarray(picture(colors, jnp.asarray(index)) - hold.light, float)).sum()
        return float(seen(jnp.asarray(index))) + flicker + (np.asarray(hold.price) * (index != had)).sum()

    least = cost(found)
    assert least < cost(had)
    for y, x in np.ndindex(shape):
        for k in range(len(colors)):
            other = found.copy()
            other[y, x] = k
            assert cost(other) >= least - 1e-6


# Frames after frames


def test_the_more_change_costs_the_fewer_pixels_change_until_none_does():
    counts = [changes(bound_by(bound, noisy(4))) for bound in (0.0, 0.3, 3.0, 1e4)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[2] >= counts[3] == 0


def test_what_is_shown_flickers_less_where_that_costs():
    light = color.oklab_from_linear(palette().T).T
    free, some = (light[bound_by(bound, noisy(4))] for bound in (0.0, 1.0))
    assert np.square(np.diff(some, axis=0)).mean() < 0.7 * np.square(np.diff(free, axis=0)).mean()


def test_a_clip_that_stands_still_comes_to_rest():
    indices = made([scene()] * 4)
    assert changes(indices[2:]) == 0


def test_a_frame_that_nothing_binds_and_all_of_which_has_moved_knows_nothing_of_those_before():
    first, second = (bound_by(0.0, [before, scene(0)])[-1] for before in (0.3 * scene(6), 0.3 * scene(7)))
    np.testing.assert_array_equal(first, second)


def test_a_frame_is_near_its_target_once_blurred_whatever_it_costs_to_change():
    shown = picture(jnp.asarray(palette()), jnp.asarray(made([scene(6), scene(0)])[-1], jnp.int32))
    error = scipy.ndimage.gaussian_filter(np.asarray(shown - scene(0)), (0, 2, 2))
    nearest = np.square(np.asarray(scene(0))[:, None] - palette().T[..., None, None]).sum(axis=0).argmin(axis=0)
    plain = np.moveaxis(palette()[nearest], -1, 0) - np.asarray(scene(0))
    assert np.square(error).mean() < 0.7 * np.square(scipy.ndimage.gaussian_filter(plain, (0, 2, 2))).mean()


def test_the_seed_fixes_the_result():
    frames = noisy(2)
    one, same, other = (made(frames, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert changes([one[0], other[0]]) > 0
    assert one[0].dtype == np.uint8
    assert one[0].shape == (H, W)
    assert one[0].max() < len(palette())
