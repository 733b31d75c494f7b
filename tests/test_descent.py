import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from pictures import photo

from diffquant import color
from diffquant.assignment.nearest import nearest
from diffquant.config import Config
from diffquant.export import descent, judged, polish, proposals
from diffquant.image import read
from diffquant.interfaces import Rendered
from diffquant.losses import BlurError, ExpectedImageError, Ssimulacra2
from diffquant.losses.base import Loss
from diffquant.presets import palette_config
from diffquant.runner import compress, stages
from diffquant.schedules import Linear

SHAPE, K = (12, 20), 4  # colours: a pixel remembers that it has tried all of the others
PIXELS = SHAPE[0] * SHAPE[1]
KEY = jax.random.key(0)
OWN = ExpectedImageError(space="linear")  # quadratic in each pixel's own light
COUPLED = BlurError(sigmas=(0.8,), weights=(1.0,), space="linear", variance=0.0)  # quadratic in all of it
EYE = BlurError(sigmas=(0.0, 0.8), weights=(0.1, 1.0))
SUMS = {"own": (OWN,), "coupled": (COUPLED,), "eye and structure": (EYE, Ssimulacra2())}


def picture(seed=0):
    """Smooth colours away from black, in linear light [3 h w]."""
    noise = np.random.default_rng(seed).uniform(0, 1, (3, *SHAPE))
    return jnp.asarray(0.1 + 0.8 * scipy.ndimage.gaussian_filter(noise, (0, 1, 1)), jnp.float32)


def palette():
    """As a file rounds it."""
    return color.linear_from_srgb8(np.random.default_rng(1).integers(90, 245, (K, 3), np.uint8))


def as_written(colors):
    return color.linear_from_srgb8(color.srgb8_from_linear(colors))


def some_indices(seed=2):
    return jnp.asarray(np.random.default_rng(seed).integers(0, K, SHAPE), jnp.int32)


def shown(indices, colors):
    return jnp.moveaxis(jnp.asarray(colors)[indices], -1, 0)


@functools.cache
def quadratic(eye):
    grid = polish.grid_of((3, *SHAPE), eye)
    return jax.jit(polish.quadratic, static_argnums=(2, 3))(picture(), None, eye, grid), grid


def problem(losses, *, free=(1, 1, 1, 1), target=None):
    eye = next((loss for loss in losses if loss == EYE), COUPLED)
    target = picture() if target is None else target
    weights = np.ones(len(losses), np.float32)
    form, grid = quadratic(eye)
    return judged.Problem(target, tuple(losses), weights, np.array(free, np.float32), eye, grid, form)


@functools.cache
def descended(name, rounds, tolerance=0.0):
    """Everything that a descent yields."""
    start = (some_indices(), jnp.asarray(palette()), problem(SUMS[name]))
    found = descent.descend(*start, rounds, tolerance=tolerance, key=KEY)
    return [(share, np.asarray(colors), np.asarray(indices)) for share, colors, indices in found]


def certain(light):
    nothing = jnp.zeros(light.shape[1:])
    covariance = jnp.zeros((6, *light.shape[1:]))
    return Rendered(image=light, covariance=covariance, entropy=nothing, bits=jnp.zeros(()))


@functools.partial(jax.jit, static_argnums=0)
def structure_of(loss, pictures, target):
    return jax.lax.map(lambda light: loss(certain(light), target), pictures)


def summed(losses, pictures):
    """The sum of the losses of each picture [n 3 h w]: by SciPy and NumPy in float64, but for SSIMULACRA2."""
    pictures = np.asarray(pictures, float)
    target = np.asarray(picture(), float)
    total = np.zeros(len(pictures))
    for loss in losses:
        if isinstance(loss, Ssimulacra2):
            lights = np.asarray(pictures, np.float32)
            batches = np.array_split(lights, range(PIXELS, len(lights), PIXELS))  # of one size: compiled once
            for n, batch in enumerate(batches):
                padded = np.concatenate([batch, np.repeat(batch[:1], PIXELS - len(batch), axis=0)])
                values = np.asarray(structure_of(loss, padded, picture()))[: len(batch)]
                total[n * PIXELS : n * PIXELS + len(batch)] += values
            continue
        scales = list(zip(loss.sigmas, loss.weights, strict=True)) if isinstance(loss, BlurError) else [(0.0, 1.0)]
        for sigma, weight in scales:
            planes = [
                scipy.ndimage.gaussian_filter(p, (*[0] * (p.ndim - 2), sigma, sigma), mode="reflect", truncate=3.0)
                for p in (np.moveaxis(pictures, 1, 0), target)
            ]
            if loss.space == "oklab":
                planes = [color.oklab_from_linear(p) for p in planes]
            total += weight * ((planes[0] - planes[1][:, None]) ** 2).sum(axis=0).mean(axis=(1, 2))
    return total


def loss_of(losses, indices, colors):
    return summed(losses, shown(indices, colors)[None])[0]


def after_every_single_change(losses, indices, colors):
    """[pixel, entry]: the loss if that pixel had that entry, the others as they are."""
    changed = np.broadcast_to(indices.ravel(), (PIXELS, K, PIXELS)).copy()
    every = np.arange(PIXELS)
    changed[every, :, every] = np.arange(K)
    lights = np.moveaxis(np.asarray(colors)[changed.reshape(-1, *SHAPE)], -1, 1)
    return summed(losses, lights).reshape(PIXELS, K)


# One round


def shares_of(before, after, moves):
    """What each pixel has brought: the mean of both slopes, times its move."""
    return 0.5 * ((np.asarray(before, float) + np.asarray(after, float)) * moves).sum(axis=0)


@pytest.mark.parametrize("name", ["own", "coupled"])
def test_the_pixels_shares_add_up_to_the_change_of_a_loss_that_is_quadratic_in_light(name):
    whole, colors = problem(SUMS[name]), jnp.asarray(palette())
    old, new = some_indices(2), some_indices(3)
    before, after = whole.at(old, colors), whole.at(new, colors)
    shares = shares_of(before.slope, after.slope, np.asarray(shown(new, colors) - shown(old, colors), float))
    change = loss_of(SUMS[name], new, colors) - loss_of(SUMS[name], old, colors)
    assert abs(change) > 0.01 * before.loss
    assert shares.sum() == pytest.approx(change, rel=1e-4)
    assert after.loss - before.loss == pytest.approx(change, rel=1e-4)


def test_exactly_the_pixels_that_help_by_themselves_are_kept():
    whole, colors = problem(SUMS["own"]), jnp.asarray(palette())
    old, new = some_indices(2), some_indices(3)
    chosen = np.random.default_rng(4).uniform(size=SHAPE) < 0.5
    proposed = jnp.where(jnp.asarray(chosen), new, old)
    before, after = whole.at(old, colors), whole.at(proposed, colors)
    caution = jnp.ones(SHAPE)
    kept, caution, _ = proposals.accept(
        old, proposed, colors, before.slope, after.slope, jnp.asarray(chosen & (np.asarray(new != old))), caution
    )
    target = np.asarray(picture(), float)
    errors = [((np.asarray(shown(indices, colors), float) - target) ** 2).sum(axis=0) for indices in (old, proposed)]
    np.testing.assert_array_equal(kept, np.where(errors[1] < errors[0], proposed, old))
    np.testing.assert_array_equal(np.asarray(caution) < 1, errors[1] < errors[0])
    np.testing.assert_array_equal(np.asarray(caution) > 1, errors[1] > errors[0])
    assert 0 < (kept != old).sum() < chosen.sum()


@pytest.mark.parametrize("reach", [2, 5])
def test_pixels_that_are_proposed_are_far_apart_and_would_gain(reach):
    whole, colors, indices = problem(SUMS["own"]), jnp.asarray(palette()), some_indices()
    found = whole.at(indices, colors)
    curvature = judged.curvature_of(found, whole, KEY)
    waiting = jnp.zeros(SHAPE, bool).at[:, :4].set(True)
    nothing = jnp.full((0, *SHAPE), -1, jnp.int32)
    proposed, chosen = proposals.propose(
        indices, colors, found.slope, curvature, jnp.ones(SHAPE), waiting, nothing, reach
    )
    np.testing.assert_array_equal(proposed != indices, chosen)
    places = np.argwhere(chosen)
    assert len(places) > 1
    assert places[:, 1].min() >= 4
    apart = np.abs(places[:, None] - places[None]).max(axis=-1) + 100 * np.eye(len(places), dtype=int)
    assert apart.min() > reach
    errors = after_every_single_change(SUMS["own"], np.asarray(indices), colors)
    gains = errors[np.arange(PIXELS), np.asarray(proposed).ravel()] < loss_of(SUMS["own"], indices, colors)
    assert gains[np.asarray(chosen).ravel()].mean() > 0.9


def test_an_entry_that_was_tried_is_not_proposed_until_a_pixel_near_it_changes():
    tried = jnp.full((descent.TRIES, *SHAPE), -1, jnp.int32)
    chosen = jnp.zeros(SHAPE, bool).at[3, 3].set(True).at[3, 15].set(True)
    nowhere = jnp.zeros(SHAPE, bool)
    entry = jnp.where(chosen, some_indices(), 0)
    tried = proposals.remember(tried, entry, chosen, nowhere)
    assert int(tried[0, 3, 3]) == int(entry[3, 3])
    assert int((tried >= 0).sum()) == 2
    tried = proposals.remember(tried, entry, nowhere, nowhere.at[4, 4].set(True))
    assert int(tried[0, 3, 3]) == -1
    assert int(tried[0, 3, 15]) == int(entry[3, 15])


def test_the_curvature_of_a_squared_error_in_oklab_is_its_metric():
    # At the target itself, where the metric's own slope does not matter. Signs are not infinitesimal: hence 3 %.
    colors = jnp.asarray(palette())
    indices = some_indices()
    light = shown(indices, colors)
    whole = problem((ExpectedImageError(space="oklab"),), target=light)
    curvature = judged.curvature_of(whole.at(indices, colors), whole, KEY)
    expected = 2 / PIXELS * color.oklab_metric(np.asarray(light, float))
    assert (np.abs(curvature - expected) <= 0.03 * np.abs(expected).max(axis=0)).all()


# A whole descent


@pytest.mark.parametrize("name", SUMS)
def test_the_loss_never_rises_but_when_the_palette_is_rounded(name):
    seen = descended(name, 60)
    shares = [share for share, *_ in seen]
    assert shares == sorted(shares)
    assert shares[-1] <= 1
    losses = [loss_of(SUMS[name], some_indices(), palette())]
    losses += [loss_of(SUMS[name], indices, colors) for _, colors, indices in seen]
    written = [np.array_equal(colors, as_written(colors)) for _, colors, _ in seen]
    rounding = written.index(True)
    assert all(written[rounding:])
    assert 0 < rounding < len(seen) - 1
    for n, (before, after) in enumerate(itertools.pairwise(losses)):
        assert n == rounding or after <= before * (1 + 2e-6)
    assert losses[rounding + 1] < losses[rounding] * 1.01
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["own", "coupled"])
def test_a_long_descent_under_a_quadratic_loss_ends_where_no_single_change_improves(name):
    share, colors, indices = descended(name, 6000, 1e-9)[-1]
    assert share < 1  # it ended by itself
    losses = after_every_single_change(SUMS[name], indices, colors)
    assert losses.min() >= loss_of(SUMS[name], indices, colors) * (1 - 1e-6)


def test_a_long_descent_under_any_losses_ends_where_no_single_change_improves():
    name = "eye and structure"
    share, colors, indices = descended(name, 9000, 1e-9)[-1]
    assert share < 1
    losses = after_every_single_change(SUMS[name], indices, colors)
    now = losses[np.arange(PIXELS), indices.ravel()]
    gains = 1 - losses.min(axis=1) / now
    assert gains.max() <= 1e-6


def test_pixels_that_settle_in_a_picture_of_many_still_bring_something():
    """Thousands that change at once hinder each other: were they too bold, every round would be in vain."""
    target = jnp.moveaxis(color.linear_from_srgb8(photo(h=96, w=140)), -1, 0)
    colors = jnp.asarray(color.linear_from_srgb8(np.random.default_rng(1).integers(0, 256, (8, 3), np.uint8)))
    indices = nearest(target, color.oklab_from_linear(colors.T).T)
    grid = polish.grid_of(target.shape, EYE)
    whole = judged.Problem(target, SUMS["eye and structure"], np.ones(2), np.zeros(8), EYE, grid, None)
    rounds = list(descent.descend(indices, colors, whole, 90, tolerance=0.0, key=KEY))
    before, after = (whole.at(jnp.asarray(rounds[n][2]), colors).loss for n in (-31, -1))
    assert after < 0.999 * before


def test_pinned_entries_stay_and_the_others_move():
    start = palette()
    whole = problem(SUMS["coupled"], free=(0, 1, 0, 1))
    found = descent.descend(some_indices(), jnp.asarray(start), whole, 12, tolerance=0.0, key=KEY)
    for _, colors, _ in found:
        np.testing.assert_array_equal(np.asarray(colors)[[0, 2]], start[[0, 2]])
    assert np.abs(np.asarray(colors)[[1, 3]] - start[[1, 3]]).max(axis=1).min() > 1e-3


def test_the_key_decides_all_chance():
    def run(key):
        start = (some_indices(), jnp.asarray(palette()), problem(SUMS["coupled"]))
        return [np.asarray(indices) for *_, indices in descent.descend(*start, 24, tolerance=0.0, key=key)]

    first, again, other = run(KEY), run(KEY), run(jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


# Weights


def test_shares_make_the_sum_start_at_the_sum_of_the_weights():
    losses = (dataclasses.replace(OWN, weight=0.5), dataclasses.replace(COUPLED, weight=Linear(9.0, 2.0)))
    start = (some_indices(), jnp.asarray(palette()))
    plain = judged.weights_of(losses, *start, picture(), relative=False)
    np.testing.assert_allclose(plain, [0.5, 2.0])
    weights = judged.weights_of(losses, *start, picture(), relative=True)
    whole = dataclasses.replace(problem(losses), weights=weights)
    assert whole.at(*start).loss == pytest.approx(2.5, rel=1e-5)
    values = [loss_of((loss,), *start) for loss in losses]
    np.testing.assert_allclose(weights, [0.5, 2.0] / np.array(values), rtol=1e-4)


# Somebody else's loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps(Loss):
    """How the steps from column to column differ from the target's: a loss that the package has never seen."""

    def __call__(self, rendered, target):
        return jnp.mean(jnp.abs(jnp.diff(rendered.image, axis=2) - jnp.diff(target, axis=2)) ** 1.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenConfig(Config):
    """As `Config`, whose type names the losses of the package only."""

    losses: dict[str, Loss] = dataclasses.field(default_factory=dict)


def steps_of(artifact, source):
    light = [np.moveaxis(color.linear_from_srgb8(pixels), -1, 0) for pixels in (artifact.decode(), source)]
    differences = [np.diff(planes.astype(float), axis=2) for planes in light]
    return (np.abs(differences[0] - differences[1]) ** 1.5).mean()


@pytest.mark.parametrize("beside", [{}, {"eye": EYE}], ids=["alone", "beside an eye"])
def test_a_loss_from_elsewhere_is_lowered_with_nothing_else_touched(beside):
    pixels = color.srgb8_from_linear(np.moveaxis(np.asarray(picture()), 0, -1))
    base = palette_config("best", colors=K)
    settings = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    config = dataclasses.replace(OpenConfig(**settings), losses=beside | {"steps": Steps()})
    dither = base.pipeline.dither
    swept = dither.sweeps / (dither.sweeps + dither.rounds)
    seen = [stage for stage in stages(read(pixels), config) if stage.artifact is not None]
    before = [stage for stage in seen if stage.share <= swept][-1]
    assert seen[-1].share > swept
    assert steps_of(seen[-1].artifact, pixels) < 0.9 * steps_of(before.artifact, pixels)
    assert compress(read(pixels), config).data == seen[-1].artifact.to_bytes()  # same seed, same bytes
