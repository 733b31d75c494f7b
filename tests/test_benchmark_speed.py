"""`scripts/benchmark_speed.py`: what it compares, what it writes, and how it fails."""

import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from diffquant.config import Config
from diffquant.losses import BlurError

EYE = BlurError(sigmas=(1.0,), weights=(1.0,))  # compiles in a third of the time


@pytest.fixture
def script(load_script, monkeypatch, tmp_path):
    """The script as a module that starts no processes, compiles and moves little, in a folder of its own."""
    script, speed_runs = load_script("benchmark_speed"), load_script("speed_runs")
    monkeypatch.setattr(script, "apart", lambda work, task: work(task))
    monkeypatch.setattr(speed_runs, "TRIAD", 1 << 12)
    monkeypatch.setattr(speed_runs, "LOSS", EYE)
    monkeypatch.setattr(speed_runs, "palette_config", lambda *preset, colors: Config(losses={"eye": EYE}, steps=0))
    monkeypatch.chdir(tmp_path)
    return script


@pytest.fixture
def runs(script, load_script, monkeypatch):
    """What it measures, with a chunk for each step."""
    runs = load_script("speed_runs")
    monkeypatch.setattr(runs, "CHUNK", 1)
    return runs


@pytest.fixture
def run(script, outcome):
    """Runs it: exit status, stdout, stderr."""
    return functools.partial(outcome, script.main)


def test_the_yardstick_descends_as_this_project_does(runs):
    start, target = runs.start_of(runs.Task(21, 16, 5, "dense", 4), space="linear")
    assert target.shape == (3, 16, 21)
    losses = list(runs.plain(start, target, 4))
    np.testing.assert_allclose(losses, list(runs.relaxed(start, target, 4)), rtol=1e-4)
    assert losses[-1] < losses[0]


def test_a_step_is_the_fastest_of_the_chunks_after_the_first(runs, monkeypatch):
    clock = itertools.accumulate([0.0, 9.0, 0.0, 3.0, 0.0, 2.0, 0.0])
    monkeypatch.setattr(runs.time, "perf_counter", lambda: next(clock))
    assert runs._seconds(iter([1.0, 1.0, 1.0])) == [9.0, 3.0, 2.0]
    monkeypatch.undo()
    monkeypatch.setattr(runs, "_seconds", lambda chunks: [9.0, 3.0, 2.0])
    monkeypatch.setattr(runs, "bandwidth", lambda: 1e6)
    costs = runs._step_costs(runs.Task(21, 16, 5, "dense", 30))
    assert costs["compile_s"] == 7.0
    assert costs["step_ms"] == pytest.approx(2e3 / runs.CHUNK)
    logits = 21 * 16 * 5
    assert costs["pixel_colors_per_s"] == pytest.approx(logits / (2 / runs.CHUNK))
    assert costs["bytes_moved"] == logits * 4 * 8  # float32; read and written: logits, two moments, gradient
    assert costs["bandwidth_share"] == pytest.approx(logits * 4 * 8 / (2 / runs.CHUNK) / 1e6)


def test_a_sweep_is_what_more_sweeps_take_longer(runs, monkeypatch):
    clock = [0.0]

    class Polish:
        """Takes 10 seconds, and 3 for each sweep."""

        def __init__(self, *, sweeps, tolerance):
            self.seconds = 10 + 3 * sweeps

        def __call__(self, *arguments, key):
            clock[0] += self.seconds
            yield from ()

    monkeypatch.setattr(runs, "Polish", Polish)
    monkeypatch.setattr(runs.time, "perf_counter", lambda: clock[0])
    assert runs.seconds_a_sweep(runs.Task(21, 16, 5, "polish", 4)) == 3


def test_it_measures_what_it_says(run):
    works = ["--assignments", "plain", "top-8", "--steps", 20, "--sweeps", 1, "--presets", "fast"]
    assert run("--sizes", "21x16", "-n", 4, *works, "-o", "out")[0] == 0
    rows = json.loads(Path("out/results.json").read_text())["rows"]
    assert [(row["size"], row["k"], row["work"]) for row in rows] == [
        ("21x16", 4, work) for work in ("plain", "top-8", "polish", "fast")
    ]
    assert all(row["pixel_us"] * 21 * 16 == pytest.approx(1e3 * row["step_ms"]) for row in rows)
    assert all(row["step_ms"] * row["steps_per_s"] == pytest.approx(1e3) and row["peak_mib"] > 1 for row in rows)
    assert all(row["compile_s"] > 0 and row["bandwidth_share"] > 0 for row in rows[:2])


def test_of_several_rounds_the_fastest_is_shown(script, run, monkeypatch):
    times = {"plain": [8.0, 6.0], "dense": [2.0, 4.0], "polish": [7.0, 5.0]}

    def row_of(task):
        row = {"size": "21x16", "k": 4, "work": task.work, "device": "cpu", "cores": 2}
        return row | {"step_ms": times[task.work][task.work in seen], "peak_mib": len(seen)}

    seen = []
    monkeypatch.setattr(script, "apart", lambda work, task: [work(task), seen.append(task.work)][0])
    monkeypatch.setattr(script, "row_of", row_of)
    arguments = ["--sizes", "21x16", "-n", 4, "--assignments", "plain", "dense", "--rounds", 2, "-o", "out"]
    status, shown, _ = run(*arguments)
    assert status == 0
    assert seen == ["plain", "dense", "polish"] * 2
    assert Path("out/tables.md").read_text() == shown
    rows = [line.strip("| ").split(" | ") for line in shown.splitlines()]
    labels = rows[0]
    ratio, step = labels.index("times plain"), labels.index("ms a step, sweep or picture")
    assert [(row[3], row[ratio], row[step]) for row in rows[2:]] == [
        ("plain", "1.00", "6.0"),
        ("dense", "3.00", "2.0"),
        ("polish", "", "5.0"),
    ]


def test_a_case_that_fails_is_reported_and_the_others_are_kept(script, run, monkeypatch):
    def row_of(task):
        row = {"size": "21x16", "k": 4, "work": task.work, "device": "cpu", "cores": 2, "step_ms": 1.5}
        return "21x16, 4 colours, plain: out of memory" if task.work == "plain" else row

    monkeypatch.setattr(script, "row_of", row_of)
    status, _, error = run("--sizes", "21x16", "-n", 4, "-o", "out")
    assert status == 2
    assert error == "benchmark_speed: 21x16, 4 colours, plain: out of memory\n"
    rows = json.loads(Path("out/results.json").read_text())["rows"]
    assert [row["work"] for row in rows] == ["dense", "top-8", "polish"]


def test_its_pictures_have_more_colors_than_palettes(runs):
    for height, width in ((16, 21), (30, 17)):
        pixels = runs.picture_of(height, width)
        assert pixels.shape == (height, width, 3)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 256


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sizes", "768"], "--sizes: found '768', expected a width and a height from 16, such as 768x512"),
        (["--sizes", "768x15"], "--sizes: found '768x15'"),
        (["-n", "257"], "--colors: found (257,), expected numbers from 1 to 256"),
        (["--steps", "25"], "--steps: found 25, expected a multiple of 10, from 20"),
        (["--steps", "10"], "--steps: found 10"),
        (["--rounds", "0"], "--sweeps, --rounds: found 6 and 0, expected at least 0 and at least 1"),
        (["--assignments", "sparse"], "sparse"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(run, arguments, said):
    status, _, error = run(*arguments)
    assert status == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not Path("runs").exists()
