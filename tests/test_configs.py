import dataclasses
import io
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import train_runs
from PIL import Image

from diffquant.config import Config
from diffquant.export.dither import Polish
from diffquant.image import read
from diffquant.pipelines.jpeg import Jpeg
from diffquant.presets import palette_config
from diffquant.runner import compress

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
TRAIN = ROOT / "scripts" / "train.py"
SHORT = ["--steps", "2", "--every", "1"]

script = train_runs.script


@pytest.fixture(scope="module")
def pixels():
    """13 x 29 pixels of many colours."""
    return np.random.default_rng(0).integers(0, 256, (13, 29, 3), np.uint8)


@pytest.fixture
def folder(tmp_path, pixels):
    """Where a user stands, with a picture and some files that are not configs."""
    Image.fromarray(pixels).save(tmp_path / "tiny.png")
    (tmp_path / "nameless.py").write_text("configuration = 1\n")
    (tmp_path / "failing.py").write_text("raise RuntimeError('two\\nlines')\n")
    return tmp_path


def names_of(path):
    return runpy.run_path(str(path))


def shortened(config):
    """Two steps and two sweeps or rounds: all that is done, but quickly."""
    if isinstance(config.pipeline, Jpeg):
        search = config.pipeline.search
        choice = {"search": dataclasses.replace(search, rounds=min(search.rounds, 2))}
    elif isinstance(config.pipeline.dither, Polish):
        polish = config.pipeline.dither
        choice = {"dither": dataclasses.replace(polish, sweeps=min(polish.sweeps, 2), rounds=min(polish.rounds, 6))}
    else:
        choice = {}
    pipeline = dataclasses.replace(config.pipeline, **choice)
    return dataclasses.replace(config, pipeline=pipeline, steps=min(config.steps, 2), every=1)


def train(folder, *arguments):
    """The script as a user calls it, standing in `folder`."""
    cache = {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "cache")}
    environment = os.environ | cache | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(TRAIN), *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_one_line(out, err, named):
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert named in err


def test_there_are_configs():
    assert len(CONFIGS) >= 15


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_says_what_one_sees_and_at_what_cost(path):
    names = names_of(path)
    assert isinstance(names["config"], Config)
    text = " ".join(names["__doc__"].split())
    assert re.search(r"\bSee\b.{20,}", text)
    assert re.search(r"Cost: \d+ s for 768x512 on 2 CPU cores", text)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_runs_and_gives_a_valid_file(path, pixels):
    result = compress(read(pixels), shortened(names_of(path)["config"]))
    with Image.open(io.BytesIO(result.data)) as image:
        image.load()
        assert image.size == (29, 13)
    assert result.image.shape == pixels.shape
    assert np.isfinite([result.report.metrics["psnr"], result.report.metrics["ssim"]]).all()


def test_photo16_is_the_preset_best():
    assert names_of(ROOT / "configs" / "photo16.py")["config"] == palette_config("best")


def test_the_purple_is_the_mean_of_the_light_of_red_and_blue():
    from diffquant.color import linear_from_srgb8, srgb8_from_linear

    names = names_of(ROOT / "configs" / "article_purple.py")
    light = linear_from_srgb8(np.array([names["RED"], names["BLUE"]], np.uint8))
    assert tuple(srgb8_from_linear(light.mean(axis=0))) == names["PURPLE"]


def test_the_shipped_pictures_are_whole_and_small():
    folder = ROOT / "tests" / "images"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000
    assert read(folder / "parrots.png").srgb8.shape == (512, 768, 3)


def test_train_writes_the_result_the_figures_and_a_config_that_repeats_it(folder):
    overrides = ["--losses.image.space", "oklab", "--losses.variance.coefficient", "None"]
    overrides += ["--losses.variance.weight", "3", "--pipeline.colors", "5", "--pipeline.assignment.rate", "0.5"]
    overrides += ["--temperature", "exponential", "2", "0.5"]
    first = train(folder, ROOT / "configs" / "article_8.py", "tiny.png", *SHORT, *overrides)
    assert (first.returncode, first.stderr) == (0, "")
    out = folder / "runs" / "article_8-tiny"
    assert contents(out) == ["config.py", "metrics.json", "metrics.jsonl", "result.png", "run.json"]
    assert "colours" in first.stdout
    figures = json.loads((out / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert figures["bytes"] == (out / "result.png").stat().st_size
    with Image.open(out / "result.png") as image:
        assert image.size == (29, 13)
        assert len(image.convert("RGB").getcolors()) == figures["colors"] <= 5
    config = names_of(out / "config.py")["config"]
    assert config.losses["image"].space == "oklab"
    assert (config.losses["variance"].coefficient, config.losses["variance"].weight) == (None, 3)
    assert (config.pipeline.colors, config.pipeline.assignment.rate) == (5, 0.5)
    assert (config.temperature.start, config.temperature.end) == (2, 0.5)
    again = train(folder, out / "config.py", "tiny.png", "--out", "elsewhere/again")
    assert again.returncode == 0
    assert (folder / "elsewhere/again/result.png").read_bytes() == (out / "result.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "usage"),
        (["absent.py", "tiny.png"], "absent.py: found no such file"),
        (["tiny.png", "tiny.png"], "tiny.png: found SyntaxError"),
        (["failing.py", "tiny.png"], "failing.py: found RuntimeError (two lines)"),
        (["nameless.py", "tiny.png"], "nameless.py: found no name `config`"),
        ([ROOT / "configs/photo16.py", "absent.png"], "absent.png: no such file"),
        ([ROOT / "configs/photo16.py", "tiny.png", "--steps", "-1"], "found -1"),
        ([ROOT / "configs/photo16.py", "tiny.png", "--losses.ear.weight", "1"], "--losses.ear.weight"),
        ([ROOT / "configs/photo16.py", "tiny.png", "--out", "tiny.png/x"], "tiny.png"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_train_answers_mistakes_with_one_line_and_leaves_nothing(script, folder, monkeypatch, capsys, arguments, named):
    monkeypatch.chdir(folder)
    before = contents(folder)
    assert script.main([*map(str, arguments)]) == 2
    assert_one_line(*capsys.readouterr(), named)
    assert contents(folder) == before


def test_a_mistake_is_the_status_of_the_process(folder):
    before = contents(folder)
    answer = train(folder, "absent.py", "tiny.png")
    assert answer.returncode == 2
    assert_one_line(answer.stdout, answer.stderr, "absent.py: found no such file")
    assert contents(folder) == before
