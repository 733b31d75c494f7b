"""Checkpoints on disk: whole or not there, and never taken for another run's. Oracle: the arrays that were saved."""

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from diffquant import checkpoints
from diffquant.checkpoints import CheckpointError, Checkpoints, Fingerprint
from diffquant.training import State

ROOT = Path(__file__).parent.parent
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
RUN = Fingerprint.of({"steps": 3}, PIXELS)


def state(step):
    rng = np.random.default_rng(step)
    arrays = {
        "logits": rng.normal(size=(5, 7, 3)).astype(np.float32),
        "odd ones": np.array([np.inf, -0.0, 1e-42, np.nan], np.float32),
        "candidates": rng.integers(0, 256, (4, 3), np.uint8),
        "nothing": np.zeros((0, 3), np.float32),
        "count": np.int32(step) * np.ones((), np.int32),
    }
    return State(step=step, mean=0.1 * step, over=step % 2 == 1, arrays=arrays)


def assert_same(found, expected):
    assert (found.step, found.mean, found.over) == (expected.step, expected.mean, expected.over)
    assert list(found.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        assert found.arrays[name].tobytes() == array.tobytes()


@pytest.fixture
def kept(tmp_path):
    """The checkpoints of steps 2 and 3, those of step 1 being gone."""
    kept = Checkpoints(tmp_path / "run" / "checkpoints", RUN)
    for step in (1, 2, 3):
        kept.save(state(step))
    return kept


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_without_checkpoints_there_is_no_state(tmp_path):
    assert Checkpoints(tmp_path / "none", RUN).latest() == (None, ())


def test_the_last_few_are_kept_and_the_last_comes_back_bit_for_bit(kept):
    assert kept.steps() == [2, 3]
    assert sorted(path.name for path in kept.folder.iterdir()) == ["2", "3"]
    found, notices = kept.latest()
    assert notices == ()
    assert_same(found, state(3))


def test_clearing_leaves_nothing_of_ours_and_all_that_is_not(kept):
    (kept.folder / "notes.txt").write_text("mine")
    kept.clear()
    assert [path.name for path in kept.folder.iterdir()] == ["notes.txt"]
    (kept.folder / "notes.txt").unlink()
    kept.clear()
    assert not kept.folder.exists()


def damages(path):
    """Ways to damage a file: what becomes of its bytes, None if it goes."""
    whole = path.read_bytes()
    middle = len(whole) // 2
    return [whole[:middle], whole[:middle] + bytes([whole[middle] ^ 0x11]) + whole[middle + 1 :], b"", None]


def test_whatever_file_is_damaged_the_checkpoint_before_is_taken_with_a_notice(kept):
    paths = files_of(kept.folder / "3")
    assert len(paths) > 5
    for path in paths:
        whole = path.read_bytes()
        for damaged in damages(path):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            found, (notice,) = kept.latest()
            assert notice.startswith(f"{kept.folder / '3'}: found a damaged checkpoint")
            assert "\n" not in notice
            assert_same(found, state(2))
            path.write_bytes(whole)
    assert_same(kept.latest()[0], state(3))


def test_a_run_that_continues_from_before_a_damaged_checkpoint_replaces_it(kept):
    (kept.folder / "3" / "about.json").write_text("{")
    kept.save(state(3))
    assert_same(kept.latest()[0], state(3))


def test_if_all_are_damaged_that_is_said_in_one_line(kept):
    for step in kept.steps():
        (kept.folder / str(step) / "about.json").unlink()
    with pytest.raises(CheckpointError, match=r"3: found a damaged checkpoint .*, expected a whole one$"):
        kept.latest()


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (Fingerprint.of({"steps": 4}, PIXELS), "3: found a run of another config, expected"),
        (Fingerprint.of({"steps": 3}, PIXELS[::-1]), "3: found a run of another picture, expected"),
        (Fingerprint.of({"steps": 3}, PIXELS.reshape(20, 12, 3)), "3: found a run of another picture, expected"),
        (dataclasses.replace(RUN, format=99), "3: found format 1, expected format 99"),
    ],
    ids=["config", "picture", "shape", "format"],
)
def test_checkpoints_of_another_run_or_format_are_refused(kept, run, named):
    with pytest.raises(CheckpointError, match=re.escape(named)) as refusal:
        Checkpoints(kept.folder, run).latest()
    assert "\n" not in str(refusal.value)


def test_arrays_of_another_format_are_not_looked_at(kept):
    about = {"fingerprint": {"format": 2}, "files": {"data.bin": 1}}
    whole = {"about": about, "checksum": checkpoints._checksum(about)}
    (kept.folder / "3" / "about.json").write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match="found format 2, expected format 1"):
        kept.latest()


class Killed(BaseException):
    """The process has ended."""


class Killer:
    """Lets `left` operations on files happen, and none after them."""

    watched = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")

    def __init__(self, folder):
        self.folder, self.left = str(folder), math.inf
        sys.addaudithook(self)  # for good: it is asleep unless `left` is finite

    def __call__(self, event, arguments):
        if self.left < math.inf and event in self.watched and self.folder in str(arguments[0]):
            if self.left == 0:
                raise Killed
            self.left -= 1


def test_killed_between_any_two_operations_on_files_the_last_or_the_new_state_is_there(kept, tmp_path, monkeypatch):
    saved = {step: tmp_path / f"arrays{step}" for step in (3, 4)}
    kept.save(state(4))
    for step, place in saved.items():
        shutil.copytree(kept.folder / str(step) / "arrays", place)
    shutil.copytree(kept.folder, tmp_path / "start")
    # Orbax's part is copied: it works in threads, which cannot be killed from here.
    monkeypatch.setattr(checkpoints, "_write", lambda place, _: shutil.copytree(saved[4], place))
    killer = Killer(kept.folder)
    seen = []
    for operations in range(1000):
        shutil.rmtree(kept.folder)
        shutil.copytree(tmp_path / "start", kept.folder)
        shutil.rmtree(kept.folder / "4")
        shutil.copytree(kept.folder / "3", kept.folder / "2")
        killer.left = operations
        try:
            kept.save(state(4))
        except Killed:
            killer.left = math.inf
        else:
            killer.left = math.inf
            break
        found, notices = kept.latest()
        assert notices == ()
        assert_same(found, state(found.step))
        seen.append(found.step)
        kept.save(state(4))  # what was left does not stand in the way
        assert sorted(path.name for path in kept.folder.iterdir()) == ["3", "4"]
    assert len(seen) > 20
    assert seen == sorted(seen)
    assert set(seen) == {3, 4}


def test_orbax_is_imported_only_for_checkpoints():
    code = "import sys, diffquant.checkpoints, diffquant.runner; print([m for m in sys.modules if m[:5] == 'orbax'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
