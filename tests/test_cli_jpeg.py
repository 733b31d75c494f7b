"""`diffquant jpeg`, and `compress_jpeg`: what they write, and what they answer to mistakes.

In this process, so that each size compiles once; oracles are Pillow for the files and NumPy for PSNR.
"""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import photo
from test_image import rgb_profile

import diffquant.console
import diffquant.runner
from diffquant.api import compress_jpeg
from diffquant.arguments import METRIC_NAMES
from diffquant.cli import command
from diffquant.image import read
from diffquant.jpeg.encoder import coefficients_from_pixels
from diffquant.jpeg.file import JpegImage
from diffquant.jpeg.geometry import Geometry
from diffquant.jpeg.profile import profile
from diffquant.metrics import METRICS
from diffquant.pipelines.goals import Bytes, Score, UnreachableError
from diffquant.presets import jpeg_config
from diffquant.report import JPEG
from diffquant.runner import finish
from diffquant.training import fit

HEIGHT, WIDTH = 24, 40
PARROTS = Path(__file__).parent / "images" / "parrots.png"
FAST = ("--preset", "fast")
SAMPLING = {"444": (1, 1), "420": (2, 2)}  # factors across and down that a file gives luma
SWAPPED = rgb_profile("grb")  # shows red as green


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures, and things that are none."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo(HEIGHT, WIDTH)).save("photo.png")
    Image.fromarray(photo(HEIGHT, WIDTH)).convert("L").save("grey.png")
    Image.fromarray(np.zeros((1, 65_501, 3), np.uint8)).save("long.png")
    with Image.open(PARROTS) as parrots:
        parrots.crop((100, 100, 260, 220)).save("parrots.png")
    (tmp_path / "text.txt").write_text("no picture\n")
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.fixture
def jpeg_command(folder, monkeypatch, capsys):
    monkeypatch.setattr(diffquant.console, "use_compilation_cache", lambda: None)

    def run(*arguments):
        status = command(("jpeg", *arguments))
        output = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=output.out, stderr=output.err)

    return run


def succeeded(done):
    assert done.returncode == 0, done.stderr
    return done


def pixels(path, mode="RGB"):
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("JPEG", mode)
        return np.asarray(image)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


# What it writes


def test_a_picture_becomes_a_jpeg_and_its_report_agrees_with_the_file(jpeg_command, folder):
    done = succeeded(jpeg_command("photo.png", "-o", "out.jpg", *FAST, "--seed", "3", "--json"))
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert list(report) == ["input", "output", "bytes", "bits_per_pixel", *JPEG, "seconds"]
    assert {"psnr", "ssimulacra2"} <= set(JPEG)
    shown = pixels("out.jpg")
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert report["bytes"] == os.path.getsize("out.jpg")
    assert report["psnr"] == pytest.approx(psnr(photo(HEIGHT, WIDTH), shown))

    again = succeeded(jpeg_command("photo.png", "-o", "again.JPEG", *FAST, "--seed", "3"))
    data = (folder / "again.JPEG").read_bytes()
    assert data == (folder / "out.jpg").read_bytes()
    for figure in ("again.JPEG", f"{len(data):,}", f"{report['psnr']:.2f} dB", "SSIMULACRA2"):
        assert figure in again.stdout
    assert "colours" not in again.stdout

    result = compress_jpeg("photo.png", preset="fast", seed=3)
    assert result.data == data
    np.testing.assert_array_equal(result.image, shown)


@pytest.mark.parametrize("subsampling", SAMPLING)
def test_colour_is_sampled_as_asked(jpeg_command, subsampling):
    succeeded(jpeg_command("photo.png", "-o", "out.jpg", *FAST, "--subsampling", subsampling))
    with Image.open("out.jpg") as image:
        assert image.layer[0][1:3] == SAMPLING[subsampling]


def test_a_higher_quality_is_a_larger_and_better_file(jpeg_command):
    reports = [
        json.loads(succeeded(jpeg_command("photo.png", "-o", "out.jpg", *FAST, "-q", q, "--json")).stdout)
        for q in ("40", "75")
    ]
    assert reports[0]["bytes"] < reports[1]["bytes"]
    assert reports[0]["psnr"] < reports[1]["psnr"]


def test_grey_stays_grey(jpeg_command):
    succeeded(jpeg_command("grey.png", "-o", "out.jpg", *FAST))
    assert psnr(pixels("out.jpg", "L"), np.asarray(Image.open("grey.png"))) > 30


def test_a_size_is_met_from_below_to_one_percent(jpeg_command):
    succeeded(jpeg_command("parrots.png", "-o", "out.jpg", *FAST, "--subsampling", "420", "--bytes", "3000"))
    assert 2970 <= os.path.getsize("out.jpg") <= 3000
    assert pixels("out.jpg").shape == (120, 160, 3)


def test_a_score_is_met(jpeg_command):
    options = ("--subsampling", "420", "--target", "psnr = 34")
    succeeded(jpeg_command("parrots.png", "-o", "out.jpg", *FAST, *options))
    assert psnr(np.asarray(Image.open("parrots.png").convert("RGB")), pixels("out.jpg")) == pytest.approx(34, abs=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--bytes", "90"), "--bytes: "), (("--target", "psnr=99"), "--target: "), (("--target", "ms_ssim=0.9"), "small")],
)
def test_a_goal_out_of_reach_is_named_and_other_pictures_are_tried(jpeg_command, options, message):
    done = jpeg_command("photo.png", "text.txt", "-o", "sub", *FAST, *options)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("diffquant: photo.png: --")
    assert message in first
    assert second.startswith("diffquant: text.txt: ")
    assert os.listdir("sub") == []


def test_a_metric_that_is_a_target_is_reported(jpeg_command, monkeypatch):
    seen = configs(jpeg_command, monkeypatch, "--target", "scielab=1")
    assert seen["config"].pipeline.figures == (*JPEG, "scielab")


def test_a_bad_picture_does_not_stop_the_others(jpeg_command):
    done = jpeg_command("text.txt", "photo.png", "-o", "new/", *FAST, "--json")
    assert done.returncode == 2
    assert done.stderr.startswith("diffquant: text.txt: ")
    assert [report["output"] for report in json.loads(done.stdout)] == ["new/photo.jpg"]


def test_16_bits_and_transparency_are_read(jpeg_command):
    deep = photo(HEIGHT, WIDTH)[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save("deep.png")
    succeeded(jpeg_command("deep.png", "-o", "out.jpg", *FAST))
    assert psnr(pixels("out.jpg", "L"), deep / 257) > 30
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, 16:] = 0
    Image.fromarray(np.dstack([photo(HEIGHT, WIDTH), alpha])).save("clear.png")
    done = succeeded(jpeg_command("clear.png", "-o", "out.jpg", *FAST, "--background", "navy"))
    assert done.stderr == "diffquant: clear.png: alpha composited on #000080\n"
    assert np.abs(pixels("out.jpg")[:, 32:] - np.array([0.0, 0, 128])).max() < 8


# What it passes on


def configs(jpeg_command, monkeypatch, *options):
    """The config that options ask for."""
    seen = {}

    def fail(picture, config, *, started):
        seen.update(config=config)
        raise OSError("enough seen")

    with monkeypatch.context() as patch:
        patch.setattr("diffquant.commands.jpeg.run", fail)
        assert jpeg_command("photo.png", "-o", "out.jpg", *options).stderr == "diffquant: enough seen\n"
    return seen


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {}),
        (("--quality", "50.5"), {"quality": 50.5}),
        (("--bytes", "999", "--seed", "7"), {"goal": Bytes(most=999), "seed": 7}),
        (("--target", "ssimulacra2=70"), {"goal": Score(metric="ssimulacra2", value=70.0)}),
        *((("--loss", taste), {"taste": taste}) for taste in ("perceptual", "ssimulacra2", "butteraugli", "psnr")),
        (("--preset", "best", "--loss", "blur"), {"preset": "best", "taste": "blur"}),
        (("--subsampling", "444"), {"subsampling": "444"}),
    ],
    ids=str,
)
def test_options_are_settings_of_the_preset(jpeg_command, monkeypatch, options, settings):
    assert configs(jpeg_command, monkeypatch, *options)["config"] == jpeg_config(**settings)


def test_targets_are_the_metrics_that_there_are():
    assert tuple(METRICS) == METRIC_NAMES


# What it keeps


def test_exif_data_and_profile_are_kept_if_asked_for(jpeg_command, folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[271] = "A maker of cameras"
    stored = Image.fromarray(np.rot90(photo(HEIGHT, WIDTH)).copy())
    stored.save("stored.png", exif=exif, icc_profile=SWAPPED)

    done = succeeded(jpeg_command("stored.png", "-o", "out.jpg", *FAST, "--keep", "exif", "icc", "--json"))
    codes = pixels("out.jpg")
    assert psnr(codes, photo(HEIGHT, WIDTH)) == pytest.approx(json.loads(done.stdout)["psnr"])
    assert psnr(codes, photo(HEIGHT, WIDTH)) > 30  # codes are the source's
    with Image.open("out.jpg") as image:
        assert image.info["icc_profile"] == SWAPPED
        assert dict(image.getexif()) == {0x0112: 1, 271: "A maker of cameras"}
    assert np.abs(read("out.jpg").srgb8.astype(int) - codes[..., [1, 0, 2]]).max() <= 1

    done = succeeded(jpeg_command("stored.png", "-o", "out.jpg", *FAST))
    assert "embedded profile 'By hand' converted to sRGB" in done.stderr
    assert psnr(pixels("out.jpg"), photo(HEIGHT, WIDTH)[..., [1, 0, 2]]) > 30
    with Image.open("out.jpg") as image:
        assert "icc_profile" not in image.info
        assert not image.getexif()


def test_nothing_is_embedded_that_the_picture_does_not_have(jpeg_command):
    succeeded(jpeg_command("photo.png", "-o", "out.jpg", *FAST, "--keep", "icc", "exif"))
    with Image.open("out.jpg") as image:
        assert image.info.keys() & {"icc_profile", "exif"} == set()


def test_a_file_whose_colours_need_its_profile_is_measured_through_it():
    matrix = np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
    geometry = Geometry(HEIGHT, WIDTH, "444")
    coefficients = coefficients_from_pixels(photo(HEIGHT, WIDTH), geometry, matrix)
    levels = tuple(np.rint(plane).astype(np.int16) for plane in coefficients)
    tables = (np.ones((8, 8), np.uint16),) * 3
    artifact = JpegImage(levels, tables, geometry, profile(np.linalg.inv(matrix)), adobe=0)
    result = finish(read(photo(HEIGHT, WIDTH)), artifact, started=0.0, names=("psnr",))
    assert result.report.metrics["psnr"] > 45
    assert result.report.colors is None
    assert psnr(result.image, photo(HEIGHT, WIDTH)) > 45


# What it answers to mistakes

JPG = ("photo.png", "-o", "out.jpg")
MISTAKES = {  # arguments, and what the line must name
    "no input": (("-o", "out.jpg"), "found no input"),
    "no output": (("photo.png"), "--output"),
    "wrong ending": (("photo.png", "-o", "out.png"), "out.png, expected a name ending in .jpg or .jpeg"),
    "two goals": ((*JPG, "--bytes", "900", "--target", "psnr=30"), "--target: found it beside --bytes"),
    "quality beside bytes": ((*JPG, "-q", "75", "--bytes", "900"), "--bytes: found it beside --quality"),
    "quality of nothing": ((*JPG, "-q", "0"), "--quality: found 0, expected 1 to 100"),
    "quality too high": ((*JPG, "-q", "100.5"), "--quality: found 100.5"),
    "quality that is no number": ((*JPG, "-q", "nan"), "--quality: found nan"),
    "quality in letters": ((*JPG, "-q", "high"), "high"),
    "no bytes": ((*JPG, "--bytes", "0"), "--bytes: found 0, expected at least 1"),
    "part of a byte": ((*JPG, "--bytes", "2.5"), "2.5"),
    "no value": ((*JPG, "--target", "psnr"), "--target: found 'psnr', expected METRIC=VALUE"),
    "unknown metric": ((*JPG, "--target", "vmaf=90"), "--target: found the metric 'vmaf', expected one of psnr, ssim"),
    "value in letters": ((*JPG, "--target", "psnr=high"), "--target: found 'high', expected a number"),
    "value without end": ((*JPG, "--target", "psnr=inf"), "--target: found 'inf'"),
    "unknown subsampling": ((*JPG, "--subsampling", "411"), "411"),
    "unknown loss": ((*JPG, "--loss", "vmaf"), "vmaf"),
    "unknown preset": ((*JPG, "--preset", "good"), "good"),
    "unknown metadata": ((*JPG, "--keep", "xmp"), "xmp"),
    "bad background": ((*JPG, "--background", "blak"), "--background: colour 'blak'"),
    "seed below zero": ((*JPG, "--seed", "-1"), "--seed: found -1"),
    "no folder for the output": (("photo.png", "-o", "none/out.jpg"), "none"),
    "two of one name": (("photo.png", "sub/photo.png", "-o", "new"), "new/photo.jpg"),
    "missing file": (("none.png", "-o", "out.jpg"), "none.png: no such file"),
    "too long a side": (("long.png", "-o", "out.jpg"), "long.png: 65501 x 1 pixels; expected at most 65500"),
}


@pytest.mark.parametrize(("arguments", "text"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_no_file(jpeg_command, folder, arguments, text):
    before = sorted(folder.rglob("*"))
    done = jpeg_command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("diffquant: ")
    assert text in line
    assert sorted(folder.rglob("*")) == before


def test_mistakes_are_answered_without_waiting_for_jax_or_numba(folder):
    mistakes = [("jpeg", *arguments) for arguments, _ in MISTAKES.values()]
    code = (
        "import sys; from diffquant.cli import command\n"
        f"for arguments in {mistakes}: assert command(arguments) == 2\n"
        "sys.exit(any(name in sys.modules for name in ('jax', 'numba')))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == len(MISTAKES)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"quality": 0}, ValueError, "quality: found 0"),
        ({"bytes": 0}, ValueError, "bytes: found 0, expected at least 1"),
        ({"bytes": 900, "target": ("psnr", 30.0)}, ValueError, "bytes, target: found both"),
        ({"target": ("vmaf", 90.0)}, ValueError, "target: found the metric 'vmaf', expected one of psnr"),
        ({"target": ("ms_ssim", 0.9)}, UnreachableError, "too small for ms_ssim"),
        ({"background": "blak"}, ValueError, "colour 'blak'"),
    ],
)
def test_compress_jpeg_names_the_argument_that_is_wrong(arguments, kind, message):
    with pytest.raises(kind, match=message):
        compress_jpeg(photo(HEIGHT, WIDTH), preset="fast", **arguments)


# How it is interrupted


def test_an_interrupted_run_writes_the_best_so_far(jpeg_command, monkeypatch):
    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        yield from fit(*arguments, **options)

    monkeypatch.setattr(diffquant.runner, "fit", interrupted)
    done = jpeg_command("photo.png", "-o", "out.jpg", "--preset", "best", "--loss", "blur")
    assert done.returncode == 130
    assert done.stderr == "diffquant: interrupted; out.jpg is the best so far\n"
    assert str(os.path.getsize("out.jpg")) in done.stdout
    assert pixels("out.jpg").shape == (HEIGHT, WIDTH, 3)
