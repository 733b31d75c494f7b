"""Reading clips: GIF and other animations, folders of pictures. Oracle: Pillow, which writes the files."""

import itertools

import numpy as np
import pytest
from clips import H, W, animation, clip_of, failing, gif, movie, number_of, numbered
from PIL import Image

from diffquant.animation.clip import Clip, sources_from
from diffquant.image import ImageError

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
