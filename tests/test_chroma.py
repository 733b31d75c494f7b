"""Hues at few colours: the chroma weight, how it is chosen, and `scripts/hue_study.py`. Oracles: cases by hand."""

import csv
import math
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from diffquant.palette.chroma import MOST, chroma_weight, eye_weight
from diffquant.palette.histogram import oklab_from_colors
from diffquant.palette.initial import initial_palette

SCRIPTS = Path(__file__).parents[1] / "scripts"
RED = (200, 30, 40)

quick = hypothesis.settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def colourful(seed=0, h=20, w=31):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def photo(seed=0, h=24, w=37):
    """Smooth colours with a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w] / 40
    waves = np.stack([np.sin(3 * x + y), np.cos(4 * y), np.sin(2 * x - 3 * y)], axis=-1)
    return np.clip(128 + 80 * waves + rng.normal(0, 6, (h, w, 3)), 0, 255).astype(np.uint8)


def ramp(h=32, w=48):
    """Greys from black to white."""
    return np.broadcast_to(np.linspace(0, 255, w).astype(np.uint8)[None, :, None], (h, w, 3)).copy()


def patched():
    """A grey ramp with a red patch of 4 % of the pixels, on greys that are about as light."""
    pixels = ramp()
    pixels[4:10, 18:28] = RED
    return pixels


def largest_chroma(palette):
    return np.hypot(palette[:, 1], palette[:, 2]).max()


@hypothesis.settings(max_examples=8, deadline=None)
@hypothesis.given(seeds, st.integers(1, 20))
def test_a_weight_of_one_is_the_plain_palette(seed, k):
    pixels = colourful(seed)
    np.testing.assert_array_equal(initial_palette(pixels, k, chroma=1.0), initial_palette(pixels, k))


def test_a_small_patch_keeps_its_hue_at_four_colours_with_the_weight_only():
    red = oklab_from_colors(np.array([RED], np.uint8))[0]
    chroma = math.hypot(*red[1:])
    plain, weighed = (initial_palette(patched(), 4, chroma=weight) for weight in (1.0, MOST))
    assert largest_chroma(plain) < 0.5 * chroma
    assert np.linalg.norm(weighed - red, axis=1).min() < 0.1 * chroma


def test_the_automatic_weight_is_enough_for_a_small_patch():
    weight = chroma_weight(patched(), 4)
    assert largest_chroma(initial_palette(patched(), 4, chroma=weight)) > 0.9 * largest_chroma(
        oklab_from_colors(np.array([RED], np.uint8))
    )


def test_a_weight_trades_lightness_for_chroma():
    pixels = photo()
    points = oklab_from_colors(pixels.reshape(-1, 3))
    errors = []
    for weight in (1.0, 4.0, 16.0):
        palette = initial_palette(pixels, 4, chroma=weight, effort=3)
        difference = points[:, None] - palette[None]
        squares = np.square(difference) * [1, weight, weight]
        best = squares.sum(axis=2).argmin(axis=1)
        errors.append(np.square(difference[np.arange(len(points)), best]).mean(axis=0))
    errors = np.array(errors)
    assert (np.diff(errors[:, 1:].sum(axis=1)) <= 0).all()
    assert errors[0, 0] <= errors[2, 0]


@pytest.mark.parametrize("chroma", [0.0, -1.0, math.inf, math.nan])
def test_impossible_weights_are_refused(chroma):
    with pytest.raises(ValueError, match="chroma is"):
        initial_palette(photo(), 4, chroma=chroma)


def test_pinned_colours_stay_and_few_colours_are_exact_whatever_the_weight():
    pinned = np.array([[255, 0, 0], [1, 2, 3]], np.uint8)
    palette = initial_palette(photo(), 6, pinned=pinned, chroma=3.7)
    np.testing.assert_array_equal(palette[:2], oklab_from_colors(pinned))
    few = photo()[:2, :3]
    np.testing.assert_array_equal(initial_palette(few, 8, chroma=3.7), initial_palette(few, 8))


@quick
@hypothesis.given(seeds, st.integers(1, 256))
def test_the_automatic_weight_is_within_its_bounds(seed, k):
    for pixels in (colourful(seed, 7, 9), photo(seed, 7, 9)):
        assert 1 <= chroma_weight(pixels, k) <= MOST


@pytest.mark.parametrize("k", [1, 2, 4, 16, 64])
def test_the_automatic_weight_is_one_for_grey_pictures(k):
    assert chroma_weight(ramp(), k) == pytest.approx(1, abs=1e-9)


def test_noise_of_one_code_is_no_chroma():
    noisy = ramp()[:, 4:-4] + np.random.default_rng(0).integers(-1, 2, (32, 40, 3))
    assert chroma_weight(noisy.clip(0, 255).astype(np.uint8), 4) < 1.6


def test_the_automatic_weight_falls_to_one_with_more_colours():
    weights = [chroma_weight(photo(), k) for k in (3, 6, 16, 64, 256)]
    assert (np.diff(weights) < 0).all()
    assert weights[0] > 2
    assert weights[-1] < 1.05


def test_two_colours_are_for_lightness():
    assert [chroma_weight(photo(), k) for k in (1, 2)] == [1, 1]


def test_a_picture_of_one_colour_needs_no_weight():
    assert chroma_weight(np.full((3, 5, 3), (200, 30, 40), np.uint8), 4) == pytest.approx(1, abs=1e-9)


@quick
@hypothesis.given(seeds, st.integers(1, 20))
def test_the_automatic_weight_looks_at_frequencies_only(seed, k):
    pixels = photo(seed)
    weight = chroma_weight(pixels, k)
    turned = np.random.default_rng(seed).permutation(pixels.reshape(-1, 3)).reshape(37, 24, 3)
    assert chroma_weight(turned, k) == weight
    assert chroma_weight(np.tile(pixels, (2, 1, 1)), k) == weight


def test_the_automatic_weight_needs_a_colour():
    with pytest.raises(ValueError, match="k is 0"):
        chroma_weight(photo(), 0)


@pytest.mark.parametrize(("chroma", "weight"), [(1, 1), (1.3, 1), (1.5, math.sqrt(2)), (2, math.sqrt(2)), (4, 2)])
def test_the_eye_weighs_the_root_in_steps(chroma, weight):
    assert eye_weight(chroma) == pytest.approx(weight)


@pytest.fixture
def study(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import hue_study

    return hue_study


@pytest.fixture
def hues_of(study):
    import hue_measures

    return hue_measures.hues_of


def flat(color):
    return np.full((12, 20, 3), color, np.uint8)


def test_a_picture_keeps_all_of_its_own_hues(hues_of):
    assert hues_of(photo(), photo()).as_dict() == pytest.approx(
        {"chroma_kept": 1, "colour_kept": 1, "hue_error": 0}, abs=1e-5
    )


def test_hues_are_measured_as_by_hand(hues_of):
    red, green = (200, 60, 60), (60, 150, 70)
    (_, a, b), (_, c, d) = oklab_from_colors(np.array([red, green], np.uint8))
    found = hues_of(flat(red), flat(green))
    angle = abs(math.degrees(math.atan2(b, a) - math.atan2(d, c)))
    assert found.chroma_kept == pytest.approx(math.hypot(c, d) / math.hypot(a, b))
    assert found.colour_kept == pytest.approx((a * c + b * d) / (a * a + b * b))
    assert found.hue_error == pytest.approx(angle)


def test_a_mixture_has_the_hue_that_it_mixes(hues_of):
    board = flat((188, 188, 0))
    y, x = np.mgrid[:12, :20]
    board[(x + y) % 2 == 0] = (255, 0, 0)
    board[(x + y) % 2 == 1] = (0, 255, 0)  # both halves mix to half of red's and of green's light: code 188
    found = hues_of(flat((188, 188, 0)), board)
    assert found.colour_kept == pytest.approx(1, abs=0.02)
    assert found.hue_error < 1


def test_greyed_pictures_lose_all_colour(hues_of):
    grey = np.repeat(photo().mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    found = hues_of(photo(), grey)
    assert found.chroma_kept < 1e-3
    assert abs(found.colour_kept) < 1e-3


def test_the_eye_of_the_preset_is_weighed():
    from diffquant.presets import eye, palette_config

    config = palette_config("balanced", colors=4, chroma=4.0)
    loss = config.losses["eye"]
    assert loss.chroma == pytest.approx(tuple(2 * c for c in eye(4).chroma))
    assert (loss.weights, loss.sigmas, loss.masking) == (eye(4).weights, eye(4).sigmas, eye(4).masking)
    assert config.pipeline.chroma == 4


def run(study, capsys, folder, *arguments):
    for seed, name in enumerate("ab"):
        Image.fromarray(photo(seed)).save(folder / f"{name}.png")
    with pytest.raises(SystemExit) as stop:
        study.main([str(folder / "a.png"), str(folder / "b.png"), "--out", str(folder / "out"), *map(str, arguments)])
    return stop.value.code, *capsys.readouterr()


def test_the_study_writes_rows_tables_and_a_sheet(study, capsys, tmp_path):
    arguments = ("-n", 4, "--chroma", 1, "auto", "--outputs", "diffusion", "nearest", "--size", 30, 20)
    code, out, error = run(study, capsys, tmp_path, *arguments)
    assert (code, error) == (0, "")
    folder = tmp_path / "out"
    assert out == (folder / "tables.md").read_text() + "\n"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        with Image.open(folder / "images" / f"{row['image']}-4-{row['output']}-{row['chroma']}.png") as image:
            assert image.size == (30, 20)
            assert len(image.getcolors()) <= 4
        weight = chroma_weight(photo("ab".index(row["image"]))[2:22, 3:33], 4)
        assert float(row["weight"]) == pytest.approx(weight if row["chroma"] == "auto" else 1)
    kept = [float(row["chroma_kept"]) for row in rows if (row["output"], row["chroma"]) == ("nearest", "auto")]
    assert f"| nearest | auto | {np.mean(kept):.3f} |" in out
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.size == (3 * 30 + 2 * study.GAP, study.LINE + 2 * (20 + study.GAP))
    before = (folder / "results.csv").read_bytes()
    assert run(study, capsys, tmp_path, *arguments)[1] == out
    assert (folder / "results.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 300), "--colors: found 300, expected 1 to 256"),
        (("--chroma", "much"), "--chroma: found much, expected a number from 1 to 100, or auto"),
        (("--chroma", "nan"), "--chroma: found nan"),
        (("--outputs", "riemersma"), "--outputs: found riemersma, expected some of nearest, diffusion, polish"),
        (("--size", 0, 9), "--size: found 0 9, expected at least 1 each"),
    ],
)
def test_the_study_refuses_in_one_line(study, capsys, tmp_path, arguments, message):
    code, out, error = run(study, capsys, tmp_path, *arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "out").exists()
