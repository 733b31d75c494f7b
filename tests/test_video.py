"""Reading videos. Oracle: FFmpeg, which writes the files; the codes and times that it was given."""

import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from clips import clip_of, failing, gif, movie, number_of, numbered

from diffquant.animation import video
from diffquant.image import ImageError


def test_a_video_is_read_code_for_code(tmp_path):
    frames = numbered(10, (18, 32))
    clip = clip_of(movie(tmp_path / "12:30 -a.mkv", frames, "10"))
    for _ in range(2):
        found = list(clip.frames())
        np.testing.assert_array_equal([frame.srgb8 for frame in found], frames)
        assert [frame.delay for frame in found] == [10] * 10
    assert (clip.estimate(), clip.loops()) == (10, 0)


@pytest.mark.parametrize("kind", ["yuv420p10le", "gray", "gray16le"])
def test_videos_of_other_depths_are_read(tmp_path, kind):
    smooth = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8)[:, None], (4, 18, 32, 3))
    path = movie(tmp_path / "a.mkv", smooth, "10", "-pix_fmt", kind)
    found = np.array([frame.srgb8 for frame in clip_of(path).frames()], int)
    assert found.shape == smooth.shape
    assert np.abs(found - smooth).max() <= 3


@pytest.mark.parametrize(
    ("rate", "fps"), [("30000/1001", None), ("60", None), ("25", None), ("30", 12.0), ("60", 29.97)]
)
def test_hundredths_of_a_second_do_not_drift(tmp_path, rate, fps):
    n, per_second = 250, float(Fraction(rate))
    found = list(clip_of(movie(tmp_path / "a.mkv", numbered(n, (2, 16)), rate), fps=fps).frames())
    delays = np.array([frame.delay for frame in found])
    assert delays.min() >= 2
    assert delays.sum() == pytest.approx(100 * n / per_second, abs=1)
    starts = np.cumsum(delays) - delays
    times = [100 * number_of(frame) / per_second for frame in found]
    np.testing.assert_allclose(starts, times, atol=1.5)  # rounded, and put off to last 2 at least
    wanted = min(per_second, fps or per_second, 50)
    assert len(found) == pytest.approx(n * wanted / per_second, abs=2)


def test_a_reader_that_is_left_early_leaves_no_process(tmp_path, monkeypatch):
    path = movie(tmp_path / "a.mkv", numbered(20, (180, 320)), "10")  # more than fits into a pipe
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    frames = clip_of(path).frames()
    assert number_of(next(frames)) == 0
    assert started[-1].poll() is None
    frames.close()
    assert [process.poll() is None for process in started] == [False] * len(started)


def test_the_part_of_a_broken_video_that_can_be_read_is_read(tmp_path):
    path = movie(tmp_path / "a.mkv", numbered(10, (18, 32)), "10")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = list(clip_of(path).frames())
    assert 2 <= len(found) < 10
    assert [number_of(frame) for frame in found] == list(range(len(found)))


def test_rate_and_length_are_as_ffmpeg_tells_them(tmp_path):
    assert video.probe(movie(tmp_path / "a.mkv", numbered(10), "8")) == (8.0, 1.25)
    fast = video.probe(movie(tmp_path / "b.mkv", numbered(200), "2000"))  # FFmpeg writes 2k
    assert fast == (2000.0, pytest.approx(0.1, abs=0.01))


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ("0.0000 fps, 12.50 tbr, 1k tbn", 12.5),
        ("29.97 fps, 0.0000 tbr, 90k tbn", 29.97),
        ("0 fps, 0 tbr, 1k tbn", 25.0),
        ("30 tbr, 1k tbn", 30.0),
        ("1k tbn", 25.0),
    ],
)
def test_a_rate_of_nothing_is_none(tmp_path, monkeypatch, rates, expected):
    header = f"  Duration: N/A, bitrate: N/A\n  Stream #0:0: Video: ffv1, bgr0, 10x6, {rates} (default)\n"
    told = subprocess.CompletedProcess([], 1, b"", header.encode())
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: told)
    assert video.probe(tmp_path / "a.mkv") == (expected, 0.0)


def test_without_ffmpeg_a_video_is_refused_and_a_gif_is_not(tmp_path, monkeypatch):
    path, animated = movie(tmp_path / "a.mkv", numbered(3), "10"), gif(tmp_path / "a.gif")

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.\nInstall it.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    line = f"{path}: found no FFmpeg to decode it with; expected ffmpeg where commands are found"
    assert failing(clip_of(path)) == f"{line}, or its path in IMAGEIO_FFMPEG_EXE"
    with pytest.raises(ImageError, match="found no FFmpeg"):
        clip_of(path).estimate()
    assert len(list(clip_of(animated).frames())) == 6
