"""`scripts/jpeg_fidelity.py`: that its errors are those of the model, by errors put in by hand, and how it fails."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from jpeg_pictures import photograph
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"
HEIGHT, WIDTH = 40, 56


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("jpeg_fidelity")


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one of them grey, and a file that is none."""
    Image.fromarray(photograph(HEIGHT, WIDTH)).save(tmp_path / "leaves.png")
    Image.fromarray(photograph(HEIGHT, WIDTH)[:, :, 1]).save(tmp_path / "grey.png")
    (tmp_path / "notes.txt").write_text("taken in May\n")
    return tmp_path


def called(script, *arguments):
    """The exit status."""
    with pytest.raises(SystemExit) as caught:
        script.main([str(argument) for argument in arguments])
    return caught.value.code


def table(text):
    return [[cell.strip() for cell in line.strip("| \n").split("|")] for line in text.splitlines()]


def test_there_is_a_row_for_each_subsampling_and_quality(script, folder, capsys):
    status = called(script, "--images", folder, "--quality", 80, 40, 60, "--subsampling", "444", "420")
    assert status == 0
    head, line, *rows = table(capsys.readouterr().out)
    assert [row[:2] for row in rows] == [[name, q] for name in ("4:4:4", "4:2:0") for q in ("40", "60", "80")]
    assert {len(row) for row in (head, line, *rows)} == {7}
    for row in rows:
        mean, worst = (float(number) for number in row[2].split(","))
        assert mean >= worst > 60  # a few pixels by one code at most
        assert row[3] in ("0 of 2", "1 of 2", "2 of 2")
        assert abs(float(row[4].split(",")[1])) < 2
    # A rate has been fitted at a neighbour only where there is one.
    assert [[cell == "–" for cell in row[5:]] for row in rows[:3]] == [[False, True], [False, False], [True, False]]


def test_a_decoder_that_is_one_code_off_has_48_db(script, folder, capsys, monkeypatch):
    right = script.decode
    monkeypatch.setattr(script, "decode", lambda *arguments: right(*arguments) + 1)
    assert called(script, "--images", folder, "--quality", 50, "--subsampling", "420") == 0
    *_, row = table(capsys.readouterr().out)
    assert row[2:4] == ["48.1, 48.1", "0 of 2"]


def test_errors_of_bytes_are_shares_of_the_file(script, folder, capsys, monkeypatch):
    files = lambda levels, geometry, tables: 0.9 * len(script.JpegImage(levels, tables, geometry).to_bytes())  # noqa: E731
    monkeypatch.setattr(script, "progressive_bytes", files)
    monkeypatch.setattr(script, "bytes_of", lambda rate, file: 1.25 * len(file.to_bytes()))
    assert called(script, "--images", folder, "--quality", 50, 60, "--subsampling", "420") == 0
    *_, lower, upper = table(capsys.readouterr().out)
    assert lower[4:] == ["10.00, -10.00", "25.00, +25.00", "–"]
    assert upper[4:] == ["10.00, -10.00", "–", "25.00, +25.00"]


def test_means_are_of_squared_errors_and_the_worst_has_its_sign(script):
    rows = [
        script.Row("420", 50.0, float("inf"), 0.01, -0.02, 0.03),
        script.Row("420", 50.0, 10 * np.log10(255**2 / 2), -0.03, 0.04, 0.01),
    ]
    *_, row = table(script.markdown(rows))
    assert row == ["4:2:0", "50", "48.1, 45.1", "1 of 2", "2.00, -3.00", "3.00, +4.00", "2.00, +3.00"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--images", "absent"], "absent: No such file or directory"),
        (["--images", "."], "--images: found no picture"),
        (["--images", "pictures", "--quality", "0", "50"], "--quality: found 0 50, expected numbers from 1 to 100"),
        (["--images", "pictures", "--quality", "nan"], "--quality: found nan"),
        (["--images", "pictures", "--subsampling", "411"], "411"),
        (["--images", "pictures", "--jobs", "0"], "--jobs: found 0"),
        (["--images", "damaged"], "cut.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_are_answered_with_one_line(script, folder, tmp_path, monkeypatch, capsys, arguments, named):
    (tmp_path / "here" / "pictures").mkdir(parents=True)
    (tmp_path / "here" / "damaged").mkdir()
    data = (folder / "leaves.png").read_bytes()
    (tmp_path / "here" / "pictures" / "leaves.png").write_bytes(data)
    (tmp_path / "here" / "damaged" / "cut.png").write_bytes(data[: len(data) // 2])
    monkeypatch.chdir(tmp_path / "here")
    assert called(script, *arguments) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert named in answer.err
