"""`scripts/benchmark_jpeg.py`: the tables that it prints and the drawings that it makes, from what is in its files.

Oracles: files smaller by a known factor; means by hand; what matplotlib says of the drawings.
"""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rows import write_rows

HEIGHT, WIDTH = 24, 40
COLUMNS = ("encoder", "image", "setting", "psnr", "ms_ssim", "ssimulacra2", "butteraugli_3norm", "bytes", "seconds")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with two pictures, a and b_2."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for name in ("a", "b_2"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(f"images/{name}.png")


@pytest.fixture
def script(load_script):
    """The script as a module."""
    return load_script("benchmark_jpeg")


@pytest.fixture
def undrawn(script, monkeypatch):
    """Empty drawings: true ones take longer than all else. The function that makes those."""
    draw = sys.modules["jpeg_plots"].draw
    monkeypatch.setattr(sys.modules["jpeg_plots"], "draw", lambda lines, headline: b"")
    return draw


@pytest.fixture
def drawn(undrawn, monkeypatch):
    """True drawings."""
    monkeypatch.setattr(sys.modules["jpeg_plots"], "draw", undrawn)


@pytest.fixture
def run(folder, undrawn, script, outcome):
    """Runs it in the folder, in this process: exit status, stdout, stderr."""

    return functools.partial(outcome, script.main, "--images", "images", "--out", "out")


def points(encoder, image, *sizes, scores=(40, 60, 80)):
    """Rows whose metrics grow evenly, at sizes in bytes; Butteraugli halves."""
    for setting, (size, score) in enumerate(zip(sizes, scores, strict=True)):
        yield [encoder, image, setting, score / 2, score / 100, score, 2.0**-setting, size, 1 + setting]


def write_results(*rows):
    write_rows("out/results.csv", COLUMNS, *rows)


COMPARED = ("--preset", "fast", "--quality", 1, 2, "--peers", "peers.csv")


@pytest.fixture
def scored(folder):
    """Ours at two qualities: against x a tenth smaller on a, three tenths on b_2; y lacks b_2, and gets worse."""
    ours = [("diffquant-jpeg-fast", "a", 900, 1800), ("diffquant-jpeg-fast", "b_2", 700, 2800)]
    rows = [row for which in ours for row in points(*which, scores=(60, 80))]
    write_results(*[[encoder, image, setting + 1, *rest] for encoder, image, setting, *rest in rows])
    peers = [("x", "a", 1000, 2000), ("x", "b_2", 1000, 4000), ("y", "a", 1800, 900), ("z", "c", 1, 2)]
    write_rows("peers.csv", COLUMNS[:-1], *[row[:-1] for which in peers for row in points(*which, scores=(60, 80))])


def test_tables_hold_means_and_the_rate_at_equal_quality(run, scored):
    status, out, err = run(*COMPARED)
    assert (status, err) == (0, "")
    low, high = (np.sqrt(a * b) * 8 / (HEIGHT * WIDTH) for a, b in ((900, 700), (1800, 2800)))
    falls = "reference: found quality {} at rate 900 and {} at rate 1800, expected quality to grow with rate"
    nothing = "reference: found 0 different points, expected at least 2"
    titles = "PSNR | MS-SSIM | SSIMULACRA2 50 to 85 | Butteraugli 3-norm |"
    assert out.splitlines() == [
        "## diffquant-jpeg-fast, 2 images",
        "",
        "| bits per pixel | PSNR | MS-SSIM | SSIMULACRA2 | Butteraugli 3-norm | bytes | seconds |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {low:.3f} | 30 | 0.6 | 60 | 1 | 800 | 1.00 |",
        f"| {high:.3f} | 40 | 0.8 | 80 | 0.5 | 2,300 | 2.00 |",
        "",
        "Rate at equal quality, per cent of theirs (BD-rate): diffquant-jpeg-fast",
        "",
        f"| against | {titles}",
        "| --- | ---: | ---: | ---: | ---: |",
        "| x | -20.0 % | -20.0 % | -20.0 % | -20.0 % |",
        "| y | – | – | – | – |",
        "",
        "### diffquant-jpeg-fast against x",
        "",
        f"| picture | {titles}",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | -10.0 % | -10.0 % | -10.0 % | -10.0 % |",
        "| b_2 | -30.0 % | -30.0 % | -30.0 % | -30.0 % |",
        "| mean | -20.0 % | -20.0 % | -20.0 % | -20.0 % |",
        "",
        "### diffquant-jpeg-fast against y",
        "",
        f"| picture | {titles}",
        "| --- | ---: | ---: | ---: | ---: |",
        "| a | – | – | – | – |",
        "| b_2 | – | – | – | – |",
        "| mean | – | – | – | – |",
        "",
        f"- a, PSNR: {falls.format(40, 30)}",
        f"- a, MS-SSIM: {falls.format(0.8, 0.6)}",
        f"- a, SSIMULACRA2: {falls.format(80, 60)}",
        f"- a, Butteraugli 3-norm: {falls.format('0.693147', '-0')}",
        *[f"- b_2, {label}: {nothing}" for label in ("PSNR", "MS-SSIM", "SSIMULACRA2", "Butteraugli 3-norm")],
        "",
    ]


def test_a_mean_over_some_of_the_pictures_says_of_how_many(run, folder):
    rows = [*points("diffquant-jpeg-fast", "a", 900, 1800, 3600), *points("diffquant-jpeg-fast", "b_2", 1, 2, 3)]
    write_results(*rows)
    write_rows("peers.csv", COLUMNS, *points("x", "a", 1000, 2000, 4000))
    status, out, _ = run("--preset", "fast", "--quality", 1, 2, "--peers", "peers.csv")
    assert status == 0
    assert out.count("| -10.0 % (1) | -10.0 % (1) | -10.0 % (1) | -10.0 % (1) |") == 2


def test_only_medium_and_high_ssimulacra2_counts(script):
    # log rates q / 10 and 1 + q / 20: over 50 to 85 their distance 1 - q / 20 has its mean at 67.5, in the middle
    tables = sys.modules["jpeg_tables"]
    scores = (20.0, 45.0, 60.0, 90.0)
    reference = {str(q): {"bytes": np.exp(q / 10), "ssimulacra2": q} for q in scores}
    test = {str(q): {"bytes": np.exp(1 + q / 20), "ssimulacra2": q} for q in scores}
    found = tables.deltas({"x": {"a": reference}, "ours": {"a": test}}, "ours", "x", ["a"])
    assert found.cells["a", "ssimulacra2"] == pytest.approx(100 * (np.exp(1 - 67.5 / 20) - 1))


def test_encoders_of_peers_can_be_compared_with_each_other(run, folder):
    peers = [("x", "a", 1000, 2000, 4000), ("y", "a", 500, 1000, 2000)]
    write_rows("peers.csv", COLUMNS, *[row for which in peers for row in points(*which)])
    status, out, _ = run("--preset", "--peers", "peers.csv", "--compare", "x", "y")
    assert status == 0
    assert "| y | +100.0 % | +100.0 % | +100.0 % | +100.0 % |" in out
    assert "| x | -50.0 % | -50.0 % | -50.0 % | -50.0 % |" in out
    assert "against x" not in out[out.index("## x") : out.index("## y")]


def test_without_peers_the_tables_hold_ours_only(run, scored):
    missing = "benchmark_jpeg: --peers: found no file none.csv; it is left out\n"
    status, out, err = run("--preset", "fast", "--quality", 1, 2, "--peers", "none.csv")
    assert (status, err) == (0, missing)
    assert "BD-rate" not in out
    assert "| 2,300 | 2.00 |" in out


# Drawings


@pytest.fixture
def figures(drawn, monkeypatch):
    """The figures that are saved."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **o: (saved.append(self), save(self, *a, **o)))
    return saved


def test_quality_over_rate_is_drawn_for_the_means_and_for_each_picture(run, scored, figures):
    assert run(*COMPARED)[0] == 0
    assert {path.name for path in Path("out").glob("*.png")} == {
        *("rate-distortion.png", "rate-distortion-a.png", "rate-distortion-b_2.png")
    }
    means, first, second = figures
    assert [figure.get_suptitle() for figure in figures] == ["Mean of 2 pictures", "a", "b_2"]
    lines = [{line.get_label(): line for line in figure.axes[0].get_lines()} for figure in figures]
    assert [" ".join(sorted(each)) for each in lines] == [
        "diffquant-jpeg-fast x",
        "diffquant-jpeg-fast x y",
        "diffquant-jpeg-fast x",
    ]
    bits = 8 / (HEIGHT * WIDTH)
    ours = lines[0]["diffquant-jpeg-fast"]
    np.testing.assert_allclose(ours.get_xydata(), [[bits * 630000**0.5, 30], [bits * 5040000**0.5, 40]])
    assert ours.get_linestyle() == "-"
    assert lines[0]["x"].get_linestyle() == "--"
    for axes in [*means.axes, *first.axes, *second.axes]:
        assert axes.get_xscale() == "log"
    assert [axes.yaxis_inverted() for axes in means.axes] == [False, False, False, True]
    assert [axes.get_yscale() for axes in means.axes] == ["linear"] * 3 + ["log"]
    with Image.open("out/rate-distortion.png") as image:
        assert image.size == (1300, 1000)
