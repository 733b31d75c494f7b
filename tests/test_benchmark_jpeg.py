"""`scripts/benchmark_jpeg.py`: what it writes, prints and draws, how it goes on and how it fails.

Our encoder is replaced by Pillow's. Oracles: NumPy on the files that are kept; files smaller by a known factor; means
by hand; what Pillow and matplotlib say of the files and drawings.
"""

import csv
import dataclasses
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from diffquant import metrics, presets, runner

SCRIPTS = Path(__file__).parents[1] / "scripts"
HEIGHT, WIDTH = 24, 40
METRICS = ("psnr", "ms_ssim", "ssimulacra2", "butteraugli_3norm")
COLUMNS = ("encoder", "image", "setting", *METRICS, "bytes", "seconds")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to be in, with two pictures, a and b_2, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for seed, name in enumerate(("a", "b_2")):
        noise = np.random.default_rng(seed).integers(-30, 31, (HEIGHT, WIDTH, 3))
        picture = np.stack([6 * x, 9 * y, 4 * (x + y)], -1) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(f"images/{name}.png")
    Path("images/notes.txt").write_text("taken in May\n")
    return tmp_path


def jpeg(image, quality, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality, **options)
    return data.getvalue()


@pytest.fixture
def encoded(monkeypatch):
    """Our encoder, as a stand-in that takes three seconds by its own account: the presets and qualities it was run at.

    With "warm" for each time that it was only warmed up.
    """
    calls = []

    def config(preset, *, quality, subsampling="auto", seed=0):
        if not 0 < quality <= 100:
            raise ValueError(f"quality: found {quality}, expected above 0, at most 100")
        return SimpleNamespace(preset=preset, quality=quality)

    def stages(picture, config, *, stop):
        calls.append("warm")
        for name, share in (("relax", 0.0), ("relax", 0.1), ("harden", 0.0), ("harden", 0.1)):
            yield SimpleNamespace(name=name, share=share)
            assert stop() == (name == "relax")
        raise AssertionError("warmed up for longer than one round")

    def compress(picture, config):
        calls.append((config.preset, config.quality))
        data = jpeg(Image.fromarray(picture.srgb8), int(config.quality))
        return SimpleNamespace(data=data, report=SimpleNamespace(seconds=3.0))

    monkeypatch.setattr(presets, "jpeg_config", config, raising=False)
    monkeypatch.setattr(runner, "stages", stages)
    monkeypatch.setattr(runner, "compress", compress)
    return calls


def mean_error(reference, decoded):
    return float(np.abs(reference.astype(float) - decoded).mean())


@pytest.fixture
def script(monkeypatch):
    """The script as a module, without the user's compilations, and with an error that is quickly measured."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_jpeg
    import jpeg_runs

    monkeypatch.setattr(jpeg_runs, "use_compilation_cache", lambda: None)
    quick = dataclasses.replace(metrics.METRICS["butteraugli_3norm"], function=mean_error)
    monkeypatch.setitem(metrics.METRICS, "butteraugli_3norm", quick)
    return benchmark_jpeg


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
def run(folder, encoded, undrawn, script, capsys):
    """Runs it in the folder, in this process: exit status, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            script.main([*map(str, ("--images", "images", "--out", "out", *arguments))])
        return stop.value.code, *capsys.readouterr()

    return run


def write(path, header, *rows):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def rows_of(path):
    with Path(path).open(newline="") as file:
        return {(row["encoder"], row["image"], row["setting"]): row for row in csv.DictReader(file)}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def psnr(path, image):
    error = pixels(path) - pixels(f"images/{image}.png").astype(float)
    return 10 * np.log10(255**2 / np.mean(error**2))


# Rows


def test_rows_are_right_and_nothing_is_done_twice(run, encoded):
    status, out, err = run("--preset", "fast", "best", "--quality", 40, 62.5, 40)
    assert (status, err) == (0, "")
    rows = rows_of("out/results.csv")
    ours = ["diffquant-jpeg-fast", "diffquant-jpeg-best"]
    assert list(rows) == [(encoder, image, q) for encoder in ours for q in ("40", "62.5") for image in ("a", "b_2")]
    for (encoder, image, setting), row in rows.items():
        assert tuple(row) == COLUMNS
        kept = Path(f"out/images/{encoder}_{image}_{setting}.jpg")
        assert int(row["bytes"]) == kept.stat().st_size
        assert float(row["psnr"]) == pytest.approx(psnr(kept, image), rel=1e-6)
        assert float(row["seconds"]) == 3
        assert all(row.values())
    every = [(preset, quality) for preset in ("fast", "best") for quality in (40, 62.5) for _ in range(2)]
    assert encoded == [call for each in every for call in ("warm", each)]

    encoded.clear()
    results = Path("out/results.csv")
    finished = results.read_text()
    results.write_text(finished[: finished.rindex(",")])  # the last row without its seconds and its end
    assert run("--preset", "fast", "best", "--quality", 40, 62.5) == (0, out, "")
    assert encoded == ["warm", ("best", 62.5)]
    assert results.read_text() == finished

    encoded.clear()
    without = [[v for k, v in row.items() if k != "psnr"] for row in rows.values()]
    write(results, [name for name in COLUMNS if name != "psnr"], *without)
    assert run("--preset", "fast", "best", "--quality", 40, 62.5) == (0, out, "")
    assert encoded == []  # the kept files are measured
    assert rows_of(results) == rows


def test_files_of_peers_are_measured_here_and_again_once_they_change(run, encoded):
    Path("files").mkdir()
    source = Image.fromarray(pixels("images/b_2.png"))
    kept = Path("files/some_peer_b_2_1.5.jpg")
    kept.write_bytes(jpeg(source, 60))
    Path("files/other_c_1.jpg").write_bytes(b"of another picture")
    Path("files/some_peer_a_1.png").write_bytes(b"no JPEG")
    arguments = ("--preset", "--peer-files", "files", "--compare", "some_peer")
    status, _, err = run(*arguments)
    assert (status, err) == (0, "")
    [(key, row)] = rows_of("out/results.csv").items()
    assert key == ("some_peer", "b_2", "1.5")
    assert float(row["psnr"]) == pytest.approx(psnr(kept, "b_2"), rel=1e-6)
    assert row["seconds"] == ""

    before = Path("out/results.csv").read_text()
    assert run(*arguments)[0] == 0
    assert Path("out/results.csv").read_text() == before  # nothing was added
    kept.write_bytes(jpeg(source, 30))
    assert run(*arguments)[0] == 0
    row = rows_of("out/results.csv")["some_peer", "b_2", "1.5"]
    assert int(row["bytes"]) == kept.stat().st_size
    assert float(row["psnr"]) == pytest.approx(psnr(kept, "b_2"), rel=1e-6)
    assert encoded == []


def test_nothing_is_taken_from_the_csv_of_an_encoder_that_is_measured_here(run):
    Path("files").mkdir()
    for quality in (20, 80):
        Path(f"files/peer_a_{quality}.jpg").write_bytes(jpeg(Image.fromarray(pixels("images/a.png")), quality))
    absurd = [["peer", "a", setting, 30, 0.9, 60, 2, 1] for setting in (20, 50, 80)]
    write("peers.csv", [*COLUMNS[:-1]], *absurd)
    status, out, _ = run("--preset", "--peer-files", "files", "--peers", "peers.csv", "--compare", "peer")
    assert status == 0
    sizes = [f"{Path(f'files/peer_a_{quality}.jpg').stat().st_size:,}" for quality in (20, 80)]
    assert [line.split(" | ")[5] for line in out.splitlines() if line.endswith("| – |")] == sizes


def test_of_several_pictures_that_a_file_may_be_of_the_longest_name_counts(script):
    point = sys.modules["jpeg_runs"]._point
    assert point(Path("x_b_2.jpg"), ["b", "b_2"]) == ("x", "b", "2")
    assert point(Path("x_y_a_b_0.5.jpg"), ["b", "a_b", "c"]) == ("x_y", "a_b", "0.5")
    assert point(Path("a_1.jpg"), ["a"]) is None
    assert point(Path("_a_1.jpg"), ["a"]) is None
    assert point(Path("x_a_.jpg"), ["a"]) is None


def test_a_bad_picture_is_reported_and_the_others_are_measured(run):
    Path("images/cut.png").write_bytes(Path("images/a.png").read_bytes()[:200])
    status, out, err = run("--quality", 40, 60)
    assert status == 2
    assert err.count("cut.png: truncated PNG") == len(err.splitlines()) == 2
    assert "## diffquant-jpeg-balanced, 2 images" in out


def test_an_interrupted_run_keeps_its_rows(run, encoded, monkeypatch):
    compress = runner.compress

    def interrupted(picture, config):
        if config.quality == 60:
            raise KeyboardInterrupt
        return compress(picture, config)

    monkeypatch.setattr(runner, "compress", interrupted)
    line = "benchmark_jpeg: interrupted; finished rows are kept: run again to go on\n"
    assert run("--quality", 40, 60) == (130, "", line)
    assert list(rows_of("out/results.csv")) == [("diffquant-jpeg-balanced", image, "40") for image in ("a", "b_2")]
    monkeypatch.setattr(runner, "compress", compress)
    encoded.clear()
    assert run("--quality", 40, 60)[0] == 0
    assert encoded == ["warm", ("balanced", 60)] * 2


@pytest.mark.slow
def test_several_processes_do_the_same(folder, run):
    Path("files").mkdir()
    for image in ("a", "b_2"):
        for quality in (30, 60, 90):
            source = Image.fromarray(pixels(f"images/{image}.png"))
            Path(f"files/peer_{image}_{quality}.jpg").write_bytes(jpeg(source, quality))
    arguments = ("--preset", "--peer-files", "files", "--compare", "peer")
    run(*arguments)
    command = [sys.executable, "-W", "error", SCRIPTS / "benchmark_jpeg.py", "--images", "images", "--out", "two"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(folder)}
    done = subprocess.run(
        [*map(str, (*command, *arguments, "--jobs", 2))], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "## peer, 2 images" in done.stdout
    one, two = (
        {at: (row["psnr"], row["bytes"]) for at, row in rows_of(f"{out}/results.csv").items()} for out in ("out", "two")
    )
    assert len(one) == 6
    assert one == two


# Tables: numbers by hand


def points(encoder, image, *sizes, scores=(40, 60, 80)):
    """Rows whose metrics grow evenly, at sizes in bytes; Butteraugli halves."""
    for setting, (size, score) in enumerate(zip(sizes, scores, strict=True)):
        yield [encoder, image, setting, score / 2, score / 100, score, 2.0**-setting, size, 1 + setting]


def write_results(*rows):
    write("out/results.csv", COLUMNS, *rows)


COMPARED = ("--preset", "fast", "--quality", 1, 2, "--peers", "peers.csv")


@pytest.fixture
def scored(folder):
    """Ours at two qualities: against x a tenth smaller on a, three tenths on b_2; y lacks b_2, and gets worse."""
    ours = [("diffquant-jpeg-fast", "a", 900, 1800), ("diffquant-jpeg-fast", "b_2", 700, 2800)]
    rows = [row for which in ours for row in points(*which, scores=(60, 80))]
    write_results(*[[encoder, image, setting + 1, *rest] for encoder, image, setting, *rest in rows])
    peers = [("x", "a", 1000, 2000), ("x", "b_2", 1000, 4000), ("y", "a", 1800, 900), ("z", "c", 1, 2)]
    write("peers.csv", COLUMNS[:-1], *[row[:-1] for which in peers for row in points(*which, scores=(60, 80))])


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
    write("peers.csv", COLUMNS, *points("x", "a", 1000, 2000, 4000))
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
    write("peers.csv", COLUMNS, *[row for which in peers for row in points(*which)])
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
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

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


def test_without_matplotlib_there_are_tables_still(run, drawn, scored, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, err = run(*COMPARED)
    assert status == 0
    assert "-20.0 %" in out
    assert err == ("benchmark_jpeg: no drawings: found no matplotlib, and drawing needs it: pip install matplotlib\n")
    assert not list(Path("out").glob("*.png"))


# Live peers


@pytest.fixture
def live(script, monkeypatch, tmp_path):
    """The module of live peers, with no program on PATH and no pyjpegli: its names and lines are asked for afresh."""
    import live_jpeg_peers

    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "pyjpegli", None)
    live_jpeg_peers._cjpeg.cache_clear()
    yield live_jpeg_peers
    live_jpeg_peers._cjpeg.cache_clear()


def test_live_peers_are_run_and_those_that_are_not_installed_are_named(run, live, monkeypatch):
    monkeypatch.setattr(live, "QUALITIES", (30, 80))
    status, out, err = run("--preset", "--live", "--compare", "libjpeg-turbo")
    assert status == 0
    assert err.splitlines() == [
        "benchmark_jpeg: pyjpegli: skipped: found no pyjpegli (pip install pyjpegli)",
        "benchmark_jpeg: mozjpeg: skipped: found no cjpeg on PATH",
    ]
    assert "## libjpeg-turbo, 2 images" in out
    rows = rows_of("out/results.csv")
    assert list(rows) == [("libjpeg-turbo", image, quality) for quality in ("30", "80") for image in ("a", "b_2")]
    assert all(float(row["seconds"]) > 0 for row in rows.values())
    with Image.open("out/images/libjpeg-turbo_a_30.jpg") as image:
        assert image.info["progressive"]
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_jpegli_writes_a_file_of_half_size_chroma(script):
    pytest.importorskip("pyjpegli")
    import live_jpeg_peers

    data = live_jpeg_peers.PEERS["pyjpegli"](Image.new("RGB", (40, 24), "teal"), 75)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (40, 24)
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


def program(folder, banner, *, writes):
    path = folder / "bin" / "cjpeg"
    path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo "{banner}" >&2 && exit\n{writes}\n')
    path.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_of_programs_called_cjpeg_only_mozjpeg_will_do(live, tmp_path):
    program(tmp_path, "libjpeg-turbo version 2.1.5 (build 20230203)", writes="exit 3")
    names, lines = live.available()
    assert "mozjpeg" not in names
    assert "mozjpeg: skipped: found another cjpeg on PATH: libjpeg-turbo version 2.1.5 (build 20230203)" in lines


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_mozjpeg_gets_the_picture_and_its_quality(live, tmp_path):
    program(tmp_path, "mozjpeg version 4.1.1 (build 1)", writes='echo "$@"; exec /bin/cat')
    assert "mozjpeg" in live.available()[0]
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8))
    options, _, data = live.PEERS["mozjpeg"](source, 35).partition(b"\n")
    assert options == b"-quality 35 -sample 2x2"
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(image, source)


# Mistakes


def nothing():
    pass


def peers(header, *rows):
    return lambda: write("peers.csv", header, *rows)


def results_of_something_else():
    write("out/results.csv", ["name", "age"], ["x", 3])


def two_of_one_name():
    Image.new("RGB", (4, 3)).save("images/a.jpg")


def files_of_ours():
    Path("files").mkdir()
    Path("files/diffquant-jpeg-balanced_a_40.jpg").write_bytes(b"")


PEERS = ("--peers", "peers.csv")
MISTAKES = {  # what is there, arguments, what the line must name
    "no folder": (nothing, ("--images", "none"), "none: No such file"),
    "no pictures": (nothing, ("--images", "empty"), "--images: found no picture in empty"),
    "two of one name": (two_of_one_name, (), "a.jpg and a.png"),
    "no jobs": (nothing, ("--jobs", 0), "--jobs: found 0"),
    "nothing to do": (nothing, ("--preset",), "--preset, --quality: found none"),
    "no quality": (nothing, ("--quality",), "--preset, --quality: found none"),
    "bad quality": (nothing, ("--quality", 50, 0), "--quality: quality: found 0.0, expected above 0"),
    "bad preset": (nothing, ("--preset", "good"), "'good'"),
    "peers without a column": (peers(["image", "setting", "psnr"]), PEERS, "peers.csv: found no column encoder"),
    "peers without numbers": (peers(["image", "setting", "encoder"]), PEERS, "peers.csv: found no number"),
    "peers with a word": (
        peers(COLUMNS, ["x", "a", 1, 30, 1, 50, 1, 900], ["x", "a", 2, "good"]),
        PEERS,
        "peers.csv, line 3",
    ),
    "peers that are a folder": (nothing, ("--peers", "empty"), "empty: Is a directory"),
    "no files of peers": (nothing, ("--peer-files", "empty"), "--peer-files: found no ENCODER_IMAGE_SETTING.jpg"),
    "files of what is run": (files_of_ours, ("--peer-files", "files"), "found files of diffquant-jpeg-balanced"),
    "results of something else": (results_of_something_else, (), "results.csv: found no column encoder, image"),
    "an encoder that is not there": (
        nothing,
        ("--preset", "--compare", "x"),
        "--compare: found x, expected some of",
    ),
}


@pytest.mark.parametrize(("prepare", "arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line(run, prepare, arguments, text):
    Path("empty").mkdir()
    prepare()
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("benchmark_jpeg: ")
    assert text in err
