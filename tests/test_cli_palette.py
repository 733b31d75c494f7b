"""`diffquant palette`: what it prints and writes, and what it answers to mistakes. Oracle: Pillow."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from test_cli import photo

import diffquant.commands.palette
from diffquant.cli import command
from diffquant.color import linear_from_oklab, srgb8_from_linear
from diffquant.palette.files import WRITABLE, palette_bytes, read_palette
from diffquant.palette.histogram import histogram, oklab_from_colors
from diffquant.palette.initial import initial_palette
from diffquant.palette.median_cut import HEURISTICS, median_cut

HEIGHT, WIDTH = 24, 40
FIVE = np.array([[250, 250, 250], [200, 30, 30], [9, 9, 9], [0, 99, 30], [30, 30, 220]], np.uint8)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(HEIGHT, WIDTH)).save("photo.png")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 5, (HEIGHT, WIDTH), np.uint8))
    image.putpalette(FIVE.tobytes())
    image.save("indexed.png")
    (tmp_path / "five.gpl").write_bytes(palette_bytes(FIVE, ".gpl"))
    (tmp_path / "wrong.txt").write_text("red\nreddish\n")
    (tmp_path / "short.act").write_bytes(bytes(700))
    (tmp_path / "cut.png").write_bytes((tmp_path / "photo.png").read_bytes()[:300])
    (tmp_path / "empty.png").touch()
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def palette(folder, capsys):
    def run(*arguments):
        status = command(("palette", *arguments))
        output = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=output.out, stderr=output.err)

    return run


def succeeded(done):
    assert (done.returncode, done.stderr) == (0, "")
    return done


def codes(oklab):
    """From dark to light."""
    return srgb8_from_linear(linear_from_oklab(oklab[oklab[:, 0].argsort(kind="stable")].T)).T


def hexes(colors):
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in colors.tolist()]


def test_a_picture_s_palette_is_printed_with_shares_and_written(palette):
    report = json.loads(succeeded(palette("photo.png", "-n", "6", "-o", "out.gpl", "--json")).stdout)
    expected = codes(initial_palette(photo(HEIGHT, WIDTH), 6))
    assert [entry["color"] for entry in report["colors"]] == hexes(expected)
    assert (report["input"], report["outputs"]) == ("photo.png", ["out.gpl"])
    np.testing.assert_array_equal(read_palette("out.gpl"), expected)
    pixels = oklab_from_colors(photo(HEIGHT, WIDTH).reshape(-1, 3))
    nearest = np.square(pixels[:, None] - oklab_from_colors(expected)).sum(axis=-1).argmin(axis=1)
    shares = [entry["share"] for entry in report["colors"]]
    np.testing.assert_allclose(shares, np.bincount(nearest, minlength=6) / len(pixels), atol=1e-9)
    table = succeeded(palette("photo.png", "-n", "6")).stdout
    assert all(name in table for name in hexes(expected))
    assert f"{100 * shares[0]:.2f} %" in table


@pytest.mark.parametrize("heuristic", ["xer2_max_er2absW", "xlen_sum_len"])
def test_median_cut_alone_takes_the_heuristic_that_is_named(palette, heuristic):
    options = ("-n", "7", "--initial", "median-cut", "--heuristic", heuristic, "-o", "out.hex")
    succeeded(palette("photo.png", *options))
    colors, weights = histogram(photo(HEIGHT, WIDTH))
    expected = codes(median_cut(oklab_from_colors(colors), weights, 7, HEURISTICS[heuristic]))
    np.testing.assert_array_equal(read_palette("out.hex"), expected)


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("source", ["five.gpl", "indexed.png"])
def test_a_palette_is_converted_in_its_own_order(palette, source, suffix):
    succeeded(palette(source, "-o", f"out{suffix}"))
    np.testing.assert_array_equal(read_palette(f"out{suffix}"), FIVE)


def test_by_default_a_photo_has_16_colours(palette):
    Image.fromarray(photo(60, 90)).save("large.png")
    assert len(json.loads(succeeded(palette("large.png", "--json")).stdout)["colors"]) == 16


def test_a_palette_file_can_be_made_smaller(palette):
    report = json.loads(succeeded(palette("five.gpl", "-n", "3", "--json")).stdout)
    assert [entry["share"] for entry in report["colors"]] == pytest.approx([0.4, 0.4, 0.2], abs=0.21)
    assert len(report["colors"]) == 3


def test_what_is_printed_as_json_is_a_palette_too(palette, folder):
    done = succeeded(palette("photo.png", "-n", "4", "-o", "out.txt", "--json"))
    (folder / "printed.json").write_text(done.stdout)
    np.testing.assert_array_equal(read_palette("printed.json"), read_palette("out.txt"))


def test_transparent_pixels_show_the_background(palette):
    pixels = np.dstack([FIVE[[[1, 2, 3]]], np.array([[255, 0, 255]], np.uint8)])
    Image.fromarray(pixels).save("clear.png")
    report = json.loads(succeeded(palette("clear.png", "--background", "navy", "--json")).stdout)
    assert [entry["color"] for entry in report["colors"]] == ["#c81e1e", "#000080", "#00631e"]
    pixels[..., 3] = 0
    Image.fromarray(pixels).save("clear.png")
    assert "#000080" in succeeded(palette("clear.png", "--background", "navy")).stdout


@pytest.mark.parametrize("source", ["photo.png", "five.gpl"])
def test_drawings_are_written(palette, source):
    done = succeeded(palette(source, "-n", "4", "--show", "out.png", "--cut", "out.gif", "--json"))
    report = json.loads(done.stdout)
    assert report["outputs"] == ["out.png", "out.gif"]
    with Image.open("out.png") as image:
        shown = {count_color[1] for count_color in image.convert("RGB").getcolors(1 << 24)}
    for entry in report["colors"]:
        assert tuple(bytes.fromhex(entry["color"][1:])) in shown
    with Image.open("out.gif") as image:
        assert (image.format, image.n_frames) == ("GIF", 4)


PHOTO = ("photo.png",)
MISTAKES = {  # arguments, and what the line must name
    "no input": ((), "PATH"),
    "missing file": (("none.gpl",), "none.gpl: No such file"),
    "folder": (("sub",), "sub: Is a directory"),
    "broken picture": (("cut.png",), "cut.png: truncated PNG"),
    "empty file": (("empty.png",), "empty.png: empty file"),
    "wrong line": (("wrong.txt",), "wrong.txt, line 2: colour 'reddish'"),
    "short act": (("short.act",), "short.act: 700 bytes; expected 768 or 772"),
    "no colours": ((*PHOTO, "-n", "0"), "--colors: found 0, expected 1 to 256"),
    "too many colours": ((*PHOTO, "-n", "257"), "--colors: found 257"),
    "unknown heuristic": (
        (*PHOTO, "--heuristic", "best"),
        "--heuristic: found 'best', expected one of xer2_max_er2absW",
    ),
    "unknown start": ((*PHOTO, "--initial", "wu"), "wu"),
    "unknown format": ((*PHOTO, "-o", "out.pal"), "--output: found out.pal, expected a name ending in .png or .gpl"),
    "drawing of another kind": ((*PHOTO, "--show", "out.gif"), "--show: found out.gif, expected a name ending in .png"),
    "animation of another kind": ((*PHOTO, "--cut", "out.png"), "--cut: found out.png, expected a name ending in .gif"),
    "no folder": ((*PHOTO, "--cut", "none/out.gif"), "--cut: found no folder none"),
    "onto the input": ((*PHOTO, "-o", "./photo.png"), "--output: found the input photo.png itself"),
    "one file for two": ((*PHOTO, "-o", "out.png", "--show", "sub/../out.png"), "--show: found sub/../out.png twice"),
    "bad background": ((*PHOTO, "--background", "blak"), "--background: colour 'blak'"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(palette, folder, arguments, text):
    before = sorted(folder.rglob("*"))
    done = palette(*arguments, *(("--show", "new.png") if "--show" not in arguments else ()))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("diffquant: ")
    assert text in line
    assert sorted(folder.rglob("*")) == before


def loaded(folder, code):
    """Which of these are imported when the code has run."""
    watched = "{'jax', 'matplotlib', 'numba', 'sklearn'}"
    code = f"import sys; from diffquant.cli import command\n{code}\nprint(*sorted({watched} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].split()


def test_mistakes_are_answered_without_waiting_for_jax_or_matplotlib(folder):
    mistakes = [("palette", *arguments) for arguments, _ in MISTAKES.values()]
    mistakes += [("quantize", "photo.png", "-o", "out.png", option, "wrong.txt") for option in ("--palette", "--pin")]
    assert loaded(folder, f"for arguments in {mistakes}: assert command(arguments) == 2") == []


def test_a_palette_that_is_not_drawn_needs_no_matplotlib(folder):
    assert loaded(folder, "assert command(('palette', 'photo.png', '-n', '4', '-o', 'out.act')) == 0") == ["jax"]


def test_an_interrupted_run_writes_nothing(palette, folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(diffquant.commands.palette, "_animated", interrupted)
    before = os.listdir(folder)
    done = palette("photo.png", "-n", "3", "-o", "out.act", "--show", "out.png", "--cut", "out.gif")
    assert (done.returncode, done.stderr) == (130, "diffquant: interrupted; nothing written\n")
    assert os.listdir(folder) == before
