"""The `diffquant` command: its output, its exit status and the files that it leaves.

As a user runs it, in a process of its own, where that may matter; else in this one, where no time goes into starting
and each size compiles once. Oracle for the files: Pillow, and the PNG specification for IHDR.
"""

import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 24, 40
COLORS = ("#000080", "#ffffff", "#808080", "#c04000")
FAST = ("-n", "4", "--preset", "fast")


def photo(height, width, seed=0):
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    smooth = np.stack([60 + 80 * x, 200 * y, 128 + 60 * np.sin(4 * x + 3 * y)], -1)
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return (smooth + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Compilations are shared between the processes, but not with the user's own."""
    cache = tmp_path_factory.mktemp("cache")
    shared = {"XDG_CACHE_HOME": str(cache), "JAX_ENABLE_COMPILATION_CACHE": "true"}
    without = {"JAX_COMPILATION_CACHE_DIR", "COLUMNS"}
    return {k: v for k, v in os.environ.items() if k not in without} | {"JAX_PLATFORMS": "cpu"} | shared


@pytest.fixture
def folder(tmp_path):
    """Pictures, and things that are none."""
    Image.fromarray(photo(HEIGHT, WIDTH)).save(tmp_path / "photo.png")
    Image.fromarray(photo(HEIGHT, WIDTH, seed=1)).save(tmp_path / "other.png")
    few = np.array([[0, 0, 0], [255, 255, 255], [9, 99, 199]], np.uint8)
    few = few[np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH))]
    Image.fromarray(few).save(tmp_path / "few.png")
    Image.fromarray(photo(WIDTH, HEIGHT)).save(tmp_path / "upright.png")
    (tmp_path / "text.txt").write_text("no picture\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "photo.png").read_bytes()[:300])
    (tmp_path / "colors.txt").write_text("\n".join(COLORS) + "\n")
    (tmp_path / "wrong.txt").write_text("red\n\n#00ff00\nreddish\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x80")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def diffquant(folder, environment):
    def run(*arguments, **variables):
        command = [sys.executable, "-W", "error", "-m", "diffquant", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=300
        )

    return run


@pytest.fixture
def here(folder, answer, monkeypatch):
    """The command, standing in `folder`, in this process, whose settings it leaves as they are."""
    monkeypatch.setattr("diffquant.console.use_compilation_cache", lambda: None)
    monkeypatch.chdir(folder)
    return answer


def succeeded(done):
    assert done.returncode == 0, done.stderr
    return done


def color_type(path):
    """Field of IHDR (ISO/IEC 15948, 11.2.1)."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[12:16] == b"IHDR"
    return struct.unpack(">IIBBBBB", data[16:29])[3]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def colors_in(path):
    return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.unique(pixels(path).reshape(-1, 3), axis=0).tolist()}


def palette_of(path):
    with Image.open(path) as image:
        return {f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.reshape(image.getpalette(), (-1, 3)).tolist()}


# What it writes


def test_several_pictures_go_into_a_folder_and_reports_agree_with_the_files(diffquant, here, folder):
    options = (*FAST, "--seed", "3")
    done = succeeded(diffquant("quantize", "photo.png", "other.png", "few.png", "-o", "new/", *options, "--json"))
    assert done.stderr == ""
    reports = json.loads(done.stdout)
    assert [report["input"] for report in reports] == ["photo.png", "other.png", "few.png"]
    assert sorted(path.name for path in (folder / "new").iterdir()) == ["few.png", "other.png", "photo.png"]
    for report in reports:
        path = folder / report["output"]
        assert color_type(path) == 3  # indexed
        assert pixels(path).shape == (HEIGHT, WIDTH, 3)
        assert report["bytes"] == path.stat().st_size
        assert report["bits_per_pixel"] == 8 * report["bytes"] / (HEIGHT * WIDTH)
        assert report["colors"] == len(colors_in(path)) <= 4
        assert report["seconds"] > 0
    np.testing.assert_array_equal(pixels(folder / "new/few.png"), pixels(folder / "few.png"))
    error = pixels(folder / "photo.png") - pixels(folder / "new/photo.png").astype(float)
    assert reports[0]["psnr"] == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)))

    again = succeeded(diffquant("quantize", "photo.png", "--output", "again.PNG", *options))
    data = (folder / "again.PNG").read_bytes()
    assert data == (folder / "new/photo.png").read_bytes()  # same seed, same bytes
    for figure in ("again.PNG", f"{len(data):,}", f"{reports[0]['psnr']:.2f} dB"):
        assert figure in again.stdout

    judged = json.loads(succeeded(here("evaluate", "photo.png", "again.PNG", "--json")).stdout)
    expected = {k: v for k, v in reports[0].items() if k not in ("input", "output", "seconds")}
    assert judged["ms_ssim"] is None  # the pictures are too small for it
    assert judged.keys() > expected.keys()
    assert {name: judged[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_pinned_colours_are_in_the_palette(here, folder):
    succeeded(here("quantize", "photo.png", "-o", "out.png", *FAST, "--pin", "#400080, #C0C080"))
    assert {"#400080", "#c0c080"} <= palette_of(folder / "out.png")
    assert len(palette_of(folder / "out.png")) == 4


def test_a_palette_given_as_a_list_is_all_there_is_and_transparency_shows_the_background(here, folder):
    clear = np.dstack([photo(HEIGHT, WIDTH), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    clear[:, : WIDTH // 2, 3] = 0
    Image.fromarray(clear).save(folder / "clear.png")
    options = ("--palette", ",".join(COLORS), "--background", "navy", "--preset", "fast")
    done = succeeded(here("quantize", "clear.png", "-o", "out.png", *options))
    assert "diffquant: clear.png: alpha composited on #000080" in done.stderr.splitlines()
    assert colors_in(folder / "out.png") <= set(COLORS)
    assert (pixels(folder / "out.png")[:, : WIDTH // 4] == (0, 0, 128)).all()


@pytest.mark.parametrize("dither", ["none", "sample", "blue-noise"])
def test_every_dither_obeys_a_palette_from_a_file(here, folder, dither):
    options = ("--palette", "colors.txt", "--dither", dither, "--preset", "fast")
    succeeded(here("quantize", "photo.png", "-o", "out.png", *options))
    assert color_type(folder / "out.png") == 3
    assert colors_in(folder / "out.png") <= set(COLORS)


def test_version_is_the_package_s(diffquant):
    from importlib.metadata import version

    assert succeeded(diffquant("--version")).stdout == f"diffquant {version('diffquant')}\n"


def test_a_bad_picture_does_not_stop_the_others(here, folder):
    done = here("quantize", "cut.png", "few.png", "-o", "new", *FAST, "--json")
    assert done.returncode == 2
    assert done.stderr.startswith("diffquant: cut.png: ")
    assert [report["input"] for report in json.loads(done.stdout)] == ["few.png"]
    assert os.listdir(folder / "new") == ["few.png"]


# What it answers to mistakes

QUANTIZE = ("quantize", "photo.png", "-o", "out.png")
MISTAKES = {  # arguments, and what the line must name
    "no command": ((), "quantize"),
    "unknown command": (("compress", "photo.png"), "compress"),
    "unknown option": ((*QUANTIZE, "--colour", "4"), "--colour"),
    "no input": (("quantize", "-o", "out.png"), "input"),
    "no output": (("quantize", "photo.png"), "--output"),
    "missing file": (("quantize", "none.png", "-o", "out.png"), "none.png: no such file"),
    "folder": (("quantize", "sub", "-o", "out.png"), "sub: a directory"),
    "text": (("quantize", "text.txt", "-o", "out.png"), "text.txt"),
    "empty file": (("quantize", "empty.png", "-o", "out.png"), "empty.png: empty file"),
    "truncated file": (("quantize", "cut.png", "-o", "out.png"), "cut.png: truncated PNG"),
    "no colours": ((*QUANTIZE, "-n", "0"), "--colors: found 0"),
    "too many colours": ((*QUANTIZE, "-n", "300"), "--colors: found 300"),
    "colours in letters": ((*QUANTIZE, "-n", "abc"), "abc"),
    "unknown preset": ((*QUANTIZE, "--preset", "good"), "good"),
    "unknown dither": ((*QUANTIZE, "--dither", "fs"), "fs"),
    "bad pin": ((*QUANTIZE, "--pin", "black,#12"), "--pin: colour '#12'"),
    "too many pins": ((*QUANTIZE, "-n", "1", "--pin", "red,blue"), "--pin: found 2"),
    "pinned twice": ((*QUANTIZE, "--pin", "red,#f00"), "#f00 twice"),
    "pins beside a palette": ((*QUANTIZE, "--pin", "red", "--palette", "red,blue"), "--pin"),
    "no colour in the palette": ((*QUANTIZE, "--palette", ","), "--palette: colour ''"),
    "bad line in a palette": ((*QUANTIZE, "--palette", "wrong.txt"), "wrong.txt, line 4: colour 'reddish'"),
    "palette that is no text": ((*QUANTIZE, "--palette", "binary.txt"), "binary.txt"),
    "bad background": ((*QUANTIZE, "--background", "#ff000080"), "--background: colour '#ff000080'"),
    "seed in letters": ((*QUANTIZE, "--seed", "x"), "--seed"),
    "no folder for the output": (("quantize", "photo.png", "-o", "none/out.png"), "none"),
    "wrong ending": (("quantize", "photo.png", "-o", "out.jpg"), "out.jpg"),
    "output is the input": (("quantize", "photo.png", "-o", "./photo.png"), "photo.png"),
    "several into a file": (("quantize", "photo.png", "other.png", "-o", "few.png"), "few.png"),
    "two of one name": (("quantize", "photo.png", "sub/photo.png", "-o", "new"), "new/photo.png"),
    "evaluate one": (("evaluate", "photo.png"), "Missing"),
    "evaluate other size": (("evaluate", "photo.png", "upright.png"), "found 24x40 pixels, expected 40x24"),
    "evaluate missing file": (("evaluate", "photo.png", "none.png"), "none.png: no such file"),
}


def listing(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def assert_one_line(done, text):
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("diffquant: ")
    assert text in lines[0]
    assert done.stdout == ""


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(here, folder, arguments, text):
    before = listing(folder)
    assert_one_line(here(*arguments), text)
    assert listing(folder) == before


def test_mistakes_are_all_that_a_process_says(folder, environment):
    mistakes = [arguments for arguments, _ in MISTAKES.values()]
    code = f"from diffquant.cli import command\nfor arguments in {mistakes}: assert command(arguments) == 2"
    before = listing(folder)
    process = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(process, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(done.stderr.splitlines()) == len(MISTAKES)
    assert listing(folder) == before


def test_a_seed_out_of_range_is_a_mistake(here):
    assert_one_line(here(*QUANTIZE, *FAST, "--seed", str(2**64)), "--seed")


def test_mistakes_are_named_whatever_the_encoding_of_the_terminal(diffquant):
    assert_one_line(diffquant(*QUANTIZE, "--preset", "good", PYTHONIOENCODING="latin-1"), "good")


def test_no_report_is_printed_of_a_picture_that_failed(here):
    assert_one_line(here("quantize", "none.png", "-o", "out.png", "--json"), "none.png")


def test_reports_are_json_by_the_standard(here):
    def refuse(word):
        pytest.fail(f"found {word}")

    done = succeeded(here("evaluate", "photo.png", "other.png", "--json"))
    json.loads(done.stdout, parse_constant=refuse)


def test_pinned_colours_that_no_pixel_has_are_not_written(here, folder):
    succeeded(here("quantize", "few.png", "-o", "out.png", *FAST, "--pin", "#ff00ff"))
    assert "#ff00ff" not in palette_of(folder / "out.png")


# How it is interrupted


def wait_for(word, descriptor, seconds):
    """Read a terminal until it shows `word`. Without a writer left, reading fails."""
    shown, end = b"", time.monotonic() + seconds
    while word not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(end - time.monotonic(), 0))
        assert ready, f"no {word!r} in {seconds} s after {shown!r}"
        shown += os.read(descriptor, 4096)
    return shown


@pytest.mark.parametrize("stage", ["relax", pytest.param("harden", marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_soon_with_the_best_so_far(folder, environment, stage):
    Image.fromarray(photo(400, 600)).save(folder / "large.png")
    terminal, stderr = pty.openpty()
    arguments = ("quantize", "large.png", "-o", "out.png", "-n", "8", "--preset", "best")
    command = [sys.executable, "-W", "error", "-m", "diffquant", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment | {"TERM": "xterm"}, stderr=stderr) as process:
        os.close(stderr)
        wait_for(stage.encode(), terminal, 300)
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        wait_for(b"diffquant: interrupted; out.png is the best so far", terminal, 60)
        assert process.wait(60) == 130
        assert time.monotonic() - started < 60
    os.close(terminal)
    assert color_type(folder / "out.png") == 3
    assert pixels(folder / "out.png").shape == (400, 600, 3)
    assert not list(folder.glob(".*"))
