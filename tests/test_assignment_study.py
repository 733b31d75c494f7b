"""`scripts/assignment_study.py`: what it writes, and how it fails."""

import functools
from pathlib import Path

import numpy as np
import pytest
from pictures import save_ramps
from rows import read_rows


@pytest.fixture
def study(load_script, monkeypatch, tmp_path):
    """The script as a module that starts no processes, in a folder of its own."""
    study = load_script("assignment_study")
    monkeypatch.setattr(study, "apart", lambda work, task: work(task))
    monkeypatch.chdir(tmp_path)
    return study


@pytest.fixture
def run(study, outcome):
    """Runs it: exit status, stdout, stderr."""
    return functools.partial(outcome, study.main)


def test_it_writes_a_row_for_each_assignment_and_their_means(study, run, monkeypatch):
    monkeypatch.setattr(study, "DITHERS", {"none": study.Argmax()})  # compiles less
    save_ramps("a.png", 1)
    save_ramps("b.png", 2)
    arguments = ["a.png", "b.png", "-n", 6, "--candidates", 2, "--steps", 3, "--every", 1, "--out", "out"]
    status, table, _ = run(*arguments)
    assert status == 0
    rows = read_rows("out/results.csv")
    methods = ["dense", "top 2", "top 2, refreshed"]
    assert [(row["image"], row["method"]) for row in rows] == [(image, method) for image in "ab" for method in methods]
    assert Path("out/tables.md").read_text() == table
    figures = [float(row["none_ssimulacra2"]) for row in rows if row["method"] == "top 2"]
    (line,) = (line for line in table.splitlines() if line.startswith("| top 2 |"))
    assert f"| {np.mean(figures):.2f} |" in line
    state = {row["method"]: float(row["state_mib"]) for row in rows}
    assert state["top 2"] < 0.5 * state["dense"]
    assert all((float(row["refresh_ms"]) > 0) == (row["method"] == "top 2, refreshed") for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["a.png", "-n", "257"], "--colors: found (257,), expected numbers from 1 to 256"),
        (["a.png", "--candidates", "0"], "--candidates: found (0,), expected numbers from 1"),
        (["a.png", "--steps", "20"], "--steps, --every: found 20 and 10, expected at least three chunks"),
        (["a.png", "a.png"], "found two pictures of one name"),
        (["text.png"], "text.png"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(run, arguments, said):
    save_ramps("a.png", 1)
    Path("text.png").write_text("no picture")
    status, _, error = run(*arguments)
    assert status == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not Path("runs").exists()
