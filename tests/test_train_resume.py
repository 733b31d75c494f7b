"""`scripts/train.py`: a run that is cut off at any moment ends as if it had not been. Oracle: the unbroken run."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import train_runs
from PIL import Image
from test_resume import CONFIG, ENDS, PIXELS
from train_runs import ROOT, RUN, TRAIN, Killed, at, figures, kill

from diffquant.checkpoints import Fingerprint
from diffquant.export.dither import Sample
from diffquant.image import read
from diffquant.pipelines.palette import Palette
from diffquant.runner import stages

folder, killed, script, unbroken = train_runs.folder, train_runs.killed, train_runs.script, train_runs.unbroken


# The script, in this process: what it would be told by signals, it tells itself


def assert_same_run(folder, unbroken):
    assert (folder / "result.png").read_bytes() == (unbroken / "result.png").read_bytes()
    assert (folder / "config.py").read_bytes() == (unbroken / "config.py").read_bytes()
    assert figures(folder) == figures(unbroken)
    assert contents(folder) == contents(unbroken)
    assert json.loads((folder / "run.json").read_text())["finished"]


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_finished_run_says_so_and_has_no_checkpoints_left(script, unbroken, capsys):
    assert contents(unbroken) == ["config.py", "metrics.json", "metrics.jsonl", "result.png", "run.json"]
    assert [line["step"] for line in figures(unbroken)] == ENDS
    assert script.main(["--resume", str(unbroken)]) == 0
    assert capsys.readouterr() == (f"{unbroken}: finished\n", "")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda path: path.stem)
def test_the_config_that_a_run_writes_down_is_recognised_as_its_own(script, tmp_path, path):
    config = script.load(path)
    (tmp_path / "config.py").write_text(script.source_of(config))
    assert Fingerprint.of(script.load(tmp_path / "config.py"), PIXELS) == Fingerprint.of(config, PIXELS)


@pytest.mark.parametrize("every", ["1", "8"])
def test_a_run_that_is_killed_after_each_snapshot_in_turn_ends_as_an_unbroken_one(
    script, folder, unbroken, monkeypatch, every
):
    arguments = ["config.py", "tiny.png", "--checkpoint-every", every]
    for step in ENDS:
        with monkeypatch.context() as patch:
            at(patch, script, step, kill)
            with pytest.raises(Killed):
                script.main(arguments)
        with Path("runs/config-tiny/metrics.jsonl").open("a") as file:
            file.write('{"step": 99')  # a line that was cut off
        arguments = ["--resume", "runs/config-tiny"]
    assert script.main(arguments) == 0
    assert_same_run(Path("runs/config-tiny"), unbroken)


def test_a_run_that_is_killed_before_its_first_step_or_while_hardening_can_be_resumed(
    script, folder, unbroken, monkeypatch
):
    for module, name in ((Palette, "build"), (Sample, "__call__")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda *_, **__: kill())
            with pytest.raises(Killed):
                script.main([*RUN, "--out", name])
        assert Path(name, "checkpoints").exists() == (name == "__call__")
        assert script.main(["--resume", name]) == 0
        assert_same_run(Path(name), unbroken)


def test_sigterm_saves_at_once_and_ends_with_143_after_one_line(script, folder, unbroken, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at(patch, script, 8, lambda: signal.raise_signal(signal.SIGTERM))
        assert script.main(["config.py", "tiny.png", "--out", "run"]) == 143  # none would be due for half a minute
    assert capsys.readouterr() == ("", "train.py: terminated; saved at step 8; train.py --resume run continues\n")
    assert os.listdir("run/checkpoints") == ["8"]
    assert script.main(["--resume", "run"]) == 0
    assert_same_run(Path("run"), unbroken)


def test_sigterm_while_hardening_saves_the_last_state(script, folder, unbroken, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(Sample, "__call__", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
        assert script.main(["config.py", "tiny.png", "--out", "run"]) == 143
    assert capsys.readouterr().err.count("saved at step 14;") == 1
    with monkeypatch.context() as patch:
        at(patch, script, 14, kill)  # not again
        assert script.main(["--resume", "run"]) == 0
    assert_same_run(Path("run"), unbroken)


def test_ctrl_c_writes_the_best_so_far_and_leaves_a_checkpoint(script, folder, unbroken, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        at(patch, script, 8, lambda: signal.raise_signal(signal.SIGINT))
        assert script.main(["config.py", "tiny.png", "--out", "run"]) == 130
    assert capsys.readouterr().err == "train.py: interrupted; run/result.png is the best so far\n"
    with Image.open("run/result.png") as image:
        assert image.size == (20, 12)
    assert os.listdir("run/checkpoints") == ["8"]
    assert script.main(["--resume", "run"]) == 0
    assert_same_run(Path("run"), unbroken)


def test_a_damaged_checkpoint_is_passed_over_with_a_notice(script, folder, unbroken, killed, capsys):
    shutil.copytree(killed, "run")
    (data, *_) = sorted(Path("run/checkpoints/8").rglob("*"), key=lambda path: -path.stat().st_size * path.is_file())
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    capsys.readouterr()
    assert script.main(["--resume", "run"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train.py: run/checkpoints/8: found a damaged checkpoint")
    assert line.endswith("continuing from the one before")
    assert_same_run(Path("run"), unbroken)


def test_pictures_are_drafts_and_do_not_disturb_the_run(script, folder, unbroken):
    assert script.main([*RUN, "--out", "run", "--pictures-every", "6"]) == 0
    assert sorted(os.listdir("run/pictures")) == ["000008.png", "000012.png"]
    drafts = {s.snapshot.step: s.draft().decode() for s in stages(read(PIXELS), CONFIG) if s.snapshot}
    for step in (8, 12):
        with Image.open(f"run/pictures/{step:06}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), drafts[step])
    shutil.rmtree("run/pictures")
    assert_same_run(Path("run"), unbroken)


def test_a_new_run_replaces_what_an_earlier_one_has_left(script, folder, unbroken, killed):
    shutil.copytree(killed, "run")
    Path("run/pictures").mkdir()
    Path("run/result.jpg").touch()
    Path("run/mine.txt").write_text("kept")
    assert script.main([*RUN, "--out", "run"]) == 0
    Path("run/mine.txt").unlink()
    assert_same_run(Path("run"), unbroken)


def test_by_default_checkpoints_take_a_small_part_of_the_time(script, monkeypatch):
    import train_run

    now, saved, state = [0.0], [], types.SimpleNamespace(arrays={"logits": np.zeros(1 << 20)}, over=False)

    def save(state):
        saved.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    saver = train_run.Saver(types.SimpleNamespace(save=save), None, 0, train_run.Termination(), train_run.Lone())
    for step in range(1, 300):
        now[0] += 1.0
        saver.see(types.SimpleNamespace(step=step, state=state))
    assert saved[0] == train_run.PAUSE  # 8 MiB take no time to speak of
    pauses = np.diff(saved)
    assert len(pauses) > 3
    assert (pauses == 2.0 + 2.0 * train_run.SPARING).all()


# The script, as a process that is really killed


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_process_killed_at_random_moments_ends_with_the_same_bytes(folder, script, kills):
    (folder / "long.py").write_text(script.source_of(dataclasses.replace(CONFIG, steps=400, every=2)))
    assert script.main(["long.py", "tiny.png", "--out", "whole"]) == 0
    cache = {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    options = {
        "env": os.environ | cache | {"PYTHONPATH": str(ROOT)},
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    lines, seen = folder / "run" / "metrics.jsonl", []
    arguments = ["long.py", "tiny.png", "--out", "run", "--checkpoint-every", "40"]
    for kill_after in [*np.sort(np.random.default_rng().integers(1, 200, kills)), np.inf]:
        with subprocess.Popen([sys.executable, "-W", "error", str(TRAIN), *arguments], **options) as process:
            while process.poll() is None and len(seen) < kill_after:
                time.sleep(0.001)
                seen = lines.read_bytes().splitlines() if lines.exists() else []
            if process.poll() is None:
                process.kill()
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) in ((0, b""), (-signal.SIGKILL, b"")), f"killed after {len(seen)} snapshots"
        arguments = ["--resume", "run"]
    assert_same_run(folder / "run", folder / "whole")
