"""Refining a palette from any start, and `scripts/refine_study.py`. Oracle: SciPy, k-means and distances."""

import functools
import importlib.util

import hypothesis
import numpy as np
import pytest
import scipy.cluster.vq
import scipy.spatial.distance
from hypothesis import strategies as st
from pictures import photo
from PIL import Image
from rows import read_rows

from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.palette.histogram import histogram, oklab_from_colors
from diffquant.palette.initial import initial_palette
from diffquant.palette.kmeans import kmeans, relocate

HAVE_SCIKIT_LEARN = importlib.util.find_spec("sklearn") is not None

quick = hypothesis.settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def cloud(seed, n=50):
    rng = np.random.default_rng(seed)
    return rng.random((n, 3)), rng.integers(1, 6, n).astype(float)


def weighted_error(points, weights, centers):
    return weights @ scipy.spatial.distance.cdist(points, centers, "sqeuclidean").min(axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_a_weight_is_so_many_copies_of_a_point_to_scipy(seed):
    points, weights = cloud(seed)
    start = points[: seed + 2]
    copies = np.repeat(points, weights.astype(int), axis=0)
    expected, _ = scipy.cluster.vq.kmeans2(copies, start, iter=5, minit="matrix")
    found = kmeans(points, weights, start, iterations=5, tolerance=-1.0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@quick
@hypothesis.given(seeds, st.integers(1, 12))
def test_no_iterations_return_the_start(seed, k):
    points, weights = cloud(seed)
    start = np.random.default_rng(seed).normal(size=(k, 3))
    np.testing.assert_allclose(kmeans(points, weights, start, iterations=0), start, atol=1e-14)


@quick
@hypothesis.given(seeds, st.integers(1, 12), st.floats(0.1, 30))
def test_from_any_start_more_iterations_never_raise_the_error(seed, k, reach):
    points, weights = cloud(seed)
    start = reach * np.random.default_rng(seed).normal(size=(k, 3))
    ends = [start] + [kmeans(points, weights, start, iterations=n) for n in (1, 2, 4, 8)]
    errors = [weighted_error(points, weights, centers) for centers in ends]
    scale = 1e-6 * weights.sum() * max(1.0, errors[0] / weights.sum())  # distances are of float32
    assert (np.diff(errors) <= scale).all()


@quick
@hypothesis.given(seeds, st.integers(2, 10))
def test_relocation_improves_any_start(seed, k):
    points, weights = cloud(seed)
    start = np.random.default_rng(seed).random((k, 3))
    plain = kmeans(points, weights, start, iterations=20)
    found = relocate(points, weights, start, trials=10)
    assert weighted_error(points, weights, found) <= weighted_error(points, weights, plain) + 1e-6 * weights.sum()


def test_effort_pays_where_there_are_many_colours():
    pixels = photo(h=60, w=90)
    colors, weights = histogram(pixels)
    points = oklab_from_colors(colors)
    errors = [weighted_error(points, weights, initial_palette(pixels, 48, effort=effort)) for effort in (1, 4)]
    assert errors[1] < errors[0]


def test_effort_leaves_pinned_colours_and_small_pictures_alone():
    pinned = np.array([[255, 0, 0], [1, 2, 3]], np.uint8)
    palette = initial_palette(photo(), 6, pinned=pinned, effort=3)
    np.testing.assert_array_equal(palette[:2], oklab_from_colors(pinned))
    few = photo()[:2, :3]
    np.testing.assert_array_equal(initial_palette(few, 8, effort=3), initial_palette(few, 8))


@pytest.mark.parametrize("effort", [0, -1])
def test_no_effort_is_refused(effort):
    with pytest.raises(ValueError, match=f"effort is {effort}, expected at least 1"):
        initial_palette(photo(), 4, effort=effort)


@pytest.fixture
def script(load_script):
    """The script as a module."""
    return load_script("refine_study")


@pytest.fixture
def run(script, outcome, tmp_path):
    """Runs it on two pictures: exit status, stdout, stderr."""
    for seed, name in enumerate("ab"):
        Image.fromarray(photo(seed)).save(tmp_path / f"{name}.png")
    pictures = (tmp_path / "a.png", tmp_path / "b.png")
    return functools.partial(outcome, script.main, *pictures, "--out", tmp_path / "rows" / "rows.csv")


def test_the_study_measures_what_a_file_would_show(script):
    pixels = photo()
    palette = initial_palette(pixels, 5)
    shown = oklab_from_colors(srgb8_from_linear(linear_from_oklab(palette.T)).T)
    every = oklab_from_colors(pixels.reshape(-1, 3))
    expected = scipy.spatial.distance.cdist(every, shown, "sqeuclidean").min(axis=1).mean()
    assert script.direct_error(pixels, palette) == pytest.approx(expected, rel=1e-5)


def test_the_study_prints_its_rows_and_goes_on_with_what_is_there(run, script, tmp_path, monkeypatch):
    monkeypatch.setitem(script.METHODS, script.RIVAL, lambda pixels, k: oklab_from_colors(pixels[0, :k]))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    code, out, _ = run("-n", 3)
    assert code == 0
    rows = read_rows(tmp_path / "rows" / "rows.csv")
    methods = [method for method in script.METHODS if method != script.ON_PIXELS]
    assert len(rows) == 2 * len(methods)
    error = {(row["image"], row["method"]): float(row["oklab_mse"]) for row in rows}
    for method in methods:
        mean = np.exp(np.mean([np.log(error[i, method] / error[i, script.RIVAL]) for i in "ab"]))
        assert f"| {method} | {1e4 * (error['a', method] + error['b', method]) / 2:.4f} | {mean:.4f} |" in out
    assert error["a", "initial palette"] < error["a", "median cut"]
    assert run("-n", 3)[1] == out


@pytest.mark.skipif(not HAVE_SCIKIT_LEARN, reason="scikit-learn is not installed")
def test_scikit_learn_gets_the_same_colours_weighed_or_pixel_by_pixel(script):
    pixels = photo()
    ends = [script.direct_error(pixels, script.METHODS[name](pixels, 3)) for name in (script.RIVAL, script.ON_PIXELS)]
    assert ends[0] == pytest.approx(ends[1], rel=0.02)
    assert ends[0] < script.direct_error(pixels, script.METHODS["median cut"](pixels, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("-n", 0), "--colors: found 0, expected 1 to 256"), (("-n", "x"), "-n/--colors")],
)
def test_the_study_refuses_in_one_line(run, arguments, message):
    code, out, error = run(*arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in error


def test_the_study_says_what_is_missing(run, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, error = run("-n", 3)
    assert (code, error) == (
        2,
        "refine_study: found no scikit-learn, and the comparison needs it: pip install scikit-learn\n",
    )
    assert not (tmp_path / "rows").exists()
