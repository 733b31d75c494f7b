"""`scripts/dither_study.py`: what it writes, and how it fails."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def study(monkeypatch, tmp_path):
    """The script as a module that leaves the process's compilation cache alone, in a folder of its own."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import dither_study

    monkeypatch.setattr(dither_study, "use_compilation_cache", lambda: None)
    monkeypatch.chdir(tmp_path)
    return dither_study


def status(study, *arguments):
    with pytest.raises(SystemExit) as stop:
        study.main([*map(str, arguments)])
    return stop.value.code


def photo(path, seed):
    y, x = np.mgrid[:10, :17]
    noise = np.random.default_rng(seed).integers(0, 40, (10, 17))
    Image.fromarray(np.stack([13 * x, 20 * y, 90 + noise], -1).astype(np.uint8)).save(path)


def test_it_writes_rows_means_and_a_sheet(study, monkeypatch, capsys):
    monkeypatch.setattr(study, "OURS", ())  # compiles nothing
    photo("a.png", 1)
    photo("b.png", 2)
    assert status(study, "a.png", "b.png", "-n", 3, "--out", "out") == 0
    with open("out/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["method"]) for row in rows] == [(i, m) for i in "ab" for m in study.methods()]
    table = capsys.readouterr().out
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
def test_bad_input_gets_one_line_and_status_2(study, capsys, arguments, said):
    photo("a.png", 1)
    Path("text.png").write_text("no picture")
    assert status(study, *arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not Path("runs").exists()
