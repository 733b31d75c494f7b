"""`scripts/benchmark_animation.py`: what it writes, what it prints, how it goes on and how it fails.

Oracles: Pillow and NumPy on the files that it keeps. Clips have few colours: ours keeps them, and takes no time.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
from clips import movie
from PIL import Image, ImageSequence
from rows import read_rows

from diffquant.metrics import METRICS

HEIGHT, WIDTH, FRAMES = 24, 40, 5
OURS, FFMPEG = "diffquant-balanced", "ffmpeg-sierra2_4a"
METHODS = ("--methods", OURS, FFMPEG)


def pictures():
    """A square that moves, but for the third frame, which is like the second."""
    frames = np.full((FRAMES, HEIGHT, WIDTH, 3), (30, 90, 60), np.uint8)
    frames[:, ::3] = (120, 90, 160)
    for frame, left in zip(frames, (2, 7, 7, 12, 17), strict=True):
        frame[6:14, left : left + 9] = (240, 200, 10)
    return frames


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two clips, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, frames in (("a", pictures()), ("b", pictures()[:, :, ::-1])):
        movie(f"{name}.mkv", frames, "10")
    Path("notes.txt").write_text("taken in May\n")
    return tmp_path


@pytest.fixture
def script(load_script, monkeypatch):
    """The script as a module, with no compilations kept."""
    animation_runs = load_script("animation_runs")
    monkeypatch.setattr(animation_runs, "use_compilation_cache", lambda: None)
    monkeypatch.setenv("PATH", "")
    animation_runs.excerpt.cache_clear()
    return load_script("benchmark_animation")


@pytest.fixture
def benchmark(script, folder, outcome):
    """Runs it in the folder: exit status, stdout, stderr."""
    return functools.partial(outcome, script.main)


def rows_of(path="out/results.csv"):
    return {(row["clip"], row["method"], int(row["k"])): row for row in read_rows(path)}


def played(path, times):
    """What is shown at these hundredths of a second."""
    with Image.open(path) as image:
        pairs = [(np.asarray(f.convert("RGB")), f.info["duration"] / 10) for f in ImageSequence.Iterator(image)]
    starts = np.cumsum([0, *(duration for _, duration in pairs)])[:-1]
    return [pairs[int(np.searchsorted(starts, time, side="right")) - 1][0] for time in times]


def test_rows_are_right_and_nothing_is_done_twice(benchmark, script, monkeypatch):
    arguments = ("a.mkv", "b.mkv", "-n", 16, 8, "--frames", FRAMES, *METHODS, "-o", "out", "--sheet")
    status, stdout, stderr = benchmark(*arguments)
    assert (status, stderr) == (0, "")
    rows = rows_of()
    assert list(rows) == [(clip, method, k) for clip in "ab" for k in (16, 8) for method in (OURS, FFMPEG)]
    for (clip, method, k), row in rows.items():
        kept = Path("out/gifs") / f"{clip}-{FRAMES}-0-{method}-{k}.gif"
        assert int(row["bytes"]) == kept.stat().st_size
        assert float(row["seconds"]) > 0
        assert (row["start"] == "") == (method == FFMPEG)
        originals = [frame[:, ::-1] if clip == "b" else frame for frame in pictures()]
        shown = played(kept, [2 + 4 * number for number in range(FRAMES)])
        errors = [METRICS["oklab_mse_blur"].function(*pair) for pair in zip(originals, shown, strict=True)]
        assert float(row["oklab_mse_blur"]) == pytest.approx(np.mean(errors), rel=1e-6)
        assert float(row["scielab"]) == pytest.approx(METRICS["scielab"].function(originals[0], shown[0]), rel=1e-6)
        if method == OURS:
            assert np.mean(errors) == float(row["flicker"]) == 0
            with Image.open(kept) as image:
                assert image.n_frames == FRAMES - 1
    for heading in ("## a, 16 colours", "## b, 8 colours"):
        assert heading in stdout
    with Image.open("out/sheets/a-16.png") as image:
        assert image.size == (5 * (3 * WIDTH + 6), 3 * (3 * HEIGHT + 6))

    whole = Path("out/results.csv").read_text()
    lines = whole.splitlines(keepends=True)
    Path("out/results.csv").write_text("".join(lines[:-1]) + lines[-1][:20])  # cut short
    import animation_runs

    made = []
    monkeypatch.setattr(
        animation_runs, "_made", lambda clip, case, before=animation_runs._made: made.append(case) or before(clip, case)
    )
    assert benchmark(*arguments)[0] == 0
    assert [(case.clip, case.method, case.k) for case in made] == [list(rows)[-1]]
    cells = [line.split(",")[:-2] for line in Path("out/results.csv").read_text().splitlines()]
    assert cells == [line.split(",")[:-2] for line in whole.splitlines()]  # but for the seconds


def test_encoders_that_are_not_there_are_named(benchmark):
    status, _, stderr = benchmark("a.mkv", "-n", 16, "--frames", 2, "--methods", OURS, "gifski", "-o", "out")
    assert (status, stderr) == (0, "benchmark_animation: gifski: skipped: found no gifski on PATH\n")
    assert [method for _, method, _ in rows_of()] == [OURS]
    assert not Path("out/sheets").exists()


def test_a_bad_clip_does_not_stop_the_others(benchmark):
    status, stdout, stderr = benchmark("notes.txt", "a.mkv", "-n", 16, "--frames", 2, "--methods", OURS, "-o", "out")
    assert status == 2
    (line,) = stderr.splitlines()
    assert line.startswith("benchmark_animation: notes, diffquant-balanced, 16 colours: notes.txt: found nothing")
    assert [clip for clip, *_ in rows_of()] == ["a"]
    assert "## a" in stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "clip"),
        (("none.mp4",), "found no file none.mp4"),
        (("a.mkv", "./a.mkv"), "found two clips of one name"),
        (("a.mkv", "-n", "3"), "--colors: found 3, expected 4 to 256"),
        (("a.mkv", "-n", "257"), "--colors: found 257"),
        (("a.mkv", "--frames", "1"), "--frames: found 1, expected at least 2"),
        (("a.mkv", "--width", "0"), "--width: found 0"),
        (("a.mkv", "--delay", "1"), "--delay: found 1, expected 2 to 100"),
        (("a.mkv", "--methods", "webp"), "--methods: found webp, expected some of diffquant-balanced"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_in_one_line(benchmark, folder, arguments, text):
    before = sorted(folder.rglob("*"))
    status, stdout, stderr = benchmark(*arguments)
    assert (status, stdout) == (2, "")
    (line,) = stderr.splitlines()
    assert line.startswith("benchmark_animation: ")
    assert text in line
    assert sorted(folder.rglob("*")) == before
