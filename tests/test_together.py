"""Polishing padded pictures by shared programs against polishing each as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import photo

from diffquant import color
from diffquant.export import polish, together
from diffquant.export.dither import Polish
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette
from diffquant.runner import keys, never
from diffquant.signal.filters import Extent

EYE = BlurError(sigmas=(0.0, 0.7), weights=(0.15, 1.0), chroma=(0.02, 0.4), masking=(0.03, 0.0))
KEY = keys(3)[1]


def start_of(pixels, colors=4):
    """First palette, nearest entries: what the polish begins with."""
    target = color.linear_from_srgb8(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))
    start = Palette(colors=colors).start(pixels)
    pipeline = Palette(colors=colors).build_from(start, jnp.asarray(target))
    light, free = np.asarray(pipeline.palette.linear()), pipeline.palette.is_free()
    return pipeline, together.Start(target, start.astype(np.float32), light, free)


def apart(pixels, dither, colors=4):
    """Palette and indices by the picture's own programs."""
    pipeline, start = start_of(pixels, colors)
    target = jnp.asarray(start.target)
    *_, (_, palette, index) = dither(pipeline.assignment, pipeline.palette, target, [EYE], key=KEY)
    return palette, index


def jointly(pictures, dither, stop=never, colors=4):
    starts = [start_of(pixels, colors)[1] for pixels in pictures]
    return dither.together(starts, [EYE], key=KEY, stop=stop)


def assert_same(found, expected):
    for (palette, index), (other, another) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(palette, other)
        np.testing.assert_array_equal(index, another)


@pytest.mark.parametrize("shape", [(1, 9), (30, 41)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_a_padded_picture_is_polished_as_it_is_without(shape):
    pixels, dither = photo(1, *shape), Polish(sweeps=4)
    ((palette, index),) = jointly([pixels], dither)
    expected, reference = apart(pixels, dither)
    assert index.shape == shape
    np.testing.assert_allclose(palette, expected, atol=1e-6)
    assert np.mean(index == reference) >= 0.999  # float32 rounds otherwise where borders are folded


def test_a_polish_that_settles_early_does_so_with_padding_too():
    pixels, dither = photo(2, 20, 33), Polish(sweeps=12, detail=0.0, tolerance=0.5)
    ((palette, index),) = jointly([pixels], dither)
    expected, reference = apart(pixels, dither)
    whole = apart(pixels, Polish(sweeps=12, detail=0.0, tolerance=0.0))
    assert np.mean(index == reference) >= 0.999
    np.testing.assert_allclose(palette, expected, atol=1e-6)
    assert np.mean(index == whole[1]) < 0.999  # it would have gone on


prepared = jax.jit(polish.quadratic, static_argnums=(2, 3))
swept = jax.jit(polish.sweep, static_argnums=(3, 4))
refitted = jax.jit(polish.refit, static_argnums=(4, 5, 6))
lost = jax.jit(polish.loss, static_argnums=(3, 4))


def after_a_sweep(beyond, h=21, w=13, height=32, width=24):
    """Indices, the re-fitted palette and Q, in the corner of arrays that hold something else."""
    rng = np.random.default_rng(beyond)
    target, index = rng.uniform(0, 1, (3, height, width)), rng.integers(0, 4, (height, width))
    inside = np.random.default_rng(0)
    target[:, :h, :w], index[:h, :w] = inside.uniform(0, 1, (3, h, w)), inside.integers(0, 4, (h, w))
    palette, free = jnp.asarray(inside.uniform(0.1, 0.9, (4, 3)), jnp.float32), jnp.ones(4)
    grid = polish.grid_of(target.shape, EYE)
    shown = jnp.moveaxis(palette[index], -1, 0)
    problem = prepared(jnp.asarray(target, jnp.float32), shown, EYE, grid, Extent(jnp.int32(h), jnp.int32(w)))
    phases = grid.split(jnp.asarray(index, jnp.int32)[None])[:, :, 0]
    new = swept(phases, palette, problem, EYE, grid, jnp.arange(16), 0.3)
    colors = refitted(new, palette, free, problem, EYE, grid, 2, 0.3)
    joined = np.asarray(grid.join(new[:, :, None])[0])[:h, :w]
    return joined, np.asarray(colors), float(lost(new, colors, problem, EYE, grid))


def test_what_lies_beyond_a_picture_changes_nothing():
    (index, palette, error), (other, another, same) = after_a_sweep(1), after_a_sweep(2)
    np.testing.assert_array_equal(index, other)
    np.testing.assert_array_equal(palette, another)
    assert error == same


def test_the_loss_of_a_padded_picture_is_that_of_the_picture_alone():
    index, palette, error = after_a_sweep(1)
    again, same, alone = after_a_sweep(1, height=21, width=13)
    assert np.mean(index == again) >= 0.999
    np.testing.assert_allclose(palette, same, atol=1e-5)
    assert error == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_a_picture_does_not_depend_on_its_companions(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # of the arithmetic only the order of pictures differs
    count = {"cpu": 2, "gpu": 3}[backend]
    monkeypatch.setattr(together, "companions", lambda size: count)
    dither = Polish(sweeps=3, detail=0.0, tolerance=0.3)
    pictures = [photo(1, 30, 41), photo(2, 5, 9), photo(3, 64, 20), photo(4, 30, 41)]
    found = jointly(pictures, dither)
    assert [index.shape for _, index in found] == [pixels.shape[:2] for pixels in pictures]
    assert_same(jointly(pictures[::-1], dither)[::-1], found)
    for pixels, one in zip(pictures, found, strict=True):
        assert_same(jointly([pixels], dither), [one])


def test_pictures_of_fewer_colours_go_in_batches_of_their_own():
    dither = Polish(sweeps=1)
    start = start_of(photo(1))[1]
    fewer = start_of(photo(2), colors=2)[1]
    found = dither.together([start, fewer], [EYE], key=KEY, stop=never)
    assert [len(palette) for palette, _ in found] == [4, 2]


def test_what_stop_comes_before_is_not_made():
    assert jointly([photo(1), photo(2)], Polish(sweeps=3), stop=lambda: True) == [None, None]


def test_arrays_are_few_and_hold_their_pictures():
    sizes = {together.sides(h, h) for h in range(1, 1025)}
    assert sorted(sizes) == [(n, n) for n in (64, 128, 256, 384, 512, 768, 1024)]
    for h in range(1, 1025):
        side = together.sides(h, 1)[0]
        assert h <= side
        assert side < 2 * h or side == 64
    assert together.sides(768, 512) == (768, 512)


def test_the_docstring_says_how_large_arrays_are():
    def waste(low, high):
        sizes = np.exp(np.linspace(np.log(low), np.log(high), 2001)[1:]).round().astype(int)
        return np.mean([together.sides(n, 1)[0] / n for n in sizes.tolist()]) ** 2

    assert waste(64, 256) == pytest.approx(2.1, abs=0.05)
    assert waste(256, 1024) == pytest.approx(1.4, abs=0.05)
