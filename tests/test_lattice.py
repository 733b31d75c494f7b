import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from diffquant.export.lattice import LATTICE, Grid, bands_of, gather, spread
from diffquant.signal.filters import gaussian_kernel

SIGMA, MARGIN = 0.7, 8  # the kernel's radius is 3
KERNEL = gaussian_kernel(SIGMA)
PHASES = jnp.stack(jnp.meshgrid(*[jnp.arange(LATTICE)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
each_grid = pytest.mark.parametrize(
    "grid", [Grid(*shape, MARGIN) for shape in [(12, 20), (9, 14), (1, 3)]], ids=lambda grid: f"{grid.h}x{grid.w}"
)


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scipy_blur(planes):
    return scipy.ndimage.gaussian_filter(planes.astype(float), (0, SIGMA, SIGMA), mode="reflect")


def each_phase(function, grid):
    """`function(phase, bands at the phase, argument of the phase)` for all phases, compiled once."""
    rows, columns = bands_of(grid, KERNEL)

    def at(phase, argument):
        return function((phase[0], phase[1]), (rows[phase[0]], columns[phase[1]]), argument)

    return jax.jit(lambda arguments: jax.lax.map(lambda pair: at(*pair), (PHASES, arguments)))


def sizes(grid):
    return [LATTICE * n + 2 * grid.margin for n in grid.sites]


@functools.cache
def gathered(grid):
    return each_phase(lambda _, bands, window: jnp.stack([gather(plane, bands, grid) for plane in window]), grid)


@functools.cache
def spreaded(grid):
    return each_phase(lambda _, bands, moves: spread(moves, bands, grid), grid)


@each_grid
def test_gathering_gives_the_blur_at_the_sites_of_every_phase(grid):
    planes = noise(0, 2, grid.h, grid.w)
    frame = grid.frame(jnp.asarray(planes))
    windows = jnp.stack([grid.window(frame, tuple(phase)) for phase in PHASES])
    expected = grid.split(jnp.asarray(scipy_blur(planes), jnp.float32))  # 0 at sites outside the picture
    got = gathered(grid)(windows).reshape(expected.shape)
    np.testing.assert_allclose(got, expected, atol=2e-6)


@each_grid
def test_spreading_gives_the_blur_of_the_sparse_picture_for_every_phase(grid):
    moves = grid.split(jnp.asarray(noise(0, 2, grid.h, grid.w)))
    windows = spreaded(grid)(moves.reshape(-1, *moves.shape[2:]))
    for (row, column), window in zip(np.asarray(PHASES), windows, strict=True):
        only = jnp.zeros_like(moves).at[row, column].set(moves[row, column])
        frame = np.zeros_like(grid.frame(jnp.zeros((2, grid.h, grid.w))))
        frame[:, row : row + window.shape[1], column : column + window.shape[2]] = window
        np.testing.assert_allclose(grid.crop(jnp.asarray(frame)), scipy_blur(np.asarray(grid.join(only))), atol=2e-6)


@each_grid
def test_spreading_is_the_adjoint_of_gathering(grid):
    windows, moves = noise(0, LATTICE**2, 2, *sizes(grid)), noise(1, LATTICE**2, 2, *grid.sites)
    there, back = np.asarray(gathered(grid)(windows)), np.asarray(spreaded(grid)(moves))
    np.testing.assert_allclose((there * moves).sum((1, 2, 3)), (windows * back).sum((1, 2, 3)), rtol=1e-4, atol=1e-4)


@each_grid
def test_splitting_and_joining_lose_nothing(grid):
    planes = noise(0, 2, grid.h, grid.w)
    phases = grid.split(jnp.asarray(planes))
    assert phases.shape == (LATTICE, LATTICE, 2, *grid.sites)
    np.testing.assert_array_equal(grid.join(phases), planes)
    for row in range(min(LATTICE, grid.h)):
        for column in range(min(LATTICE, grid.w)):
            inside = planes[:, row::LATTICE, column::LATTICE]
            m, n = inside.shape[1:]
            np.testing.assert_array_equal(phases[row, column, :, :m, :n], inside)
    assert np.count_nonzero(phases) == planes.size


@each_grid
def test_cropping_undoes_framing_and_every_window_fits(grid):
    planes = jnp.asarray(noise(0, 2, grid.h, grid.w))
    frame = grid.frame(planes)
    np.testing.assert_array_equal(grid.crop(frame), planes)
    assert np.count_nonzero(frame) == planes.size
    for row, column in np.asarray(PHASES):
        window = grid.window(frame, (jnp.int32(row), jnp.int32(column)))
        expected = frame[:, row : row + sizes(grid)[0], column : column + sizes(grid)[1]]
        np.testing.assert_array_equal(window, expected)
