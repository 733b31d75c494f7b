"""`--dither`: every classical name has its spec, and runs as a user runs it.

Oracle for the files: Pillow.
"""

import itertools
import subprocess
import sys
import typing

import numpy as np
import pytest
from PIL import Image
from test_cli import assert_one_line, listing, palette_of, photo, pixels

import diffquant
from diffquant.cli import command
from diffquant.export.classical import AnyClassical, ErrorDiffusion
from diffquant.export.names import Classical
from diffquant.presets import classical

HEIGHT, WIDTH = 24, 40
CLASSICAL = typing.get_args(Classical)
TRIED = ("sierra-2-4a", "bayer-4", "riemersma", "blue-noise-mask")
QUANTIZE = ("quantize", "photo.png", "-n", "4")
OPTIONS = ("--strength", "0.8", "--no-serpentine")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(HEIGHT, WIDTH)).save("photo.png")
    return tmp_path


def process(folder, *arguments):
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What each of them writes, all in one process: most of its time is for starting."""
    folder = tmp_path_factory.mktemp("made")
    Image.fromarray(photo(HEIGHT, WIDTH)).save(folder / "photo.png")
    runs = [(*QUANTIZE, "-o", f"{name}.png", "--dither", name, *OPTIONS) for name in TRIED]
    done = process(folder, "-c", f"from diffquant.cli import command\nfor each in {runs}: assert command(each) == 0")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.mark.parametrize("dither", TRIED)
def test_a_classical_dither_keeps_to_so_few_colours_and_writes_the_same_bytes_again(made, folder, dither):
    path = made / f"{dither}.png"
    assert len(palette_of(path)) <= 4
    assert pixels(path).shape == (HEIGHT, WIDTH, 3)
    assert command((*QUANTIZE, "-o", "again.png", "--dither", dither, *OPTIONS)) == 0
    assert (folder / "again.png").read_bytes() == path.read_bytes()


def test_strength_and_serpentine_change_what_error_diffusion_does(folder):
    options = ((), ("--strength", "0.8"), ("--no-serpentine",))
    for i, each in enumerate(options):
        assert command((*QUANTIZE, "-o", f"{i}.png", "--dither", "sierra-2-4a", *each)) == 0
    for a, b in itertools.combinations(range(len(options)), 2):
        assert (pixels(folder / f"{a}.png") != pixels(folder / f"{b}.png")).any()


MISTAKES = {  # options, and what the line must name
    "strength": (("--dither", "bayer-4", "--strength", "2"), "--strength: found 2, expected 0 to 1"),
    "chroma too small": (("--chroma", "0.5"), "--chroma: found '0.5', expected auto or a number from 1 to 16"),
    "chroma in letters": (("--chroma", "red"), "--chroma: found 'red', expected auto or a number from 1 to 16"),
    "unknown dither": (("--dither", "nonsense"), "'nonsense' for argument '--dither'"),
}


@pytest.mark.parametrize(("options", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(folder, options, text):
    before = listing(folder)
    assert_one_line(process(folder, "-m", "diffquant", *QUANTIZE, "-o", "out.png", *options), text)
    assert listing(folder) == before


@pytest.mark.parametrize("name", CLASSICAL)
def test_every_classical_name_has_a_spec_of_its_own(name):
    spec = classical(name, serpentine=False, strength=0.5)
    assert isinstance(spec, AnyClassical)
    assert spec.strength == 0.5
    assert not (isinstance(spec, ErrorDiffusion) and spec.serpentine)
    assert [other for other in CLASSICAL if classical(other, serpentine=False, strength=0.5) == spec] == [name]


def test_a_palette_file_can_be_pinned(folder):
    path = folder / "x.gpl"
    path.write_text("GIMP Palette\n#\n  0   0 128\tnavy\n255 255 255\twhite\n192  64   0\trust\n")
    pinned = {(0, 0, 128), (255, 255, 255), (192, 64, 0)}
    whole = diffquant.quantize("photo.png", 3, dither="floyd-steinberg", pin=path)
    assert {tuple(color) for color in whole.palette.tolist()} == pinned
    part = diffquant.quantize("photo.png", 5, dither="floyd-steinberg", pin=path)
    assert pinned < {tuple(color) for color in part.palette.tolist()}
    np.testing.assert_array_equal(part.palette[part.indices], part.image)
