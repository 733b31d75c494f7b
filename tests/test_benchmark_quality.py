"""`scripts/benchmark_quality.py`: what it writes, what it prints, how it goes on and how it fails.

Oracles: NumPy on the files that it keeps; means, ratios and counts by hand from a few numbers.
"""

import csv
import functools
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffquant.metrics import METRICS, Metric

SCRIPTS = Path(__file__).parents[1] / "scripts"
HEIGHT, WIDTH = 24, 40
LIVE = ["live-pillow-mediancut-fs", "live-pillow-maxcoverage-kmeans5-fs", "live-ffmpeg-sierra2_4a"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """No programs on PATH; compilations are shared between the processes, but not with the user's own."""
    cache = tmp_path_factory.mktemp("cache")
    shared = {"XDG_CACHE_HOME": str(cache), "JAX_ENABLE_COMPILATION_CACHE": "true", "PATH": str(cache)}
    kept = {k: v for k, v in os.environ.items() if k not in ("JAX_COMPILATION_CACHE_DIR", "COLUMNS")}
    return kept | {"JAX_PLATFORMS": "cpu"} | shared


@pytest.fixture
def images(tmp_path):
    """A folder of two pictures, a and b, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for seed, name in enumerate("ab"):
        noise = np.random.default_rng(seed).integers(-9, 10, (HEIGHT, WIDTH, 3))
        picture = np.stack([6 * x, 9 * y, 4 * (x + y)], -1) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("taken in May\n")
    return folder


def command(*arguments):
    return [sys.executable, "-W", "error", str(SCRIPTS / "benchmark_quality.py"), *map(str, arguments)]


@pytest.fixture
def script(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import benchmark_quality

    monkeypatch.setattr("quality_runs.use_compilation_cache", lambda: None)  # leave this process's settings as they are
    return benchmark_quality


@pytest.fixture
def run(script, outcome):
    """Runs it in this process: exit status, stdout, stderr."""
    return functools.partial(outcome, script.main)


def rows_of(path):
    return rows_in(path.read_text())


def rows_in(text):
    return {(row["image"], row["method"], int(row["k"])): row for row in csv.DictReader(io.StringIO(text))}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_rows_are_right_and_nothing_is_done_twice(run, images, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no programs
    out = tmp_path / "new" / "out"
    arguments = ("--images", images, "-n", 4, 4, "--preset", "fast", "--live", "--out", out)
    status, shown, said = run(*arguments)
    assert status == 0, said
    assert "benchmark_quality: live-pngquant-fs: skipped: found no pngquant on PATH that works" in said
    assert "benchmark_quality: live-imagemagick-fs: skipped: found no magick or convert" in said
    assert "## 4 colours, 2 images" in shown

    results = out / "results.csv"
    rows = rows_of(results)
    assert list(rows) == [(image, method, 4) for method in ["diffquant-fast", *LIVE] for image in "ab"]
    assert list(rows["a", LIVE[0], 4]) == ["image", "method", "k", *METRICS, "bytes", "seconds"]
    for (image, method, k), row in rows.items():
        kept = out / "images" / f"{image}-{k}-{method}.png"
        error = pixels(kept) - pixels(images / f"{image}.png").astype(float)
        assert float(row["psnr"]) == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), rel=1e-6)
        assert int(row["bytes"]) == kept.stat().st_size
        assert float(row["seconds"]) > 0
        assert len(np.unique(pixels(kept).reshape(-1, 3), axis=0)) <= 4

    finished = results.read_text()
    half = finished[: finished.rindex(",")]  # the last row without its seconds and its end
    results.write_text(half)
    assert run(*arguments)[1] == shown.replace(*shown_seconds(shown, results, LIVE[-1]))
    resumed = results.read_text()
    *whole, last = finished.splitlines()
    assert resumed.splitlines()[:-1] == whole
    assert resumed.splitlines()[-1].rpartition(",")[0] == last.rpartition(",")[0]

    new = ("psnr", "butteraugli_3norm", "flip")
    without = io.StringIO(newline="")
    writer = csv.DictWriter(without, [name for name in rows["a", LIVE[0], 4] if name not in new], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows_of(results).values())
    results.write_text(without.getvalue())
    assert run(*arguments)[0] == 0
    assert rows_of(results) == rows_in(resumed)  # seconds too: only those metrics are new


def shown_seconds(text, results, method):
    """The line of `method` as it was, and as its seconds are now."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {method} |"))
    mean = np.mean([float(rows_of(results)[image, method, 4]["seconds"]) for image in "ab"])
    return line, f"{line[: line.rindex('|', 0, -1)]}| {mean:.2f} |"


# Two pictures, numbers by hand


def write(path, header, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def finished(images, tmp_path):
    """Results of "fast" on a and b with 4 colours: psnr 30 and 40, scielab 1 and 3; all else 0.5."""
    scored = {"a": {"psnr": 30, "scielab": 1}, "b": {"psnr": 40, "scielab": 3}}
    (tmp_path / "out").mkdir()
    write(
        tmp_path / "out" / "results.csv",
        ["image", "method", "k", *METRICS, "bytes", "seconds"],
        *[[i, "diffquant-fast", 4, *(values.get(m, 0.5) for m in METRICS), 1000, 2] for i, values in scored.items()],
    )
    return ("--images", images, "-n", 4, "--preset", "fast", "--out", tmp_path / "out")


PEERS = (
    ["image", "peer", "k", "psnr", "scielab", "png_bytes_oxipng", "cpu_s", "remark"],
    ["a", "steady", 4, 36, 2, 800, 0.5, ""],
    ["b", "steady", 4, 32, 2, 2800, 0.25, "slow"],
    ["a", "moody", 4, 20, 1.5, 900, "", ""],
    ["b", "moody", 4, 44, 4, 1100, 1, ""],
    ["a", "partial", 4, 99, 0, 1, 0, ""],
    ["a", "steady", 8, 99, 0, 1, 0, ""],
    ["c", "steady", 4, 99, 0, 1, 0, ""],
)


def test_tables_hold_means_the_best_peer_and_images_ahead(run, finished, tmp_path):
    status, shown, said = run(*finished, "--peers", write(tmp_path / "peers.csv", *PEERS))
    assert (status, said) == (0, "")
    assert shown.splitlines() == [
        "## 4 colours, 2 images",
        "",
        "| method | PSNR dB ↑ | S-CIELAB ΔE ↓ | bytes | seconds |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| diffquant-fast | **35** | **2** | 1,000 | 2.00 |",
        "| moody | 32 | 2.75 | 1,000 | – |",
        "| steady | 34 | **2** | 1,800 | 0.38 |",
        "",
        "Left out, since they lack some of these images: partial.",
        "",
        "| ours | metric | mean | best peer's | best peer | ratio | images ahead |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| diffquant-fast | PSNR dB ↑ | 35 | 34 | steady | 1.029 | 0 of 2 |",
        "| diffquant-fast | S-CIELAB ΔE ↓ | 2 | 2 | steady | 1.000 | 1 of 2 |",
        "",
    ]


def test_without_peers_the_tables_hold_ours_only(script, capsys, finished, tmp_path):
    with pytest.raises(SystemExit) as stop:
        script.main([*map(str, finished), "--peers", str(tmp_path / "none.csv")])
    assert stop.value.code == 0
    shown = capsys.readouterr()
    assert shown.err == f"benchmark_quality: --peers: found no file {tmp_path / 'none.csv'}; only ours are shown\n"
    header, _, *rows = [line for line in shown.out.splitlines() if line.startswith("|")]
    assert len(rows) == 1
    assert all(metric.label in header for metric in METRICS.values())


def test_metrics_are_compared_once_they_are_ours_and_shown_apart_before(script, monkeypatch):
    tables = sys.modules["quality_tables"]
    own = {"ours": {"a": {"psnr": 30.0, "dssim": 0.5}}}
    peers = {"x": {"a": {"psnr": 20.0, "dssim": 0.25}}, "y": {"a": {"psnr": 20.0, "dssim": 0.75}}}
    apart = "| dssim ↓ | 0.25 | x |"
    assert apart in tables.tables(4, own, peers, ["a"])
    dssim = Metric(function=lambda reference, decoded: 0.0, label="DSSIM", higher_is_better=False, digits=3)
    monkeypatch.setitem(METRICS, "dssim", dssim)
    text = tables.tables(4, own, peers, ["a"])
    assert apart not in text
    assert "| ours | DSSIM ↓ | 0.5 | 0.25 | x | 2.000 | 0 of 1 |" in text


def test_only_what_no_metric_of_ours_measures_is_shown_apart(script):
    assert not sys.modules["quality_tables"].ELSEWHERE.keys() & METRICS.keys()


# Mistakes


def peers_without_a_column(folder):
    write(folder / "peers.csv", ["image", "k", "psnr"], ["a", 4, 30])


def peers_without_a_metric(folder):
    write(folder / "peers.csv", ["image", "peer", "k", "bytes"], ["a", "x", 4, 30])


def peers_with_a_word(folder):
    write(folder / "peers.csv", ["image", "peer", "k", "psnr"], ["a", "x", 4, 30], ["b", "x", 4, "good"])


def peers_that_are_no_text(folder):
    (folder / "peers.csv").write_bytes(b"image,peer,k,psnr\n\xff,x,4,30\n")


def results_of_something_else(folder):
    (folder / "out").mkdir()
    write(folder / "out" / "results.csv", ["name", "age"], ["x", 3])


def file_in_the_way(folder):
    (folder / "out").write_text("")


def two_of_one_name(folder):
    Image.new("RGB", (4, 3)).save(folder / "images" / "a.jpg")


def nothing(folder):
    pass


PLAIN = ("--images", "images", "--out", "out")
MISTAKES = {  # what is there, arguments, what the line must name
    "no folder": (nothing, ("--images", "none", "--out", "out"), "none: No such file"),
    "file for a folder": (nothing, ("--images", "images/a.png", "--out", "out"), "a.png: Not a directory"),
    "no pictures": (nothing, ("--images", "empty", "--out", "out"), "--images: found no picture in empty"),
    "two of one name": (two_of_one_name, PLAIN, "a.jpg and a.png"),
    "no colours": (nothing, (*PLAIN, "-n", "4", "0"), "--colors: found 0, expected 1 to 256"),
    "too many colours": (nothing, (*PLAIN, "-n", "257"), "--colors: found 257"),
    "no jobs": (nothing, (*PLAIN, "--jobs", "0"), "--jobs"),
    "peers without a column": (
        peers_without_a_column,
        (*PLAIN, "--peers", "peers.csv"),
        "peers.csv: found no column peer",
    ),
    "peers without a metric": (peers_without_a_metric, (*PLAIN, "--peers", "peers.csv"), "peers.csv: found no metric"),
    "peers with a word": (peers_with_a_word, (*PLAIN, "--peers", "peers.csv"), "peers.csv, line 3"),
    "peers that are no text": (peers_that_are_no_text, (*PLAIN, "--peers", "peers.csv"), "peers.csv: found no text"),
    "peers that are a folder": (nothing, (*PLAIN, "--peers", "empty"), "empty: Is a directory"),
    "results of something else": (results_of_something_else, PLAIN, "results.csv: found no column image, method, k"),
    "a file in the way": (file_in_the_way, PLAIN, "out"),
}


@pytest.mark.parametrize(("prepare", "arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line(script, images, capsys, monkeypatch, prepare, arguments, text):
    monkeypatch.chdir(images.parent)
    Path("empty").mkdir()
    prepare(images.parent)
    with pytest.raises(SystemExit) as stop:
        script.main(arguments)
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("benchmark_quality: ")
    assert text in shown.err


def test_an_argument_that_cannot_be_read_is_answered_in_one_line(environment):
    done = subprocess.run(command(*PLAIN, "--preset", "good"), env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("benchmark_quality: ")
    assert "'good'" in done.stderr


def test_a_bad_picture_is_reported_and_the_others_are_scored(run, finished, images):
    (images / "cut.png").write_bytes((images / "a.png").read_bytes()[:200])
    status, shown, said = run(*finished)
    assert status == 2
    assert "cut.png: truncated PNG" in said
    assert "## 4 colours, 2 images" in shown


# Interruption


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_run_keeps_its_rows(environment, images, tmp_path, jobs):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would theirs
    results = tmp_path / "out" / "results.csv"
    arguments = ("--images", images, "-n", *range(3, 23), "--preset", "fast", "--jobs", jobs, "--out", tmp_path / "out")
    with subprocess.Popen(
        command(*arguments), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 120
        while not (results.exists() and len(results.read_text().splitlines()) > 1):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "benchmark_quality: interrupted; finished rows are kept: run again to go on"
    assert "Traceback" not in err
    rows = rows_of(results).values()
    assert 1 <= len(rows) < 40
    assert all(all(row.values()) for row in rows)
