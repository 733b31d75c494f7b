import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from diffquant import color
from diffquant.export import polish
from diffquant.export.lattice import LATTICE
from diffquant.interfaces import Rendered
from diffquant.losses import BlurError

# A picture of at most 4x4 pixels has one pixel in each phase: there they move one at a time, whatever the eye's width.
# With NARROW, whose blur reaches one pixel, pixels of a phase never meet.
EYE = BlurError()
NARROW = BlurError(sigmas=(0.4,), weights=(1.0,))
# With an unblurred scale, and all that an eye may be blind to.
PARTIAL = {"chroma": (0.02, 0.4), "masking": (0.03, 0.05)}
FINE = BlurError(sigmas=(0.0, 0.4), weights=(0.3, 1.0), **PARTIAL)
MIXED = BlurError(sigmas=(0.0, 1.9), weights=(0.15, 1.0), variance=0.0, **PARTIAL)
PHASES = LATTICE * LATTICE
K = 5


def picture(shape):
    """Colours away from black, float64 [3 h w], the same in float32."""
    noise = np.random.default_rng(0).uniform(0, 1, (3, *shape))
    return (0.1 + 0.8 * scipy.ndimage.gaussian_filter(noise, (0, 1, 1))).astype(np.float32).astype(float)


def palette():
    return np.random.default_rng(1).uniform(0.1, 0.9, (K, 3)).astype(np.float32)


def some_indices(shape, seed=2):
    return np.random.default_rng(seed).integers(0, K, shape)


def shown(shape, seed):
    """The picture of some indices [3 h w]; none for None."""
    return None if seed is None else np.moveaxis(palette()[some_indices(shape, seed)], -1, 0).astype(float)


class Dense:
    """Q by its definition, in float64: the blurs are matrices, made by SciPy. Exact for the picture of `seed`."""

    def __init__(self, shape, eye, seed=None):
        h, w = shape
        self.target = picture(shape).reshape(3, -1)
        self.scales = []
        impulses = np.eye(h * w).reshape(-1, h, w)
        lightness = color.oklab_from_linear(picture(shape))[0]
        near = [scipy.ndimage.gaussian_filter(plane, 1.5, mode="reflect") for plane in (lightness, lightness**2)]
        variance = np.maximum(near[1] - near[0] ** 2, 0).ravel()
        ones, zeros = (1.0,) * len(eye.sigmas), (0.0,) * len(eye.sigmas)
        chroma, masking = eye.chroma or ones, eye.masking or zeros
        for weight, sigma, share, contrast in zip(eye.weights, eye.sigmas, chroma, masking, strict=True):
            blurred = scipy.ndimage.gaussian_filter(impulses, (0, sigma, sigma), mode="reflect", truncate=3.0)
            matrix = blurred.reshape(h * w, h * w)
            seen = None if seed is None else shown(shape, seed).reshape(3, -1) @ matrix
            metric = color.oklab_metric(self.target @ matrix, share, seen)
            if contrast:
                metric = metric / (1 + variance / contrast**2)
            full = np.empty((3, 3, h * w))
            for (i, j), entry in zip(color.UPPER, metric, strict=True):
                full[i, j] = full[j, i] = weight * entry
            self.scales.append((matrix, full))

    def loss(self, indices, colors):
        """Per pixel."""
        error = colors[indices.ravel()].T - self.target
        total = 0.0
        for matrix, metric in self.scales:
            seen = error @ matrix
            total += np.einsum("ip,ijp,jp->", seen, metric, seen)
        return total / indices.size

    def best(self, indices, colors, row, column):
        """Q for each colour that the pixel could have, the others given."""
        changed = np.array(indices)
        losses = []
        for k in range(K):
            changed[row, column] = k
            losses.append(self.loss(changed, colors))
        return np.array(losses)

    def refitted(self, indices, free):
        """Least squares over the `free` colours [k 3]."""
        pixels = indices.size
        rows, sides = [], []
        chosen = np.eye(K)[indices.ravel()]  # [p k]
        for matrix, metric in self.scales:
            root = np.linalg.cholesky(np.moveaxis(metric, -1, 0)).transpose(0, 2, 1)  # [p 3 3]: metric = root' root
            seen = matrix @ chosen
            rows.append(np.einsum("pij,pk->pikj", root, seen).reshape(3 * pixels, 3 * K))
            sides.append(np.einsum("pij,jp->pi", root, self.target @ matrix).ravel())
        matrix, side, colors = np.concatenate(rows), np.concatenate(sides), palette().astype(float).ravel()
        moving = np.repeat(free, 3)
        side = side - matrix[:, ~moving] @ colors[~moving]
        colors[moving] = np.linalg.lstsq(matrix[:, moving], side)[0]
        return colors.reshape(K, 3)


dense = functools.cache(Dense)


_quadratic = jax.jit(polish.quadratic, static_argnums=(2, 3))


@functools.cache
def problem(shape, eye, seed=None):
    grid = polish.grid_of((3, *shape), eye)
    at = None if seed is None else jnp.asarray(shown(shape, seed), jnp.float32)
    return _quadratic(jnp.asarray(picture(shape), jnp.float32), at, eye, grid), grid


_split = jax.jit(lambda indices, grid: grid.split(indices[None])[:, :, 0], static_argnums=1)
_join = jax.jit(lambda phases, grid: grid.join(phases[:, :, None])[0], static_argnums=1)
_sweep = jax.jit(polish.sweep, static_argnums=(3, 4))
_loss = jax.jit(polish.loss, static_argnums=(3, 4))
_refit = jax.jit(polish.refit, static_argnums=(4, 5))


def split(indices, grid):
    return _split(jnp.asarray(indices, jnp.int32), grid)


def swept(indices, colors, eye, order, detail=0.0):
    quadratic, grid = problem(indices.shape, eye)
    moved = _sweep(split(indices, grid), jnp.asarray(colors), quadratic, eye, grid, jnp.asarray(order), detail)
    return np.asarray(_join(moved, grid))


def refitted(indices, free, eye, steps, detail=0.0):
    quadratic, grid = problem(indices.shape, eye)
    free = jnp.asarray(free, jnp.float32)
    return np.asarray(_refit(split(indices, grid), jnp.asarray(palette()), free, quadratic, eye, grid, steps, detail))


@pytest.mark.parametrize(("eye", "measured"), [(EYE, None), (MIXED, None), (MIXED, 4)], ids=["EYE", "MIXED", "at"])
def test_the_loss_is_the_dense_quadratic(eye, measured):
    shape = (9, 13)
    quadratic, grid = problem(shape, eye, measured)
    for seed in (2, 3):
        indices = some_indices(shape, seed)
        got = _loss(split(indices, grid), jnp.asarray(palette()), quadratic, eye, grid)
        assert float(got) == pytest.approx(dense(shape, eye, measured).loss(indices, palette()), rel=1e-4)


def test_the_quadratic_is_the_eyes_own_loss_for_the_picture_that_it_was_measured_with():
    shape, seed = (9, 13), 2
    light = jnp.asarray(shown(shape, seed), jnp.float32)
    nothing = jnp.zeros(shape)
    rendered = Rendered(image=light, covariance=jnp.zeros((6, *shape)), entropy=nothing, bits=jnp.zeros(()))
    expected = float(jax.jit(MIXED)(rendered, jnp.asarray(picture(shape), jnp.float32)))
    found = {}
    for measured in (seed, None):
        quadratic, grid = problem(shape, MIXED, measured)
        indices = split(some_indices(shape, seed), grid)
        found[measured] = float(_loss(indices, jnp.asarray(palette()), quadratic, MIXED, grid))
    assert found[seed] == pytest.approx(expected, rel=1e-4)
    assert abs(found[None] - expected) > 0.01 * expected  # to first order it is another


@pytest.mark.parametrize(("eye", "phase"), [(NARROW, 0), (NARROW, 6), (FINE, 11)], ids=["0", "6", "FINE-11"])
def test_a_phase_takes_the_best_colour_of_every_site_and_leaves_the_others(eye, phase):
    shape, colors = (9, 13), palette()
    before = some_indices(shape)
    after = swept(before, colors, eye, [phase] * PHASES)
    sites = np.zeros(shape, bool)
    sites[phase // LATTICE :: LATTICE, phase % LATTICE :: LATTICE] = True
    np.testing.assert_array_equal(after[~sites], before[~sites])
    for row, column in np.argwhere(sites):
        losses = dense(shape, eye).best(before, colors, row, column)
        assert losses[after[row, column]] <= losses.min() + 1e-6 * losses.max()


def test_detail_adds_the_unblurred_error():
    # The oracle: the same eye with one more scale, of no width.
    shape, colors, detail, phase = (9, 13), palette(), 2.0, 6
    exact = dense(shape, BlurError(sigmas=(*NARROW.sigmas, 0.0), weights=(*NARROW.weights, detail)))
    before = some_indices(shape)
    after = swept(before, colors, NARROW, [phase] * PHASES, detail)
    changed = 0
    for row in range(phase // LATTICE, shape[0], LATTICE):
        for column in range(phase % LATTICE, shape[1], LATTICE):
            losses = exact.best(before, colors, row, column)
            assert losses[after[row, column]] <= losses.min() + 1e-6 * losses.max()
            changed += after[row, column] != dense(shape, NARROW).best(before, colors, row, column).argmin()
    assert changed > 0  # it makes a difference
    free = np.ones(K, bool)
    np.testing.assert_allclose(refitted(before, free, NARROW, 40, detail), exact.refitted(before, free), atol=2e-3)


@pytest.mark.parametrize("phase", [0, 7, 13])  # the last has no pixel: rows are 0 to 2
def test_one_pixel_takes_its_best_colour_under_a_wide_eye(phase):
    shape, colors = (3, 4), palette()
    before = some_indices(shape)
    after = swept(before, colors, EYE, [phase] * PHASES)
    row, column = divmod(phase, LATTICE)
    expected = before.copy()
    if row < shape[0]:
        expected[row, column] = dense(shape, EYE).best(before, colors, row, column).argmin()
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize(("shape", "eye"), [((9, 13), NARROW), ((3, 4), EYE)], ids=["9x13", "3x4"])
def test_a_sweep_never_raises_the_loss_and_ends_where_no_single_change_lowers_it(shape, eye):
    colors, indices = palette(), some_indices(shape)
    rng = np.random.default_rng(0)
    exact = dense(shape, eye)
    loss = [exact.loss(indices, colors)]
    for _ in range(12):
        before, indices = indices, swept(indices, colors, eye, rng.permutation(PHASES))
        loss.append(exact.loss(indices, colors))
        assert loss[-1] <= loss[-2] * (1 + 1e-6)
        if (before == indices).all():
            break
    assert (before == indices).all()
    assert loss[-1] < 0.5 * loss[0]
    for row, column in np.ndindex(shape):
        assert exact.best(indices, colors, row, column).min() >= loss[-1] * (1 - 1e-5)


def test_sweeps_of_a_wide_eye_end_far_below_where_they_began():
    shape, colors = (9, 13), palette()
    distances = (
        color.oklab_from_linear(picture(shape))[..., None] - color.oklab_from_linear(colors.T)[:, None, None]
    ) ** 2
    nearest = distances.sum(axis=0).argmin(axis=-1)
    indices, rng = nearest, np.random.default_rng(0)
    for _ in range(4):
        indices = swept(indices, colors, EYE, rng.permutation(PHASES))
    exact = dense(shape, EYE)
    assert exact.loss(indices, colors) < 0.5 * exact.loss(nearest, colors)


@pytest.mark.parametrize(("eye", "pinned"), [(EYE, 0), (EYE, 2), (MIXED, 2)], ids=["0", "2", "MIXED-2"])
def test_refitting_gives_the_least_squares_palette_and_pinned_entries_stay(eye, pinned):
    shape, free = (9, 13), np.arange(K) >= pinned
    indices = some_indices(shape)
    expected = dense(shape, eye).refitted(indices, free)
    assert expected.min() > 0
    assert expected.max() < 1  # no clipping in the way
    got = refitted(indices, free, eye, 40)
    np.testing.assert_array_equal(got[:pinned], palette()[:pinned])
    np.testing.assert_allclose(got, expected, atol=2e-3)
    few = refitted(indices, free, eye, 4)
    exact = dense(shape, eye)
    start, middle, end = (exact.loss(indices, colors) for colors in (palette(), few, expected))
    assert end <= middle < start
    assert middle - end < 0.1 * (start - end)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_the_smallest_pictures_work(shape):
    eye = BlurError(sigmas=(0.7,), weights=(1.0,))
    colors, start = palette(), some_indices(shape)
    exact = dense(shape, eye)
    indices = start
    for _ in range(3):
        indices = swept(indices, colors, eye, np.arange(PHASES))
    after = exact.loss(indices, colors)
    assert math.isfinite(after)
    assert after <= exact.loss(start, colors)
    if math.prod(shape) == 1:
        assert after == pytest.approx(exact.best(start, colors, 0, 0).min())
