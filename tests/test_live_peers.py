"""`scripts/live_peers.py`, `scripts/live_jpeg_peers.py`: what FFmpeg, jpegli and MozJPEG are asked.

Oracles: NumPy and Pillow on what comes back; shell scripts in place of programs.
"""

import importlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"
HEIGHT, WIDTH = 24, 40
FFMPEG = "live-ffmpeg-sierra2_4a"


@pytest.fixture
def picture():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).integers(-9, 10, (HEIGHT, WIDTH, 3))
    return Image.fromarray((np.stack([6 * x, 9 * y, 4 * (x + y)], -1) + noise).clip(0, 255).astype(np.uint8))


@pytest.fixture
def live_peers(monkeypatch):
    """The module of quantizers."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("live_peers")


@pytest.fixture
def live_jpeg_peers(monkeypatch):
    """The module of JPEG encoders, with nothing known of what is installed."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("live_jpeg_peers")
    module._cjpeg.cache_clear()
    yield module
    module._cjpeg.cache_clear()


# Quantizers


@pytest.mark.parametrize("k", [2, 4, 16, 256])
def test_ffmpeg_gives_at_most_so_many_colours_and_dithers(live_peers, picture, k):
    result, source = np.asarray(live_peers.PEERS[FFMPEG](picture, k)), np.asarray(picture)
    assert result.shape == source.shape
    palette, indices = np.unique(result.reshape(-1, 3), axis=0, return_inverse=True)
    assert k / 2 <= len(palette) <= k
    nearest = np.argmin(np.sum((source.reshape(-1, 1, 3) - palette.astype(float)) ** 2, -1), -1)
    assert np.mean(nearest != indices.ravel()) > 0.05  # error diffusion takes others too


def test_ffmpeg_is_skipped_in_one_line_for_one_colour(live_peers):
    names, lines = live_peers.available([1])
    assert FFMPEG not in names[1]
    assert f"{FFMPEG}: skipped: takes 2 to 256 colours, found 1" in lines


# JPEG encoders


@pytest.fixture
def no_jpeg_peers(live_jpeg_peers, monkeypatch, tmp_path):
    """The module, with no pyjpegli, and nothing on PATH but a folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "pyjpegli", None)
    return live_jpeg_peers


def test_jpegli_writes_a_file_of_half_size_chroma(live_jpeg_peers):
    pytest.importorskip("pyjpegli")
    data = live_jpeg_peers.PEERS["pyjpegli"](Image.new("RGB", (40, 24), "teal"), 75)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (40, 24)
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


def program(folder, banner, *, writes):
    path = folder / "bin" / "cjpeg"
    path.write_text(f'#!/bin/sh\n[ "$1" = -version ] && echo "{banner}" >&2 && exit\n{writes}\n')
    path.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_of_programs_called_cjpeg_only_mozjpeg_will_do(no_jpeg_peers, tmp_path):
    program(tmp_path, "libjpeg-turbo version 2.1.5 (build 20230203)", writes="exit 3")
    names, lines = no_jpeg_peers.available()
    assert "mozjpeg" not in names
    assert "mozjpeg: skipped: found another cjpeg on PATH: libjpeg-turbo version 2.1.5 (build 20230203)" in lines


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_mozjpeg_gets_the_picture_and_its_quality(no_jpeg_peers, tmp_path):
    program(tmp_path, "mozjpeg version 4.1.1 (build 1)", writes='echo "$@"; exec /bin/cat')
    assert "mozjpeg" in no_jpeg_peers.available()[0]
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8))
    options, _, data = no_jpeg_peers.PEERS["mozjpeg"](source, 35).partition(b"\n")
    assert options == b"-quality 35 -sample 2x2"
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(image, source)
