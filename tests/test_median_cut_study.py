"""`scripts/median_cut_study.py`: what it writes, prints and draws, and how it fails.

Oracle for the errors: OkLab by its published formula.
"""

import functools
import itertools
import statistics
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rows import read_rows
from test_color import LAB, LMS

from diffquant.palette.median_cut import HEURISTICS, median_cut


@pytest.fixture
def script(load_script):
    """The script as a module."""
    return load_script("median_cut_study")


@pytest.fixture
def run(script, outcome, monkeypatch, tmp_path):
    """Runs it in a folder of its own, beside some pictures: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "more", "empty"):
        Path(folder).mkdir()
    save("photos/a.png", picture(0))
    save("photos/b.png", picture(1))
    save("more/a.png", picture(2))
    Path("notes.txt").write_text("no picture")
    return functools.partial(outcome, script.main)


def picture(seed, h=11, w=17):
    rng = np.random.default_rng(seed)
    return (rng.random((h, w, 3)) ** [1, 2, 3] * 255).astype(np.uint8)


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def rows():
    return read_rows("runs/median_cut/results.csv")


def lines(out):
    """Cells of a table in Markdown."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]


def into(space, codes):
    """sRGB codes [n 3] in a space."""
    srgb = codes / 255
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return {"srgb": srgb, "linear": light, "oklab": np.cbrt(light @ LMS.T) @ LAB.T}[space]


def out_of(space, colors):
    """The nearest sRGB codes."""
    light = np.linalg.solve(LMS, np.linalg.solve(LAB, colors.T) ** 3).T if space == "oklab" else colors
    light = np.clip(light, 0, 1)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * (colors if space == "srgb" else srgb))


def test_a_table_and_a_row_for_each_picture_heuristic_and_number_of_colours(run):
    status, out, err = run("photos", "--colors", 6, 3, 6, "--no-chart")
    assert (status, err) == (0, "")
    assert [path.name for path in Path("runs/median_cut").iterdir()] == ["results.csv"]
    keys = [(row["image"], row["heuristic"], row["space"], row["colors"]) for row in rows()]
    assert keys == [(image, name, "oklab", k) for image in "ab" for name in HEURISTICS for k in "36"]
    errors = {key: float(row["oklab_mse"]) for key, row in zip(keys, rows(), strict=True)}
    header, _, *body = lines(out)
    assert header == ["rank", "heuristic", "3 colours", "6 colours", "all"]
    assert [row[0] for row in body] == [str(rank) for rank in range(1, 25)]
    assert sorted(row[1] for row in body) == sorted(HEURISTICS)
    assert [row[-1] for row in body] == sorted(row[-1] for row in body)
    for _, name, three, six, both in body:
        ratios = [
            [errors[i, name, "oklab", k] / min(errors[i, n, "oklab", k] for n in HEURISTICS) for i in "ab"]
            for k in "36"
        ]
        means = [statistics.geometric_mean(ratio) for ratio in (*ratios, [*itertools.chain(*ratios)])]
        assert [three, six, both] == [f"{mean:.3f}" for mean in means]


@pytest.mark.parametrize("space", ["oklab", "linear", "srgb"])
def test_errors_are_those_of_the_8_bit_picture_in_oklab(run, space):
    run("photos/a.png", "-n", 5, "--space", space, "--no-chart")
    pixels = picture(0).reshape(-1, 3)
    unique, counts = np.unique(pixels, axis=0, return_counts=True)
    for row in rows():
        means = median_cut(into(space, unique), counts / len(pixels), 5, HEURISTICS[row["heuristic"]])
        palette = into("oklab", out_of(space, means))
        squares = ((into("oklab", pixels)[:, None] - palette) ** 2).sum(axis=2)
        assert float(row["oklab_mse"]) == pytest.approx(squares.min(axis=1).mean(), rel=1e-6)


def test_a_picture_of_few_colours_is_kept_by_all(run):
    save("few.png", np.array([[[9, 8, 7], [200, 0, 0], [0, 50, 99]]], np.uint8))
    status, out, _ = run("few.png", "-n", 2, 3, 200, "--no-chart")
    assert status == 0
    assert all(float(row["oklab_mse"]) == 0 for row in rows() if row["colors"] != "2")
    assert all(float(row["oklab_mse"]) > 0 for row in rows() if row["colors"] == "2")
    assert {(row[3], row[4]) for row in lines(out)[2:]} == {("1.000", "1.000")}


def test_the_chart_has_a_row_for_each_heuristic_in_the_order_of_the_table(run, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **o: (figures.append(self), save(self, *a, **o)))
    status, out, err = run("photos", "-n", 2, 3)
    assert (status, err) == (0, "")
    with Image.open("runs/median_cut/chart.png") as image:
        assert image.format == "PNG"
    [axes] = figures[0].axes
    names = [row[1] for row in lines(out)[2:]]
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    assert axes.yaxis_inverted()
    means = {line.get_label(): line.get_xdata() for line in axes.get_lines()}
    shown = np.array([[float(cell) for cell in row[2:4]] for row in lines(out)[2:]])
    np.testing.assert_allclose(np.transpose([means["2 colours"], means["3 colours"]]), shown, atol=6e-4)


def test_an_interruption_leaves_nothing(run, script, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "measure", stop)
    assert run("photos", "--no-chart") == (130, "", "median_cut_study: interrupted; nothing is written\n")
    assert not Path("runs").exists()


MISTAKES = {  # arguments, what the line must name
    "no picture": ((), "IMAGES: found none, expected pictures or a folder"),
    "no such file": (("none.png",), "none.png: no such file; expected an image file"),
    "no image": (("photos", "notes.txt"), "notes.txt: text or an unknown format"),
    "an empty folder": (("empty",), "IMAGES: found no picture in empty, expected at least one"),
    "one name twice": (("photos", "more/a.png"), "IMAGES: found photos/a.png and more/a.png, expected different names"),
    "too few colours": (("photos", "-n", "8", "0"), "--colors: found 0, expected 1 to 256"),
    "too many colours": (("photos", "-n", "257"), "--colors: found 257, expected 1 to 256"),
    "no colours": (("photos", "-n"), "--colors: found none"),
    "no number": (("photos", "-n", "few"), "few"),
    "no such space": (("photos", "--space", "lab"), "lab"),
    "a file": (("photos", "-o", "notes.txt"), "--out: found the file notes.txt, expected a folder"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line(run, arguments, text):
    before = set(Path().rglob("*"))
    status, out, err = run(*arguments, "--no-chart")
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("median_cut_study: ")
    assert text in err
    assert set(Path().rglob("*")) == before
