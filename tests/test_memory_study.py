"""`scripts/memory_study.py`: what it runs, what it writes, and how it fails."""

import functools
import json
from pathlib import Path

import pytest
from pictures import save_ramps

CASE = "44x30 -n 3 --dither floyd-steinberg"


@pytest.fixture
def study(load_script, monkeypatch, tmp_path):
    """The script as a module, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    save_ramps("a.png", 1)
    return load_script("memory_study")


@pytest.fixture
def run(study, outcome):
    """Runs it: exit status, stdout, stderr."""
    return functools.partial(outcome, study.main)


def test_a_case_is_run_and_what_it_took_is_held_against_its_plan(run):
    status, printed, _ = run("a.png", "--cases", CASE, "--out", "out")
    assert status == 0
    (row,) = json.loads(Path("out/results.json").read_text())
    assert row["case"] == CASE
    assert row["plan"] == "dither in one pass"
    assert 100 < row["measured_mib"] < 1000
    assert 100 < row["estimate_mib"] < 1000
    assert Path("out/table.md").read_text() == printed
    assert f"{100 * (row['measured_mib'] / row['estimate_mib'] - 1):+.0f} %" in printed


def test_a_config_goes_to_training_with_its_options(study, tmp_path):
    words = ["configs/photo16.py", "--steps", "3", "--memory", "1GiB"]
    command = study._command(words, Path("p.png"), tmp_path)
    assert command[1].endswith("train.py")
    assert command[2:] == ["configs/photo16.py", "p.png", "--out", str(tmp_path / "run"), *words[1:]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "missing.png: no such file"),
        (["a.png", "--cases", "fast"], "--cases: found 'fast', expected a size such as 768x512"),
        (["a.png", "--cases", "0x5"], "--cases: found '0x5', expected a size"),
        (["a.png", "--cases", "20x30 -n 0"], "20x30 -n 0: diffquant: --colors: found 0"),
    ],
)
def test_what_cannot_be_run_gets_one_line_and_status_2(run, arguments, said):
    status, _, error = run(*arguments)
    assert status == 2
    assert said in error
    assert len(error.splitlines()) == 1
