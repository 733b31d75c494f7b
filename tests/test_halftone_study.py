"""`scripts/halftone_study.py`: the reference algorithms, the spectra, what it writes and how it fails.

Oracles: four pixels by hand, the loss itself, every change tried by brute force, spectra known in closed form.
"""

import itertools

import numpy as np
import pytest
from PIL import Image

from diffquant.losses import BlurError

SHAPE = (9, 14)


@pytest.fixture
def halftones(load_script):
    return load_script("halftones")


@pytest.fixture
def study(load_script, monkeypatch):
    """The script as a module that leaves the process's compilation cache alone."""
    study = load_script("halftone_study")
    monkeypatch.setattr(study, "use_compilation_cache", lambda: None)
    return study


@pytest.fixture
def light():
    return np.random.default_rng(5).uniform(0.1, 0.9, SHAPE)


def test_floyd_steinberg_of_four_pixels_is_as_by_hand(halftones):
    # 0.5 is white, err -0.5; right of it 0.5 - 7/32 is black, err 9/32. Below, from the right: 0.5 - 1/32 + 45/512 is
    # white, err -0.443; left of it 0.5 - 5/32 + 27/512 - 0.194 is black.
    np.testing.assert_array_equal(halftones.floyd_steinberg(np.full((2, 2), 0.5)), [[True, False], [False, True]])


@pytest.mark.parametrize("method", ["white_noise", "floyd_steinberg", "blue_noise"])
def test_classics_keep_the_mean_light(halftones, method):
    ramp = np.tile(np.linspace(0.1, 0.7, 128), (96, 1))
    assert abs(getattr(halftones, method)(ramp).mean() - ramp.mean()) < 0.01


def test_model_is_the_loss_itself_where_that_is_quadratic(halftones, light):
    eye = BlurError(sigmas=(0.5, 1.3), weights=(0.2, 1.0), space="linear")
    pattern = light > 0.5
    expected = halftones.seen(light, pattern, eye)
    assert halftones.EyeModel(light, eye).loss(pattern) == pytest.approx(expected, rel=1e-5)


def test_model_is_the_loss_to_second_order(halftones, light):
    near = light + 0.004 * np.random.default_rng(6).standard_normal(SHAPE)
    expected = halftones.seen(light, near, BlurError())
    assert halftones.EyeModel(light, BlurError()).loss(near) == pytest.approx(expected, rel=0.03)


def test_model_is_the_loss_of_the_picture_that_it_was_shown(halftones, light):
    eye, shown = BlurError(sigmas=(0.0, 1.0), weights=(0.1, 1.0), masking=(0.0, 0.2)), halftones.threshold(light)
    expected = halftones.seen(light, shown, eye)
    assert halftones.EyeModel(light, eye, shown).loss(shown) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize("swaps", [False, True])
def test_no_change_improves_what_direct_binary_search_returns(halftones, light, swaps):
    model = halftones.EyeModel(light, BlurError())
    pattern = halftones.direct_binary_search(model, halftones.white_noise(light), swaps=swaps)
    best, h, w = model.loss(pattern), *SHAPE
    for y, x in itertools.product(range(h), range(w)):
        changes = [[(y, x)]]
        if swaps:
            near = itertools.product(range(y, min(y + 2, h)), range(max(x - 1, 0), min(x + 2, w)))
            changes += [[(y, x), other] for other in near if pattern[other] != pattern[y, x]]
        for change in changes:
            other = pattern.copy()
            for pixel in change:
                other[pixel] ^= True
            assert model.loss(other) >= best - 1e-9


def test_swaps_reach_lower_than_toggles_on_a_flat_field(halftones):
    light = np.full((40, 48), 0.5)
    model, start = halftones.EyeModel(light, BlurError()), halftones.white_noise(light)
    toggled, swapped = (halftones.direct_binary_search(model, start, swaps=swaps) for swaps in (False, True))
    assert model.loss(swapped) < 0.9 * model.loss(toggled) < 0.9 * model.loss(start)


def test_spectrum_of_independent_pixels_is_flat(halftones):
    level = 0.25
    spectrum = halftones.spectrum(halftones.white_noise(np.full((256, 320), level)), level)
    np.testing.assert_allclose(spectrum.power[:32], 1, atol=0.25)
    area = np.pi * (halftones.principal_frequency(level) / 2) ** 2  # of a disc, in cycles a pixel squared
    assert spectrum.low_share == pytest.approx(area, rel=0.1)
    assert spectrum.anisotropy[4:32].mean() < -10


def test_spectrum_finds_what_has_a_direction(halftones):
    stripes = np.tile(np.arange(256) % 4 == 0, (192, 1))
    spectrum = halftones.spectrum(stripes, 0.25)
    assert spectrum.frequency[spectrum.power[:32].argmax()] == 0.25  # cycles a pixel: every fourth column
    assert spectrum.anisotropy[15] > 10


def test_one_colour_has_no_noise(halftones):
    spectrum = halftones.spectrum(np.zeros((64, 96), bool), 0.02)
    assert spectrum.low_share == 0
    np.testing.assert_array_equal(spectrum.power, 0)
    np.testing.assert_allclose(spectrum.anisotropy, 0, atol=1e-9)


def test_blue_noise_has_no_low_frequencies(halftones):
    level = 1 / 8
    light = np.full((128, 128), level)
    blue, white = (halftones.spectrum(method(light), level) for method in (halftones.blue_noise, halftones.white_noise))
    assert blue.low_share < 0.1 * white.low_share


def test_ours_is_the_preset_and_keeps_the_mean_light(study, halftones):
    light = np.tile(np.linspace(0.2, 0.6, SHAPE[1]), (SHAPE[0], 1)).astype(np.float32)
    pattern = study.ours(study.read(halftones.srgb(light)), light, preset="fast")
    assert pattern.dtype == bool
    assert abs(pattern.mean() - light.mean()) < 0.03
    model, start = study.model_of(light), halftones.white_noise(light)
    assert model.loss(pattern) < 0.5 * model.loss(start)


def test_study_prints_tables_and_writes_pictures(study, halftones, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(study, "ours", lambda picture, light, preset: halftones.threshold(light))  # compiles nothing
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    y, x = np.mgrid[:8, :64]
    Image.fromarray(np.stack([4 * x, 30 * y, x + y], -1).astype(np.uint8)).save(photo)
    arguments = [str(photo), "--out", str(out), "--preset", "fast", "--levels", "0.3", "--side", "32"]
    assert study.main(arguments) == 0
    printed = capsys.readouterr()
    names = list(study.methods(("fast",)))
    assert [printed.out.count(f"| {name} |") for name in names] == [3] * len(names)
    assert printed.out.count("| --- |") == 3
    assert all(line.startswith("halftone_study.py: ") for line in printed.err.splitlines())
    assert {"fields.png", "spectra.png", "ramp.png", "photo.png"} < {path.name for path in out.iterdir()}
    assert len(list(out.iterdir())) == 4 + len(names)
    with Image.open(out / "photo-diffquant-fast.png") as result:
        assert result.size == (64, 8)
        assert result.mode == "1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["--levels", "0.5", "1"], "--levels: found"),
        (["--side", "5"], "--side: found 5, expected 32 to 1024"),
        (["--preset", "fine"], "fine"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(study, capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert study.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())
