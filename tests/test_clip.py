"""Reading clips: GIF and other animations, videos, folders of pictures.

Oracles: Pillow and FFmpeg, which write the files; the codes and times that they were given.
"""

import itertools
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from diffquant.animation import video
from diffquant.animation.clip import Clip, sources_from
from diffquant.image import ImageError

H, W = 6, 10
GREYS = np.array([[i] * 3 for i in range(256)], np.uint8)


def numbered(n, shape=(H, W)):
    """A frame's red tells its number."""
    frames = np.random.default_rng(0).integers(0, 256, (n, *shape, 3), np.uint8)
    frames[..., 0] = np.arange(n)[:, None, None]
    return frames


def number_of(frame):
    (number,) = np.unique(frame.srgb8[..., 0])
    return int(number)


def animation(path, frames, durations, **options):
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, **options)
    return path


def gif(path, n=6, durations=40, **options):
    """Grey levels, each its own frame."""
    return animation(
        path, np.broadcast_to(20 * np.arange(n, dtype=np.uint8)[:, None, None], (n, H, W)), durations, **options
    )


def movie(path, frames, rate, *options):
    """Without loss."""
    h, w = frames.shape[1:3]
    reading = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", rate, "-i", "-"]
    writing = ["-c:v", "ffv1", "-pix_fmt", "bgr0", *options, f"file:{path}"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *reading, *writing]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


def clip_of(*paths, **options):
    return Clip(sources=tuple(paths), **options)


# Animations


@pytest.mark.parametrize("loop", [None, 0, 4])
def test_delays_and_loop_of_a_gif_are_kept(tmp_path, loop):
    delays = [10, 30, 20, 1000, 50, 70]  # milliseconds; the first is shorter than browsers play
    options = {} if loop is None else {"loop": loop}
    clip = clip_of(gif(tmp_path / "a.gif", durations=delays, **options))
    assert [frame.delay for frame in clip.frames()] == [1, 3, 2, 100, 5, 7]
    assert clip.loops() == loop
    assert clip.estimate() == 6
    assert [int(frame.srgb8[0, 0, 0]) for frame in clip.frames()] == [0, 20, 40, 60, 80, 100]  # read anew
    assert all(frame.opaque is None for frame in clip.frames())


@pytest.mark.parametrize(("ending", "options"), [(".webp", {"lossless": True}), (".png", {})])
@pytest.mark.parametrize("milliseconds", [33, 16, 100])
def test_other_animations_keep_their_pace(tmp_path, ending, options, milliseconds):
    frames = numbered(30)
    clip = clip_of(animation(tmp_path / f"a{ending}", frames, milliseconds, **options))
    found = list(clip.frames())
    assert sum(frame.delay for frame in found) == pytest.approx(3 * milliseconds, abs=2)
    starts = np.cumsum([0, *(frame.delay for frame in found)])[:-1] * 10
    np.testing.assert_allclose(starts, [milliseconds * number_of(frame) for frame in found], atol=15)
    for frame in found:
        np.testing.assert_array_equal(frame.srgb8, frames[number_of(frame)])
    assert len(found) == (30 if milliseconds > 20 else 24)  # at most 50 in a second


def test_fewer_frames_last_longer(tmp_path):
    found = list(clip_of(gif(tmp_path / "a.gif", n=12, durations=40), fps=12.5).frames())
    assert [frame.delay for frame in found] == [8] * 6
    assert [int(frame.srgb8[0, 0, 0]) for frame in found] == list(range(0, 240, 40))


def test_a_delay_too_short_counts_as_browsers_play_it_where_frames_are_dropped(tmp_path):
    found = list(clip_of(gif(tmp_path / "a.gif", n=6, durations=10), fps=5).frames())
    assert [frame.delay for frame in found] == [20, 20, 20]


def test_what_is_transparent_is_laid_on_the_background_and_known(tmp_path):
    rgba = np.random.default_rng(1).integers(0, 256, (2, H, W, 4), np.uint8)
    rgba[..., 3] = np.where(np.arange(W) < 4, 0, 255)
    rgba[:, 0, :, 3] = 100  # half
    animation(tmp_path / "a.png", rgba, 100)
    clip = clip_of(tmp_path / "a.png", background=(0, 255, 0))
    for frame, source in zip(clip.frames(), rgba, strict=True):
        np.testing.assert_array_equal(frame.opaque, source[..., 3] >= 128)
        np.testing.assert_array_equal(frame.srgb8[frame.opaque], source[..., :3][frame.opaque])
        assert (frame.srgb8[1:, :4] == (0, 255, 0)).all()
        expected = (100 * source[0, :, :3].astype(float) + 155 * np.array([0.0, 255, 0])) / 255
        np.testing.assert_allclose(frame.srgb8[0], expected, atol=1)


def test_scaling_keeps_the_proportions(tmp_path):
    path = gif(tmp_path / "a.gif")
    frames = list(clip_of(path, width=5).frames())
    assert {frame.srgb8.shape for frame in frames} == {(3, 5, 3)}
    assert [int(frame.srgb8[0, 0, 0]) for frame in frames] == [0, 20, 40, 60, 80, 100]
    assert next(clip_of(path, width=1).frames()).srgb8.shape == (1, 1, 3)


# Videos


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


# Pictures


def test_pictures_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("frame10", "frame2", "frame1", "frame09", "b1", "a"):
        Image.fromarray(numbered(1)[0]).save(tmp_path / f"{name}.png")
    (tmp_path / ".hidden").touch()
    (tmp_path / "sub").mkdir()
    names = [path.stem for path in sources_from([tmp_path])]
    assert [name for name in names if name.startswith("frame")] == ["frame1", "frame2", "frame09", "frame10"]
    assert sorted(names) == ["a", "b1", "frame09", "frame1", "frame10", "frame2"]
    given = [tmp_path / "b1.png", tmp_path / "a.png"]
    assert sources_from(given) == tuple(given)


@pytest.mark.parametrize(("fps", "delays"), [(None, [10] * 7), (3.0, [33, 34, 33, 33, 34, 33, 33]), (50.0, [2] * 7)])
def test_separate_pictures_have_the_rate_that_is_asked_for(tmp_path, fps, delays):
    for i, frame in enumerate(numbered(7)):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    clip = Clip(sources=sources_from([tmp_path]), fps=fps)
    found = list(clip.frames())
    assert [number_of(frame) for frame in found] == list(range(7))
    assert [frame.delay for frame in found] == delays
    assert (clip.estimate(), clip.loops()) == (7, 0)


def test_separate_pictures_may_be_transparent(tmp_path):
    rgba = np.full((H, W, 4), 90, np.uint8)
    rgba[..., 3] = np.where(np.arange(W) < 3, 0, 255)
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    Image.fromarray(rgba).save(paths[0])
    Image.fromarray(rgba[..., :3]).save(paths[1])
    first, second = clip_of(*paths).frames()
    np.testing.assert_array_equal(first.opaque, rgba[..., 3] == 255)
    assert (first.srgb8[:, :3] == 255).all()
    assert second.opaque is None


# Mistakes


def failing(clip):
    with pytest.raises(ImageError) as caught:
        list(clip.frames())
    (line,) = str(caught.value).splitlines()
    return line


def test_sizes_that_differ_are_named_with_the_file(tmp_path):
    for name, shape in (("a", (H, W)), ("b", (H, W)), ("c", (W, H))):
        Image.fromarray(numbered(1, shape)[0]).save(tmp_path / f"{name}.png")
    line = failing(Clip(sources=sources_from([tmp_path])))
    assert line == f"{tmp_path / 'c.png'}: found {H}x{W} pixels; expected {W}x{H} as in the first frame"


def test_one_frame_is_no_clip(tmp_path):
    still, alone = tmp_path / "a.png", tmp_path / "b.mkv"
    Image.fromarray(numbered(1)[0]).save(still)
    movie(alone, numbered(1), "10")
    for path in (still, alone, gif(tmp_path / "c.gif", n=1)):
        assert failing(clip_of(path)) == f"{path}: found one frame; expected a clip of two or more"


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ImageError, match="found an empty folder; expected a picture for each frame"):
        sources_from([tmp_path])


@pytest.mark.parametrize("name", ["text.mp4", "notes.txt", "text.gif", "empty.mp4"])
def test_what_is_no_clip_is_named(tmp_path, name):
    path = tmp_path / name
    path.write_text("" if "empty" in name else "no video\n" * 40)
    assert failing(clip_of(path)) == f"{path}: found nothing that can be decoded; expected a GIF, a video or pictures"
    with pytest.raises(ImageError):
        clip_of(path).estimate()


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


def test_a_missing_file_is_named(tmp_path):
    for task in (Clip.estimate, Clip.loops, lambda clip: next(clip.frames())):
        with pytest.raises(FileNotFoundError) as caught:
            task(clip_of(tmp_path / "none.gif"))
        assert caught.value.filename == str(tmp_path / "none.gif")


def read_or_complaint(clip):
    """Grey levels of the frames, or the line."""
    try:
        return [int(frame.srgb8[0, 0, 0]) for frame in clip.frames()]
    except ImageError as error:
        return str(error)


def test_a_gif_cut_anywhere_is_read_so_far_or_named(tmp_path):
    data, cut = gif(tmp_path / "a.gif", n=3, loop=2).read_bytes(), tmp_path / "cut.gif"
    answers = set()
    for size in range(70, len(data)):  # less is no GIF for Pillow, and FFmpeg takes long to say so
        cut.write_bytes(data[:size])
        clip_of(cut).estimate()  # leaves it to `frames` to complain
        answers.add(str(read_or_complaint(clip_of(cut))))
    told = {answer for answer in answers if answer.startswith(f"{cut}: ")}
    assert answers - told <= {"[0, 20]", "[0, 20, 40]"}
    assert len(told) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, "sources: found none"),
        *(({"fps": fps}, "fps: found") for fps in (0, -1.0, 101.0, float("nan"))),
        *(({"width": width}, "width: found") for width in (0, -5, 65536)),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        Clip(**{"sources": (tmp_path,)} | options)


def test_the_name_of_several_files_is_that_of_the_first_and_their_number(tmp_path):
    assert clip_of(*itertools.repeat(tmp_path / "a.png", 3)).name == f"{tmp_path / 'a.png'} and 2 more"
