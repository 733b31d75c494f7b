"""`diffquant animate`: what it writes, and what it answers to mistakes.

In this process, so that each size compiles once. Oracle for the files: Pillow.
"""

import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import scipy.ndimage
from clips import movie
from PIL import Image, ImageSequence

import diffquant.animation.animate
import diffquant.console
from diffquant.animation.animate import Animation, animate
from diffquant.animation.clip import Clip
from diffquant.animation.steady import Steady
from diffquant.cli import command
from diffquant.color import linear_from_srgb8, oklab_from_linear
from diffquant.metrics import METRICS

HEIGHT, WIDTH, FRAMES = 28, 40, 8
OPTIONS = ("-n", "16", "--preset", "fast")


def street():
    """A still texture, a disc that moves over it, and a camera's noise on half of it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = scipy.ndimage.gaussian_filter(rng.normal(0, 1, (HEIGHT, WIDTH, 3)), (2, 2, 0))
    frames = []
    for i in range(FRAMES):
        frame = 128 + 250 * texture + rng.normal(0, 2, texture.shape) * (x > WIDTH // 2)[..., None]
        frame[(y - 12) ** 2 + (x - 6 - 3 * i) ** 2 < 25] = (200, 60, 40)
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return np.array(frames)


def indexed(frames, palette, path, **options):
    """A GIF of a few colours."""
    pictures = []
    for frame in frames:
        picture = Image.fromarray(frame)
        picture.putpalette(palette.tobytes())
        pictures.append(picture)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Clips, and things that are none."""
    folder = tmp_path_factory.mktemp("clips")
    movie(folder / "street.mkv", street(), "25")
    (folder / "frames").mkdir()
    for i, frame in enumerate(street()):
        Image.fromarray(frame).save(folder / "frames" / f"{i}.png")
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (6, 3), np.uint8)
    frames = rng.integers(0, 5, (4, HEIGHT, WIDTH), np.uint8)
    indexed(frames, palette, folder / "few.gif", duration=[30, 70, 110, 1000], loop=3)
    frames[:, 4:9, 5:20] = 5
    indexed(frames, palette, folder / "clear.gif", duration=40, transparency=5, disposal=2)
    (folder / "text.mp4").write_text("no video\n")
    (folder / "cut.gif").write_bytes((folder / "few.gif").read_bytes()[:300])
    (folder / "again").mkdir()
    (folder / "again" / "1.png").write_bytes((folder / "frames" / "1.png").read_bytes())
    (folder / "again" / "out.gif").write_bytes((folder / "few.gif").read_bytes())
    (folder / "empty").mkdir()
    (folder / "sizes").mkdir()
    Image.fromarray(street()[0]).save(folder / "sizes" / "1.png")
    Image.fromarray(street()[0][:20]).save(folder / "sizes" / "2.png")
    Image.fromarray(street()[0]).save(folder / "still.png")
    return folder


@pytest.fixture
def animated(made, tmp_path, monkeypatch, capsys):
    """The command, run in a folder of its own beside the clips."""
    monkeypatch.setattr(diffquant.console, "use_compilation_cache", lambda: None)
    monkeypatch.setattr("diffquant.commands.animate.use_compilation_cache", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = command(("animate", *arguments))
        output = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=output.out, stderr=output.err)

    run.clips = made
    return run


def succeeded(done):
    assert (done.returncode, done.stderr) == (0, "")
    return done


def shown(path):
    """Frames as Pillow composes them, RGBA, and milliseconds."""
    with Image.open(path) as image:
        assert image.format == "GIF"
        pairs = [(np.asarray(f.convert("RGBA")), f.info["duration"]) for f in ImageSequence.Iterator(image)]
        return np.array([pixels for pixels, _ in pairs]), [time for _, time in pairs], image.info.get("loop")


def oklab(pixels):
    return oklab_from_linear(linear_from_srgb8(np.moveaxis(pixels, -1, 0)))


# What it writes


def test_a_video_becomes_a_gif_and_its_report_agrees_with_the_file(animated):
    clip = str(animated.clips / "street.mkv")
    done = succeeded(animated(clip, "-o", "out.gif", *OPTIONS, "--json"))
    report = json.loads(done.stdout)
    assert (report["input"], report["output"]) == (clip, "out.gif")
    pixels, times, loop = shown("out.gif")
    assert pixels.shape == (FRAMES, HEIGHT, WIDTH, 4)
    assert times == [40] * FRAMES
    assert loop == 0
    assert (pixels[..., 3] == 255).all()
    assert len(np.unique(pixels.reshape(-1, 4), axis=0)) <= 15
    assert (report["frames"], report["written"], report["plays"]) == (FRAMES, FRAMES, pytest.approx(0.32))
    assert report["bytes"] == os.path.getsize("out.gif")
    errors = [METRICS["oklab_mse_blur"].function(a, b) for a, b in zip(street(), pixels[..., :3], strict=True)]
    assert report["oklab_mse_blur"] == pytest.approx(np.mean(errors))
    assert np.mean(errors) < 2e-3
    still = (street()[1:] == street()[:-1]).all(axis=-1)
    change = np.square(np.diff([oklab(frame) for frame in pixels[..., :3]], axis=0)).sum(axis=1)
    assert report["flicker"] == pytest.approx((change * still).sum() / still.sum(), rel=1e-5)
    assert os.listdir() == ["out.gif"]

    again = succeeded(animated(clip, "-o", "again.GIF", *OPTIONS))
    with open("out.gif", "rb") as one, open("again.GIF", "rb") as other:
        assert one.read() == other.read()
    for figure in ("again.GIF", f"{report['bytes']:,}", f"{FRAMES} in 0.32 s, {FRAMES} written", "flicker"):
        assert figure in again.stdout


def test_few_colours_come_back_as_they_are(animated):
    succeeded(animated(str(animated.clips / "few.gif"), "-o", "out.gif", "-n", "6"))
    pixels, times, loop = shown("out.gif")
    expected = shown(animated.clips / "few.gif")
    np.testing.assert_array_equal(pixels, expected[0])
    assert (times, loop) == expected[1:] == ([30, 70, 110, 1000], 3)


def test_transparency_is_kept(animated):
    succeeded(animated(str(animated.clips / "clear.gif"), "-o", "out.gif", "-n", "6"))
    pixels, times, loop = shown("out.gif")
    expected = shown(animated.clips / "clear.gif")
    hidden = np.zeros((HEIGHT, WIDTH), bool)
    hidden[4:9, 5:20] = True
    np.testing.assert_array_equal(pixels[..., 3] == 0, np.broadcast_to(hidden, (4, HEIGHT, WIDTH)))
    np.testing.assert_array_equal(pixels[:, ~hidden], expected[0][:, ~hidden])
    assert (times, loop) == ([40] * 4, None)


def test_a_folder_is_a_clip_and_options_set_rate_and_loop(animated):
    done = succeeded(
        animated(str(animated.clips / "frames"), "-o", "out.gif", *OPTIONS, "--fps", "5", "--loop", "7", "--json")
    )
    pixels, times, loop = shown("out.gif")
    assert (sum(times), loop) == (200 * FRAMES, 7)
    assert len(pixels) == json.loads(done.stdout)["written"]


def test_playing_once_is_no_loop(animated):
    succeeded(animated(str(animated.clips / "few.gif"), "-o", "out.gif", "-n", "6", "--loop", "-1"))
    assert shown("out.gif")[2] is None


def test_scenes_may_have_palettes_of_their_own(animated):
    red, blue = ((street() // 4 + np.array(color, np.uint8)).astype(np.uint8) for color in ((180, 0, 0), (0, 0, 180)))
    movie("cut.mkv", np.concatenate([red, blue]), "10")
    succeeded(animated("cut.mkv", "-o", "out.gif", *OPTIONS, "--palettes", "scene"))
    pixels, _, _ = shown("out.gif")
    first, second = (set(map(tuple, half.reshape(-1, 4).tolist())) for half in (pixels[:FRAMES], pixels[FRAMES:]))
    assert len(first) <= 15
    assert len(second) <= 15
    assert not first & second


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {}),
        (("-n", "9", "--preset", "best", "--palettes", "scene"), {"colors": 9, "preset": "best", "palettes": "scene"}),
        (("--price", "5e-5", "--seed", "7"), {"steady": Steady(price=5e-5), "seed": 7}),
        (("--loop", "0"), {"loop": 0}),
        (("--loop", "-1"), {"loop": None}),
    ],
    ids=str,
)
def test_options_are_settings(animated, monkeypatch, options, settings):
    seen = []

    def fail(clip, settings, file, *, stop):
        seen.append(settings)
        raise OSError("enough seen")

    monkeypatch.setattr(diffquant.animation.animate, "animate", fail)
    done = animated(str(animated.clips / "street.mkv"), "-o", "out.gif", *options)
    assert (done.returncode, done.stderr) == (2, "diffquant: out.gif: cannot write: enough seen\n")
    assert seen == [Animation(**settings)]


# What it answers to mistakes

STREET = ("street.mkv", "-o", "out.gif")
MISTAKES = {  # arguments, and what the line must name
    "no input": (("-o", "out.gif"), "found no input"),
    "no output": (("street.mkv",), "--output"),
    "wrong ending": (("street.mkv", "-o", "out.png"), "--output: found out.png, expected a name ending in .gif"),
    "no folder for the output": (("street.mkv", "-o", "none/out.gif"), "--output: found no folder none"),
    "output is the input": (("few.gif", "-o", "./few.gif"), "--output: found the input few.gif itself"),
    "output is among the inputs": (("again", "-o", "again/out.gif"), "--output: found the input again/out.gif itself"),
    "no colours": ((*STREET, "-n", "0"), "--colors: found 0, expected 2 to 256"),
    "too many colours": ((*STREET, "-n", "300"), "--colors: found 300"),
    "no frames in a second": ((*STREET, "--fps", "0"), "--fps: found 0"),
    "too many frames in a second": ((*STREET, "--fps", "200"), "--fps: found 200"),
    "no width": ((*STREET, "--width", "0"), "--width: found 0"),
    "negative price": ((*STREET, "--price", "-1"), "--price: found -1"),
    "price that is no number": ((*STREET, "--price", "nan"), "--price: found nan"),
    "endless loops": ((*STREET, "--loop", "65536"), "--loop: found 65536"),
    "unknown preset": ((*STREET, "--preset", "good"), "good"),
    "unknown palettes": ((*STREET, "--palettes", "frame"), "frame"),
    "bad background": ((*STREET, "--background", "blak"), "--background: colour 'blak'"),
    "seed below zero": ((*STREET, "--seed", "-1"), "--seed: found -1"),
    "missing file": (("none.mp4", "-o", "out.gif"), "none.mp4: "),
    "empty folder": (("empty", "-o", "out.gif"), "diffquant: empty: found an empty folder"),
    "text": (("text.mp4", "-o", "out.gif"), "text.mp4: found nothing that can be decoded"),
    "truncated": (("cut.gif", "-o", "out.gif"), "cut.gif: cannot be decoded"),
    "one frame": (("still.png", "-o", "out.gif"), "still.png: found one frame"),
    "other size": (("sizes", "-o", "out.gif"), "2.png: found 40x20 pixels; expected 40x28"),
}


def listing(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(animated, monkeypatch, arguments, text):
    monkeypatch.chdir(animated.clips)
    before = listing(animated.clips)
    done = animated(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("diffquant: ")
    assert text in line
    assert listing(animated.clips) == before


def test_mistakes_are_answered_without_waiting_for_jax_or_numba(made):
    mistakes = [("animate", *arguments) for arguments, _ in MISTAKES.values()]
    code = (
        "import sys; from diffquant.cli import command\n"
        f"for arguments in {mistakes}: assert command(arguments) == 2\n"
        "sys.exit(any(name in sys.modules for name in ('jax', 'numba')))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=made, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(MISTAKES)


def test_the_command_is_among_those_that_help_lists(capsys):
    for arguments in (["--help"], ["animate", "--help"]):
        with pytest.raises(SystemExit) as stop:
            command(arguments)
        assert stop.value.code == 0
        assert "animate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [({"colors": 1}, "colors: found 1"), ({"colors": 257}, "colors: found 257"), ({"loop": 65536}, "loop: found")],
    ids=str,
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Animation(**options)


# How it is interrupted


@pytest.mark.parametrize(("name", "after", "frames"), [("frames", 3, 3), ("survey", FRAMES, 1)])
def test_an_interrupted_run_writes_the_frames_so_far(animated, monkeypatch, name, after, frames):
    def interrupted(*arguments, **options):
        count = 0
        for step in animate(*arguments, **options):
            count += step.name == name
            if step.name == name and count == after:
                signal.raise_signal(signal.SIGINT)
            yield step

    monkeypatch.setattr(diffquant.animation.animate, "animate", interrupted)
    done = animated(str(animated.clips / "street.mkv"), "-o", "out.gif", *OPTIONS, "--json")
    assert done.returncode == 130
    assert f"diffquant: interrupted; out.gif holds the first {frames} frame" in done.stderr
    pixels, times, _ = shown("out.gif")
    assert len(pixels) == len(times) == frames
    assert json.loads(done.stdout)["frames"] == frames
    assert os.listdir() == ["out.gif"]


def test_a_failure_half_way_leaves_what_was_there(animated, monkeypatch):
    with open("out.gif", "wb") as file:
        file.write(b"before")
    read = Clip.frames
    calls = []

    def failing(self):
        calls.append(self)
        for number, frame in enumerate(read(self)):
            if len(calls) == 3 and number == 2:  # a look, the survey, and then the frames
                raise OSError(5, "Input/output error", "street.mkv")
            yield frame

    monkeypatch.setattr(Clip, "frames", failing)
    done = animated(str(animated.clips / "street.mkv"), "-o", "out.gif", *OPTIONS)
    assert done.returncode == 2
    assert done.stderr == "diffquant: street.mkv: Input/output error\n"
    with open("out.gif", "rb") as file:
        assert file.read() == b"before"
    assert os.listdir() == ["out.gif"]
