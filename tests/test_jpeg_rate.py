"""The smooth rate against the bits that it is given, and against files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jpeg_pictures import start

from diffquant.jpeg import tables
from diffquant.jpeg.descent import rounded
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.judge import natural, zigzag
from diffquant.jpeg.rate import smooth_rate

SIZE = 72, 104
GEOMETRY = Geometry(*SIZE)


def blocks_of(levels, geometry=GEOMETRY):
    return [natural(level, shape).astype(np.float32) for level, shape in zip(levels, geometry.blocks, strict=True)]


def bits(rate, blocks):
    return float(rate([jnp.asarray(block) for block in blocks]))


def slopes(rate, blocks):
    return jax.grad(lambda blocks: rate(blocks))([jnp.asarray(block) for block in blocks])


def bits_of_file(levels, geometry, distance):
    whole = tables.whole(tables.steps(geometry, distance))
    return 8.0 * len(
        JpegImage(tuple(b.astype(np.int16) for b in blocks_of(levels, geometry)), whole, geometry).to_bytes()
    )


def fitted(distance=3.0, bits=10_000.0):
    """A rate, and the levels that it was fitted to."""
    *_, levels = start(*SIZE, distance=distance)
    return smooth_rate(levels, bits), blocks_of(levels)


@pytest.mark.parametrize(("subsampling", "components"), [("420", 3), ("422", 3), ("444", 3), ("444", 1)])
@pytest.mark.parametrize("distance", [0.3, 3.0, 20.0])
def test_it_has_the_given_bits_at_the_levels_that_it_was_fitted_to(subsampling, components, distance):
    geometry, _, _, levels = start(*SIZE, subsampling, components, distance=distance)
    rate = smooth_rate(levels, 12_345.0)
    assert len(rate.curves) == components
    assert bits(rate, blocks_of(levels, geometry)) == pytest.approx(12_345, rel=1e-4)


@pytest.mark.parametrize("distance", [0.3, 3.0, 20.0])
def test_every_ac_level_costs_more_the_larger_it_is(distance):
    rate, blocks = fitted(distance)
    for block, slope in zip(blocks, slopes(rate, blocks), strict=True):
        ac = np.ones(block.shape, bool)
        ac[:, :, 0, 0] = False
        np.testing.assert_array_equal(np.sign(slope)[ac], np.sign(block)[ac])
    larger = [
        np.where(np.indices(block.shape).sum(0) % 5 == 0, 1.5 * block + 0.25 * np.sign(block), block)
        for block in blocks
    ]
    for block, more in zip(blocks, larger, strict=True):
        more[:, :, 0, 0] = block[:, :, 0, 0]
    assert bits(rate, larger) > bits(rate, blocks)


def test_dc_costs_what_it_differs_from_the_block_before():
    rate, blocks = fitted()

    def with_luma_dc(values):
        luma = blocks[0].copy()
        luma[:, :, 0, 0] = np.reshape(values, luma.shape[:2])
        return bits(rate, [luma, *blocks[1:]])

    count = blocks[0].shape[0] * blocks[0].shape[1]
    ramp, zigzagged = np.arange(count) * 2.0, np.where(np.arange(count) % 2, 40.0, 0.0)
    assert with_luma_dc(ramp) < with_luma_dc(2 * ramp) < with_luma_dc(zigzagged)
    assert with_luma_dc(ramp) == pytest.approx(with_luma_dc(-ramp), rel=1e-6)


def test_half_a_level_costs_less_than_half_again_as_much():
    # Concave: the first step away from 0 costs most, as a symbol with its run does.
    rate, blocks = fitted()
    nothing = [np.zeros_like(block) for block in blocks]

    def one(size):
        luma = nothing[0].copy()
        luma[0, 0, 2, 1] = size
        return bits(rate, [luma, *nothing[1:]]) - bits(rate, nothing)

    assert 0 < one(0.5) < one(1.0) < one(2.0)
    assert one(2.0) - one(1.0) < one(1.0) < 2 * one(0.5)


@pytest.mark.parametrize(("fitted_at", "used_at"), [(3.0, 2.0), (2.0, 3.0), (1.0, 1.3)])
def test_it_stays_near_the_size_of_files_with_somewhat_other_tables(fitted_at, used_at):
    geometry, ideal, _, levels = start(*SIZE, distance=fitted_at)
    rate = smooth_rate(levels, bits_of_file(levels, geometry, fitted_at))
    steps = tuple(zigzag(table.astype(np.float32))[0] for table in tables.whole(tables.steps(geometry, used_at)))
    others = rounded(ideal, steps, 0.5)
    assert bits(rate, blocks_of(others)) == pytest.approx(bits_of_file(others, geometry, used_at), rel=0.08)


def test_levels_that_are_all_zero_have_bits_and_a_finite_slope():
    levels = [np.zeros((n, 64), np.int32) for n in (rows * columns for rows, columns in GEOMETRY.blocks)]
    rate = smooth_rate(levels, 5_000.0)
    blocks = blocks_of(levels)
    assert bits(rate, blocks) == pytest.approx(5_000)
    assert all(np.isfinite(slope).all() for slope in slopes(rate, blocks))
