"""`diffquant quantize` of a folder: what it makes, skips, and says of what it cannot make."""

import itertools
import json
import os

import numpy as np
import pytest
from PIL import Image

import diffquant.batch
from diffquant.arguments import LAUNCHERS, share_from
from diffquant.folder import RECORD

COUNT = 5


def few_colors(seed, shape=(6, 9)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (3, 3), np.uint8)[rng.integers(0, 3, shape)]


def save(path, seed):
    Image.fromarray(few_colors(seed)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures of so few colours that nothing needs compiling, and what is none."""
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    (inside / "dir.png").mkdir()
    for seed in range(COUNT):
        save(inside / f"p{seed}.{'PNG' if seed else 'bmp'}", seed)
    save(inside / ".hidden.png", 9)
    save(inside / "sub/deep.png", 9)
    (inside / "notes.txt").write_text("none\n")
    return tmp_path


@pytest.fixture
def quantize(folder, answer):
    def run(*options, inputs=("in",), output="made/out"):
        return answer("quantize", *inputs, "-o", output, "-n", "4", *options)

    return run


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def made(folder):
    """Files in the output, by name: bytes and when they were written."""
    files = (folder / "made/out").iterdir()
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files if path.name != RECORD}


def last_line(done):
    return done.stdout.splitlines()[-1]


def test_a_folder_is_all_its_pictures_in_order_without_hidden_ones_and_folders(folder, quantize):
    done = quantize("--json")
    assert (done.returncode, done.stderr) == (0, "")
    names = [f"p{seed}.png" for seed in range(COUNT)]
    assert sorted(made(folder)) == names
    assert [os.path.basename(report["output"]) for report in json.loads(done.stdout)] == names
    for seed, name in enumerate(names):
        np.testing.assert_array_equal(pixels(folder / "made/out" / name), few_colors(seed))


def test_what_is_there_is_skipped_and_nothing_else(folder, quantize):
    assert last_line(quantize()) == "5 pictures: 5 written"
    before = made(folder)
    assert quantize().stdout == "5 pictures: 5 already there\n"
    assert made(folder) == before

    save(folder / "in/p1.PNG", 77)  # another picture
    (folder / "made/out/p2.png").unlink()
    (folder / "made/out/p3.png").write_bytes(b"of someone else")
    os.utime(folder / "in/p4.PNG")  # the same picture
    done = quantize()
    assert last_line(done) == "5 pictures: 3 written, 2 already there"
    after = made(folder)
    assert {name for name in after if after[name] != before[name]} == {"p1.png", "p2.png", "p3.png"}
    np.testing.assert_array_equal(pixels(folder / "made/out/p1.png"), few_colors(77))
    assert after["p3.png"][0] == before["p3.png"][0]


@pytest.mark.parametrize("options", [("--seed", "1"), ("--pin", "red"), ("--preset", "fast"), ("--again",)])
def test_other_settings_and_again_make_every_file_again(quantize, options):
    quantize()
    assert last_line(quantize(*options)) == "5 pictures: 5 written"
    assert last_line(quantize()) == (
        "5 pictures: 5 already there" if options == ("--again",) else "5 pictures: 5 written"
    )


@pytest.mark.parametrize("record", [b"", b"[]", b'{"p0.png": 3}', b"\xff"])
def test_a_record_that_is_none_is_as_good_as_no_record(folder, quantize, record):
    quantize()
    (folder / "made/out" / RECORD).write_bytes(record)
    assert last_line(quantize()) == "5 pictures: 5 written"


def test_bad_pictures_are_named_when_met_and_at_the_end_and_stop_no_other(folder, quantize):
    (folder / "in/p0.png").write_text("none\n")
    (folder / "in/p0.bmp").unlink()
    (folder / "in/p3.PNG").write_bytes(b"")
    done = quantize()
    assert done.returncode == 2
    first, second, count, *again = done.stderr.splitlines()
    assert first.startswith("diffquant: in/p0.png: text or an unknown format; expected ")
    assert second.startswith("diffquant: in/p3.PNG: empty file; expected ")
    assert count == "diffquant: 2 of 5 failed:"
    assert again == [first, second]
    assert last_line(done) == "5 pictures: 3 written, 2 failed"
    assert sorted(made(folder)) == ["p1.png", "p2.png", "p4.png"]
    assert last_line(quantize()) == "5 pictures: 3 already there, 2 failed"


def test_an_interrupted_run_keeps_what_is_done_and_the_next_makes_the_rest(folder, quantize, monkeypatch):
    compress_many = diffquant.batch.compress_many

    def interrupted(jobs, *, stop, alone):
        for n, outcome in enumerate(compress_many(jobs, stop=stop)):
            yield outcome
            if n == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(diffquant.batch, "compress_many", interrupted)
    done = quantize()
    assert done.returncode == 130
    assert done.stderr == "diffquant: interrupted; 2 of 5 pictures written\n"
    assert sorted(made(folder)) == ["p0.png", "p1.png"]
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert last_line(quantize()) == "5 pictures: 3 written, 2 already there"


def test_shares_make_each_picture_once_and_skip_their_own(folder, quantize):
    assert last_line(quantize("--share", "1/2")) == "3 pictures: 3 written"
    assert [name for name in sorted(made(folder)) if name.startswith("p")] == ["p0.png", "p2.png", "p4.png"]
    assert last_line(quantize("--share", "2/2")) == "2 pictures: 2 written"
    assert {f"p{seed}.png" for seed in range(COUNT)} < set(made(folder))
    assert quantize("--share", "1/2").stdout == "3 pictures: 3 already there\n"


def launched(monkeypatch, **variables):
    for name in itertools.chain(*LAUNCHERS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("pair", LAUNCHERS, ids="/".join)
def test_a_share_comes_from_whatever_has_launched_the_process(folder, quantize, monkeypatch, pair):
    launched(monkeypatch, **dict(zip(pair, ("1", "2"), strict=True)))
    assert last_line(quantize("--share", "auto")) == "2 pictures: 2 written"
    assert {name for name in made(folder) if name.startswith("p")} == {"p1.png", "p3.png"}
    assert quantize("--share", "2/2").stdout == "2 pictures: 2 already there\n"


def test_within_slurm_another_launcher_s_numbers_go_first(monkeypatch):
    launched(
        monkeypatch, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="8", OMPI_COMM_WORLD_RANK="5", OMPI_COMM_WORLD_SIZE="8"
    )
    assert share_from("auto") == (6, 8)


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({}, "found no launcher's variables, expected one of OMPI_COMM_WORLD_RANK/OMPI_COMM_WORLD_SIZE, "),
        ({"SLURM_PROCID": "1"}, "found no launcher's variables"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "found RANK=2 and WORLD_SIZE=2, expected a number from 0"),
        ({"PMI_RANK": "x", "PMI_SIZE": "2"}, "found PMI_RANK=x and PMI_SIZE=2, expected a number from 0"),
    ],
    ids=["none", "half", "beyond", "word"],
)
def test_a_share_that_no_launcher_gives_is_refused_in_one_line(quantize, monkeypatch, variables, text):
    launched(monkeypatch, **variables)
    done = quantize("--share", "auto")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"diffquant: --share auto: {text}")


def test_pictures_that_do_not_fit_into_the_memory_are_named_each(folder, quantize):
    done = quantize("--memory", "100MiB")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert [line.split(": --memory: found 100 MiB, expected at least ")[0] for line in lines[:COUNT]] == [
        f"diffquant: in/p{seed}.{'PNG' if seed else 'bmp'}" for seed in range(COUNT)
    ]
    assert lines[COUNT:] == [f"diffquant: {COUNT} of {COUNT} failed:", *lines[:COUNT]]
    assert not (folder / "made/out").exists()


def test_a_folder_beside_pictures_and_a_folder_of_one(folder, quantize):
    save(folder / "other.png", 30)
    assert last_line(quantize(inputs=("other.png", "in"))) == "6 pictures: 6 written"
    (folder / "one").mkdir()
    save(folder / "one/a.gif", 3)
    assert last_line(quantize(inputs=("one",), output="new")) == "1 picture: 1 written"
    assert sorted(os.listdir(folder / "new")) == [RECORD, "a.png"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("quantize", "in/sub/empty", "-o", "new/"), "in/sub/empty: found no picture"),
        (("quantize", "in", "-o", "out.png"), "in: a directory; expected --output to be a folder"),
        (("quantize", "in", "-o", "in/notes.txt"), "found the file in/notes.txt, expected a folder"),
        (("quantize", "in/sub", "-o", "in/sub/"), "found the input in/sub/deep.png itself"),
        (("quantize", "in", "in", "-o", "new/"), "found two inputs for new/p0.png"),
        (("quantize", "in", "-o", "new/", "--share", "3/2"), "--share: found '3/2', expected auto, or such as 2/8"),
    ],
    ids=["empty", "file", "other file", "itself", "twice", "share"],
)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(folder, answer, arguments, text):
    (folder / "in/sub/empty").mkdir()
    before = sorted(folder.rglob("*"))
    done = answer(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert text in line
    assert sorted(folder.rglob("*")) == before
