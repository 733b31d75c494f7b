"""`scripts/benchmark_jpeg.py`: what it writes, how it goes on and how it fails.

Our encoder is replaced by Pillow's. Oracles: NumPy on the files that are kept, and what Pillow says of them.
"""

import dataclasses
import functools
import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rows import read_rows, write_rows

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
def script(load_script, monkeypatch):
    """The script as a module, without the user's compilations, an error that is quickly measured, empty drawings."""
    script = load_script("benchmark_jpeg")
    monkeypatch.setattr(load_script("jpeg_runs"), "use_compilation_cache", lambda: None)
    monkeypatch.setattr(
        load_script("jpeg_plots"), "draw", lambda lines, headline: b""
    )  # true ones take longer than all else
    quick = dataclasses.replace(metrics.METRICS["butteraugli_3norm"], function=mean_error)
    monkeypatch.setitem(metrics.METRICS, "butteraugli_3norm", quick)
    return script


@pytest.fixture
def run(folder, encoded, script, outcome):
    """Runs it in the folder, in this process: exit status, stdout, stderr."""

    return functools.partial(outcome, script.main, "--images", "images", "--out", "out")


def rows_of(path):
    return {(row["encoder"], row["image"], row["setting"]): row for row in read_rows(path)}


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
    write_rows(results, [name for name in COLUMNS if name != "psnr"], *without)
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
    write_rows("peers.csv", [*COLUMNS[:-1]], *absurd)
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


def test_live_peers_are_run_and_those_that_are_not_installed_are_named(run, monkeypatch, tmp_path):
    live = sys.modules["live_jpeg_peers"]
    monkeypatch.setattr(live, "QUALITIES", (30, 80))
    monkeypatch.setattr(live, "_cjpeg", live._cjpeg.__wrapped__)  # remembers nothing
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pyjpegli", None)
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


# Mistakes


def nothing():
    pass


def peers(header, *rows):
    return lambda: write_rows("peers.csv", header, *rows)


def results_of_something_else():
    write_rows("out/results.csv", ["name", "age"], ["x", 3])


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
