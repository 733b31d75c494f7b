"""`palette/median_cut.py` and `scripts/median_cut_study.py`.

Oracles: cuts of a few points by hand, a slow median cut in plain Python, and OkLab by its published formula.
"""

import csv
import itertools
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from diffquant.palette.median_cut import HEURISTICS, Heuristic, median_cut, steps

SCRIPTS = Path(__file__).parents[1] / "scripts"


def cloud(seed, n=40):
    """Points that share coordinates, with weights of which no two are equal."""
    rng = np.random.default_rng(seed)
    coordinates = rng.random((12, 3)) * [1, 0.6, 0.5]
    places = np.unique(rng.integers(0, 12, (n, 3)), axis=0)
    points = np.take_along_axis(coordinates, places, axis=0)
    return rng.permutation(points), rng.uniform(0.5, 4, len(points))


def partitions(points, weights, k, name):
    """The members of every box, before the first cut and after each, the textbook's way."""
    axis, operator, measure = name.split("_")

    def lengths(box):
        return [max(points[i][c] for i in box) - min(points[i][c] for i in box) for c in range(3)]

    def errors(box):
        total = math.fsum(weights[i] for i in box)
        means = [math.fsum(weights[i] * points[i][c] for i in box) / total for c in range(3)]
        counts = {i: 1 if measure == "er2noW" else weights[i] for i in box}
        squares = [math.fsum(counts[i] * (points[i][c] - means[c]) ** 2 for i in box) for c in range(3)]
        return [square if length else 0 for square, length in zip(squares, lengths(box), strict=True)]

    def score(box):
        values = lengths(box) if measure == "len" else errors(box)
        if measure == "er2normW":
            values = [value / math.fsum(weights[i] for i in box) for value in values]
        return {"max": max, "mul": math.prod, "sum": sum}[operator](values)

    boxes = [list(range(len(points)))]
    yield [set(box) for box in boxes]
    while len(boxes) < k and (mixed := [box for box in boxes if any(lengths(box))]):
        worst = max(mixed, key=score)
        values = lengths(worst) if axis == "xlen" else errors(worst)
        c = values.index(max(values))
        row = sorted(worst, key=lambda i: points[i][c])
        half, total = 0.0, math.fsum(weights[i] for i in worst)
        for i in row:
            half += weights[i]
            if half >= total / 2:
                break
        cut = points[i][c]
        last = cut == points[row[-1]][c]
        low = [i for i in worst if (points[i][c] < cut if last else points[i][c] <= cut)]
        boxes[boxes.index(worst)] = low
        boxes.append([i for i in worst if i not in low])
        yield [set(box) for box in boxes]


def members(boxes):
    return [set(box.members.tolist()) for box in boxes]


def test_there_are_24_heuristics_of_different_names():
    assert len(HEURISTICS) == len(set(HEURISTICS.values())) == 24
    assert all(name == heuristic.name for name, heuristic in HEURISTICS.items())
    parts = [("xer2", "xlen"), ("max", "mul", "sum"), ("er2absW", "er2noW", "er2normW", "len")]
    assert list(HEURISTICS) == ["_".join(name) for name in itertools.product(*parts)]
    assert Heuristic().name == "xer2_max_er2absW"


@pytest.mark.parametrize("name", HEURISTICS)
def test_every_cut_is_that_of_a_plain_median_cut(name):
    for seed in range(4):
        points, weights = cloud(seed)
        found = [members(boxes) for boxes in steps(points, weights, 15, HEURISTICS[name])]
        assert found == list(partitions(points.tolist(), weights.tolist(), 15, name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Weighted means 2 and 5/21. Errors along x: 80 weighted, 8 not; along y: 23.8 weighted, 22.8 not. Lengths 4, 5.
        ("xer2_max_er2absW", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_er2normW", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_len", [[2 / 11, 5 / 11, 0], [4, 0, 0]]),
        ("xer2_max_er2noW", [[2, 0, 0], [2, 5, 0]]),
        ("xlen_max_er2absW", [[2, 0, 0], [2, 5, 0]]),
        ("xlen_max_er2noW", [[2, 0, 0], [2, 5, 0]]),
    ],
)
def test_the_axis_of_the_largest_error_or_the_longest(name, expected):
    points = np.array([[0.0, 0, 0], [4, 0, 0], [2, 5, 0]])
    found = median_cut(points, np.array([10.0, 10, 1]), 2, HEURISTICS[name])
    np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize("axis", ["xer2", "xlen"])
@pytest.mark.parametrize(("operator", "cut"), [("max", 0), ("sum", 1), ("mul", 2)])
def test_the_operator_is_over_the_three_axes(axis, operator, cut):
    # Lengths of three pairs: largest 10, 7, 4; sums 12, 14.25, 12; products 10, 12.25, 64. They lie far apart along z,
    # and the weights are such that the first cut leaves the first pair, and the second the other two.
    lengths = np.array([[10, 1, 1], [7, 7, 0.25], [4, 4, 4]])
    corners = np.array([[0.0, 0, 0], [0, 0, 1000], [0, 0, 3000]])
    points = np.stack([corners, corners + lengths], axis=1).reshape(6, 3)
    weights = np.array([3.0, 3, 1, 1, 1, 1])
    *_, three, four = steps(points, weights, 4, Heuristic(axis=axis, operator=operator, measure="len"))
    assert members(three) == [{0, 1}, {2, 3}, {4, 5}]
    assert [len(box.members) for box in four] == [*(1 if i == cut else 2 for i in range(3)), 1]


@pytest.mark.parametrize("axis", ["xer2", "xlen"])
@pytest.mark.parametrize("operator", ["max", "sum"])
@pytest.mark.parametrize(("measure", "cut"), [("er2absW", 0), ("len", 1), ("er2noW", 2), ("er2normW", 3)])
def test_the_measure_counts_by_weight_or_once_or_by_share(axis, operator, measure, cut):
    # Along x, four groups at different z: two heavy points; a long row with its weight in the middle; twenty light
    # points at two places; two points of weight 1. The first three cuts separate the groups.
    #    error weighted   once    by share    length
    #               200      2           1         2
    #              2.45   24.5        0.24         7
    #             5.625     45        2.25         3
    #              12.5   12.5        6.25         5
    groups = [([0, 2], [100, 100]), ([0, 3.5, 7], [0.1, 10, 0.1]), ([0, 3] * 10, [0.125] * 20), ([0, 5], [1, 1])]
    points = np.array([[x, 0, z] for z, (row, _) in zip((0, 1000, 2000, 4000), groups, strict=True) for x in row])
    weights = np.concatenate([weights for _, weights in groups])
    *_, four, five = steps(points, weights, 5, Heuristic(axis=axis, operator=operator, measure=measure))
    sizes = [len(row) for row, _ in groups]
    assert [len(box.members) for box in four] == sizes
    assert [i for i in range(4) if len(five[i].members) < sizes[i]] == [cut]


@pytest.mark.parametrize("name", HEURISTICS)
def test_each_step_cuts_one_box_in_two_and_a_box_knows_its_points(name):
    points, weights = cloud(7)
    history = list(steps(points, weights, 9, HEURISTICS[name]))
    assert [len(boxes) for boxes in history] == list(range(1, 10))
    for before, after in itertools.pairwise(history):
        [place] = [i for i, box in enumerate(before) if after[i] is not box]
        assert members([before[place]])[0] == set.union(*members([after[place], after[-1]]))
    for box in history[-1]:
        x, w = points[box.members], weights[box.members]
        np.testing.assert_allclose(box.mean, np.average(x, axis=0, weights=w), atol=1e-14)
        np.testing.assert_array_equal([box.low, box.high], [x.min(axis=0), x.max(axis=0)])
        assert box.weight == pytest.approx(w.sum())
    np.testing.assert_array_equal(median_cut(points, weights, 9, HEURISTICS[name]), [box.mean for box in history[-1]])


@pytest.mark.parametrize("name", [name for name in HEURISTICS if not name.endswith("noW")])
def test_a_weight_of_two_is_as_good_as_the_point_twice(name):
    for seed in range(3):
        points, _ = cloud(seed)
        counts = np.random.default_rng(seed).integers(1, 6, len(points))
        found = median_cut(points, counts.astype(float), 12, HEURISTICS[name])
        again = median_cut(points.repeat(counts, axis=0), np.ones(counts.sum()), 12, HEURISTICS[name])
        np.testing.assert_allclose(again, found, atol=1e-12)


@pytest.mark.parametrize("name", HEURISTICS)
@pytest.mark.parametrize("flat", [(), (1,), (0, 2)], ids=str)
def test_the_cut_ends_at_the_distinct_points(name, flat):
    # Some points occur twice, and where an axis is flat all products are 0: still everything is cut.
    points, weights = cloud(3, n=25)
    points[:, flat] = 0.3
    points, weights = np.concatenate([points, points[:9]]), np.concatenate([weights, weights[:9]])
    found = median_cut(points, weights, 99, HEURISTICS[name])
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(points, axis=0))
    assert len(found) == len(np.unique(points, axis=0))


def test_an_error_too_small_for_a_float_does_not_stop_the_cut():
    points = np.array([[0.5, 0.5, 0], [0.5, 0.5, 1e-200]])
    np.testing.assert_array_equal(median_cut(points, np.ones(2), 5), points)


def test_fewer_boxes_than_one_are_refused():
    with pytest.raises(ValueError, match="k is 0, expected at least one box"):
        median_cut(np.zeros((2, 3)), np.ones(2), 0)


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import median_cut_study

    return median_cut_study


@pytest.fixture
def run(script, capsys, monkeypatch, tmp_path):
    """Runs it in a folder of its own, beside some pictures: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            script.main([*map(str, arguments)])
        return stop.value.code, *capsys.readouterr()

    for folder in ("photos", "more", "empty"):
        Path(folder).mkdir()
    save("photos/a.png", picture(0))
    save("photos/b.png", picture(1))
    save("more/a.png", picture(2))
    Path("notes.txt").write_text("no picture")
    return run


def picture(seed, h=11, w=17):
    rng = np.random.default_rng(seed)
    return (rng.random((h, w, 3)) ** [1, 2, 3] * 255).astype(np.uint8)


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def rows():
    with Path("runs/median_cut/results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def lines(out):
    """Cells of a table in Markdown."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in out.splitlines()]


LMS = np.array(  # Ottosson 2020: of linear light; and OkLab of its cube roots
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


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
