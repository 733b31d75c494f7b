"""The classical dithers as configs name them: what they yield, and what they refuse."""

import subprocess
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffquant.color import linear_from_srgb8, oklab_from_linear, srgb8_from_linear
from diffquant.export.classical import AnyClassical, ErrorDiffusion, Ordered, Riemersma
from diffquant.export.diffusion import diffuse
from diffquant.export.ordered import dither_ordered, mask_of
from diffquant.export.riemersma import riemersma
from diffquant.palette.learned import LearnedPalette


@pytest.fixture
def light():
    return linear_from_srgb8(np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8))


@pytest.fixture
def palette():
    """Colours between those of 8 bits, one of them pinned."""
    linear = np.random.default_rng(1).uniform(0, 1, (6, 3))
    pinned = np.array([[255, 0, 0]], np.uint8)
    return LearnedPalette(oklab_from_linear(linear.T).T, pinned, space="oklab", rate=0.0)


def run(spec, palette, light):
    (choice,) = spec(None, palette, jnp.asarray(np.moveaxis(light, -1, 0)), (), key=jax.random.key(0))
    return choice


@pytest.mark.parametrize("kind", typing.get_args(AnyClassical))
def test_every_spec_yields_one_choice_of_the_palette_that_the_file_holds(kind, palette, light):
    share, colors, indices = run(kind(), palette, light)
    assert share == 1
    assert colors.dtype == np.float32
    assert indices.shape == light.shape[:2]
    assert 0 <= indices.min() <= indices.max() < len(colors)
    codes = srgb8_from_linear(np.asarray(palette.linear()))
    np.testing.assert_array_equal(srgb8_from_linear(colors), codes)
    np.testing.assert_array_equal(colors, linear_from_srgb8(codes))


def test_specs_pass_on_their_settings(palette, light):
    colors = linear_from_srgb8(srgb8_from_linear(np.asarray(palette.linear())))
    pairs = [
        (
            ErrorDiffusion(kernel="burkes", serpentine=False, strength=0.6),
            diffuse(light, colors, kernel="burkes", serpentine=False, strength=0.6),
        ),
        (
            Ordered(mask="blue-noise", parts=5, strength=0.6),
            dither_ordered(light, colors, mask_of("blue-noise"), parts=5, strength=0.6),
        ),
        (Riemersma(memory=5, strength=0.6), riemersma(light, colors, memory=5, strength=0.6)),
    ]
    for spec, expected in pairs:
        np.testing.assert_array_equal(run(spec, palette, light)[2], expected)
        assert (run(type(spec)(), palette, light)[2] != expected).any()


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        (ErrorDiffusion, {"strength": 1.5}, "ErrorDiffusion: found a strength of 1.5, expected 0 to 1"),
        (Ordered, {"strength": -0.1}, "Ordered: found a strength of -0.1, expected 0 to 1"),
        (Ordered, {"parts": 0}, "Ordered: found 0 parts, expected at least 1"),
        (Riemersma, {"strength": float("nan")}, "Riemersma: found a strength of nan, expected 0 to 1"),
        (Riemersma, {"memory": 0}, "Riemersma: found a memory of 0, expected at least 1"),
    ],
)
def test_impossible_settings_are_refused(kind, settings, said):
    with pytest.raises(ValueError, match=said):
        kind(**settings)


def test_the_specs_import_no_numba():
    code = "import sys, diffquant.export.classical; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
