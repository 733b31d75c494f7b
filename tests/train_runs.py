"""Runs of `scripts/train.py` in this process: a folder to stand in, whole runs and such as are cut off.

A test module takes the fixtures that it needs by name: `script = train_runs.script`.
"""

import json
from pathlib import Path

import pytest
from PIL import Image
from test_resume import CONFIG, PIXELS

ROOT = Path(__file__).parent.parent
TRAIN = ROOT / "scripts" / "train.py"
RUN = ("config.py", "tiny.png", "--checkpoint-every", "1")


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TRAIN.parent))
        import train

        patch.setattr(train, "use_compilation_cache", lambda: None)  # leave this process's settings as they are
        yield train


def supply(folder, script):
    """A config and a picture."""
    Image.fromarray(PIXELS).save(folder / "tiny.png")
    (folder / "config.py").write_text(script.source_of(CONFIG))


@pytest.fixture
def folder(tmp_path, monkeypatch, script):
    """Where a user stands."""
    supply(tmp_path, script)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Killed(BaseException):
    """The process has ended."""


@pytest.fixture(scope="module")
def unbroken(script, tmp_path_factory):
    """What a run leaves that nobody has cut off."""
    folder = tmp_path_factory.mktemp("unbroken")
    supply(folder, script)
    config, picture, *options = RUN
    assert script.main([str(folder / config), str(folder / picture), *options, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def killed(script, tmp_path_factory):
    """What a run leaves that was killed at step 12, saved at 4 and 8."""
    folder = tmp_path_factory.mktemp("killed")
    supply(folder, script)
    config, picture, *options = RUN
    with pytest.MonkeyPatch.context() as patch:
        at(patch, script, 12, kill)
        with pytest.raises(Killed):
            script.main([str(folder / config), str(folder / picture), *options, "--out", str(folder / "run")])
    return folder / "run"


def at(monkeypatch, script, step, action):
    """Have `action` done when the snapshot of `step` has been logged."""
    write = script.Log.write

    def acting(log, stage):
        write(log, stage)
        if stage.snapshot.step == step:
            action()

    monkeypatch.setattr(script.Log, "write", acting)


def kill():
    raise Killed


def figures(folder):
    """The lines of metrics.jsonl, but for the seconds, which must not fall."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    seconds = [line.pop("seconds") for line in lines]
    assert seconds == sorted(seconds)
    return lines
