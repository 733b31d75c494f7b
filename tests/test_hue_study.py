"""`scripts/hue_study.py`: its measures of hue, what it writes, and how it fails. Oracles: cases by hand."""

import functools
import math

import numpy as np
import pytest
from pictures import photo
from PIL import Image
from rows import read_rows

from diffquant.palette.chroma import chroma_weight
from diffquant.palette.histogram import oklab_from_colors


@pytest.fixture
def study(load_script):
    """The script as a module."""
    return load_script("hue_study")


@pytest.fixture
def hues_of(load_script):
    return load_script("hue_measures").hues_of


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


@pytest.fixture
def run(study, outcome, tmp_path):
    """Runs it on two pictures: exit status, stdout, stderr."""
    for seed, name in enumerate("ab"):
        Image.fromarray(photo(seed)).save(tmp_path / f"{name}.png")
    return functools.partial(outcome, study.main, tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "out")


def test_the_study_writes_rows_tables_and_a_sheet(study, run, tmp_path):
    arguments = ("-n", 4, "--chroma", 1, "auto", "--outputs", "diffusion", "nearest", "--size", 30, 20)
    code, out, error = run(*arguments)
    assert (code, error) == (0, "")
    folder = tmp_path / "out"
    assert out == (folder / "tables.md").read_text() + "\n"
    rows = read_rows(folder / "results.csv")
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
    assert run(*arguments)[1] == out
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
def test_the_study_refuses_in_one_line(run, tmp_path, arguments, message):
    code, out, error = run(*arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "out").exists()
