"""`scripts/benchmarks.py`, `scripts/benchmark_rows.py`: what a file of results keeps, and what the last line says."""

import concurrent.futures.process

import pytest
from PIL import Image

from diffquant.console import UsageError


@pytest.fixture
def rows(load_script):
    return load_script("benchmark_rows")


@pytest.fixture
def columns(rows):
    """A name and a number; how good, how good by other eyes, how large."""

    def key(name, number):
        return name, int(number)

    numbers = {"names": ("good", "seen", "size"), "costs": ("size",), "rare": ("seen",), "aliases": {"len": "size"}}
    return rows.Columns(keys=("name", "number"), key=key, **numbers)


def test_rows_are_brought_up_to_date_and_a_line_cut_short_is_forgotten(rows, columns, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("len,name,number,good,remark\n9,a,1,0.5,x\n8,b,02,,\n7,a,1,0.25,\n6,c,3,1")
    with rows.Results(path, columns) as results:
        assert results.rows == {("a", 1): {"good": 0.25, "size": 7}, ("b", 2): {"size": 8}}
        results.add(("c", 3), {"good": 1 / 3})
        assert path.read_text() == "name,number,good,size\na,1,0.25,7\nb,2,,8\nc,3,0.33333333,\n"


def test_a_rare_number_has_a_column_where_a_row_has_it(rows, columns, tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("name,number,good,seen\na,1,2,3\n")
    rows.Results(path, columns).__exit__(None, None, None)
    assert path.read_text() == "name,number,good,seen,size\na,1,2,3,\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name,good\n", "found no column number, expected name, number and some of good, seen"),
        ("name,number,len\n", "found no metric, expected name, number and some of good, seen"),
        ("name,number,good\na,1,2\nb,2,x\n", "line 3: could not convert string to float: 'x'"),
        ("name,number,good\na,one,2\n", "line 2: invalid literal for int"),
    ],
)
def test_something_else_is_refused_and_left_as_it_is(rows, columns, tmp_path, text, line):
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=line):
        rows.Results(path, columns)
    assert path.read_text() == text


DIED = "a process died, maybe for want of memory; {}: run again with fewer --jobs"
LINES = {  # where it is cut short, what is left after Ctrl-C and after the end of a process
    "benchmark_quality": ("complete", "finished rows are kept: run again to go on", "finished rows are kept"),
    "benchmark_jpeg": ("complete", "finished rows are kept: run again to go on", "finished rows are kept"),
    "jpeg_fidelity": ("completed", "no row is kept", "no row is kept"),
}


@pytest.mark.parametrize(("name", "where", "left", "kept"), [(name, *rest) for name, rest in LINES.items()])
def test_an_interruption_is_answered_by_what_is_left(
    load_script, tmp_path, monkeypatch, capsys, name, where, left, kept
):
    Image.new("RGB", (5, 3)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    script = load_script(name)
    for error, status, line in (
        (KeyboardInterrupt(), 130, f"interrupted; {left}"),
        (concurrent.futures.process.BrokenProcessPool(), 2, DIED.format(kept)),
    ):

        def cut_short(*arguments, error=error):
            raise error

        monkeypatch.setattr(script, where, cut_short)
        with pytest.raises(SystemExit) as stop:
            script.main(["--images", "."])
        assert stop.value.code == status
        assert capsys.readouterr() == ("", f"{script.PROG}: {line}\n")
