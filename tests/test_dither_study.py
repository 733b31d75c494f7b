"""`scripts/dither_study.py`: what it writes, and how it fails."""

import functools
from pathlib import Path

import numpy as np
import pytest
from pictures import save_ramps
from PIL import Image
from rows import read_rows


@pytest.fixture
def study(load_script, monkeypatch, tmp_path):
    """The script as a module that leaves the process's compilation cache alone, in a folder of its own."""
    study = load_script("dither_study")
    monkeypatch.setattr(study, "use_compilation_cache", lambda: None)
    monkeypatch.chdir(tmp_path)
    return study


@pytest.fixture
def run(study, outcome):
    """Runs it: exit status, stdout, stderr."""
    return functools.partial(outcome, study.main)


def test_it_writes_rows_means_and_a_sheet(study, run, monkeypatch):
    monkeypatch.setattr(study, "OURS", ())  # compiles nothing
    save_ramps("a.png", 1)
    save_ramps("b.png", 2)
    status, table, _ = run("a.png", "b.png", "-n", 3, "--out", "out")
    assert status == 0
    rows = read_rows("out/results.csv")
    assert [(row["image"], row["method"]) for row in rows] == [(i, m) for i in "ab" for m in study.methods()]
    assert Path("out/tables.md").read_text() == table
    sizes = [int(row["bytes"]) for row in rows if row["method"] == "burkes"]
    (line,) = (line for line in table.splitlines() if line.startswith("| burkes |"))
    assert f"| {np.mean(sizes):,.0f} |" in line
    with Image.open("out/sheet-3.png") as image:
        assert image.height == (len(study.methods()) + 1) * (96 * study.ZOOM + study.GAP + study.LABEL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["a.png", "-n", "0"], "--colors: found (0,), expected numbers from 1 to 256"),
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
