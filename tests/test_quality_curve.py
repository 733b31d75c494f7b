"""`scripts/quality_curve.py`: what it prints, where it draws, and how it fails.

Oracles: means and orders by hand from a few numbers; matplotlib's own measures of the texts it drew.
"""

import functools
import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from rows import write_rows


@pytest.fixture
def script(load_script):
    """The script as a module."""
    return load_script("quality_curve")


@pytest.fixture
def run(script, outcome, monkeypatch, tmp_path):
    """Runs it in a folder of its own: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(outcome, script.main)


def write_results():
    write_rows(
        "results.csv",
        ["image", "method", "k", "ssimulacra2", "scielab", "bytes", "seconds"],
        ["a", "diffquant-slow", 16, 50, 1, 10, 8],
        ["b", "diffquant-slow", 16, 60, 2, 10, 10],
        ["a", "diffquant-fast", 16, 40, 2, 10, 1],
        ["b", "diffquant-fast", 16, 42, 3, 10, 2],
        ["c", "diffquant-fast", 16, 99, 0, 10, 99],
        ["a", "live-x", 16, 10, 7, 10, 0.25],
        ["b", "live-x", 16, 20, 8, 10, 0.25],
        ["a", "diffquant-fast", 8, 0, 9, 10, 1],
    )


def write_peers():
    write_rows(
        "peers.csv",
        ["image", "peer", "k", "ssimulacra2", "scielab", "cpu_s"],
        ["a", "y", 16, -5, 6, 4],
        ["b", "y", 16, -10, 6, 5],
        ["a", "timeless", 16, 30, 5, ""],
        ["b", "timeless", 16, 30, 5, ""],
        ["a", "blind", 16, 30, "", 0.5],
        ["b", "blind", 16, 30, "", 0.5],
    )


TABLE = """\
## 16 colours, 2 images

| method | SSIMULACRA2 ↑ | S-CIELAB ΔE ↓ | seconds |
| --- | ---: | ---: | ---: |
| live-x | 15 | 7.5 | 0.25 |
| blind | 30 | – | 0.50 |
| diffquant-fast | 41 | 2.5 | 1.50 |
| y | -7.5 | 6 | 4.50 |
| diffquant-slow | **55** | **1.5** | 9.00 |
| timeless | 30 | 5 | – |
"""
DRAW = ("results.csv", "--peers", "peers.csv", "-n", 16, "--metric", "ssimulacra2", "scielab", "-o")


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    saved = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **o: (saved.append(self), save(self, *a, **o)))
    return saved


def test_means_over_the_common_pictures_by_seconds(run):
    write_results()
    write_peers()
    status, out, err = run(*DRAW, "new/curve.png")
    assert (status, out) == (0, TABLE)
    assert err == "quality_curve: not drawn, for want of seconds: timeless\n"
    assert [path.name for path in Path("new").iterdir()] == ["curve.png"]
    with Image.open("new/curve.png") as image:
        assert image.width == 1200


def test_better_is_up_and_only_the_presets_are_joined(run, figures):
    write_results()
    write_peers()
    assert run(*DRAW, "curve.svg")[0] == 0
    [figure] = figures
    higher, lower = figure.axes
    assert not higher.yaxis_inverted()
    assert lower.yaxis_inverted()
    assert higher.get_xscale() == lower.get_xscale() == "log"
    lines = {line.get_label(): line for line in lower.get_lines()}
    np.testing.assert_allclose(lines["diffquant"].get_xydata(), [[1.5, 2.5], [9, 1.5]])
    assert [label for label, line in lines.items() if line.get_linestyle() != "None"] == ["diffquant"]
    assert {text.get_text() for text in lower.texts} == {"diffquant-fast", "diffquant-slow", "live-x", "y"}
    assert {text.get_text() for text in higher.texts} == {text.get_text() for text in lower.texts} | {"blind"}


def test_a_note_says_whose_seconds_were_taken_elsewhere(run, figures, script):
    write_results()
    write_peers()
    assert run(*DRAW, "with.png")[0] == run("results.csv", "-o", "without.png")[0] == 0
    notes = [script.NOTE in [text.get_text() for text in figure.texts] for figure in figures]
    assert notes == [True, False]


def test_a_crowd_of_labels_is_drawn_apart_and_inside(figures, script):
    rng = np.random.default_rng(0)
    names = ["diffquant-fast", "diffquant-balanced", *(f"live-peer-of-a-long-name-{i}" for i in range(14))]
    means = {name: {"psnr": 30 + s, "seconds": 1 + t} for name, (s, t) in zip(names, rng.random((16, 2)), strict=True)}
    data = script.draw(means, ["psnr"], "", ".png")
    with Image.open(io.BytesIO(data)) as image:
        assert image.width == 1200
    [axes] = figures[0].axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == len(names)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    points = [point for line in axes.get_lines()[:2] for point in axes.transData.transform(line.get_xydata())]
    assert len(points) == len(names)
    assert not any(box.contains(*point) for box in boxes for point in points)
    left, bottom, right, top = axes.bbox.extents
    assert all(left <= b.x0 and b.x1 <= right and bottom <= b.y0 and b.y1 <= top for b in boxes)


def test_places_do_not_overlap(script):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        points = rng.uniform((100, 50), (900, 350), (12, 2))
        sizes = rng.uniform((60, 12), (200, 16), (12, 2))
        boxes = np.array(script.place(points, sizes, (0, 0, 1000, 400), []))
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], sizes)
        assert boxes.min() >= 0
        assert np.all(boxes[:, 2:] <= (1000, 400))
        apart = (boxes[:, None, :2] >= boxes[None, :, 2:]) | (boxes[None, :, :2] >= boxes[:, None, 2:])
        assert np.all(apart.any(-1) | np.eye(12, dtype=bool))
        inside = (boxes[:, None, :2] < points) & (points < boxes[:, None, 2:])
        assert not inside.all(-1).any()


MISTAKES = {  # arguments, what the line must name
    "no results": (("none.csv",), "none.csv: No such file"),
    "a folder": ((".",), "Is a directory"),
    "no text": (("noise.csv",), "noise.csv: found no text"),
    "something else": (("else.csv",), "else.csv: found no column image, method, k"),
    "no peers": (("results.csv", "--peers", "none.csv"), "none.csv: No such file"),
    "other colours": (("results.csv", "-n", "5"), "results.csv: found nothing of ours with 5 colours"),
    "no such metric": (("results.csv", "--metric", "beauty", "psnr"), "--metric: found beauty, expected some of psnr"),
    "no metric": (("results.csv", "--metric"), "--metric: found none"),
    "not measured": (("results.csv", "--metric", "psnr"), "results.csv: found no psnr of ours on every picture"),
    "other pictures": (("results.csv", "--peers", "others.csv"), "found no picture that all methods have"),
    "another ending": (("results.csv", "-o", "curve.xyz"), "--out: found curve.xyz, expected an ending of .png"),
    "no number": (("results.csv", "-n", "few"), "few"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line(run, arguments, text):
    write_results()
    write_rows("else.csv", ["name", "age"], ["x", 3])
    write_rows("others.csv", ["image", "peer", "k", "psnr", "cpu_s"], ["z", "y", 16, 30, 1])
    Path("noise.csv").write_bytes(b"image,method,k,psnr\n\xff,x,4,30\n")
    before = set(Path().rglob("*"))
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("quality_curve: ")
    assert text in err
    assert set(Path().rglob("*")) == before
