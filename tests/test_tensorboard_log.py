"""`scripts/train.py --tensorboard`: what goes to the writer of events, here a stand-in."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import train_runs
from test_resume import PIXELS
from train_runs import RUN, Killed, at, figures, kill

folder, script = train_runs.folder, train_runs.script


def test_events_for_tensorboard_need_its_writer(script, folder, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert script.main([*RUN, "--tensorboard"]) == 2
    assert capsys.readouterr().err == (
        "train.py: --tensorboard: found no module tensorboardX, expected it to be installed\n"
    )
    assert not Path("runs").exists()


class Board:
    """A stand-in for tensorboardX.SummaryWriter: events of later steps than `purge_step` are taken back, as there."""

    events: dict = {}  # noqa: RUF012

    def __init__(self, folder, *, purge_step):
        self.folder = folder
        for name, step in list(self.events):
            if step >= purge_step:
                del self.events[name, step]

    def add_scalar(self, name, value, step):
        assert (name, step) not in self.events
        self.events[name, step] = value

    def add_image(self, name, image, step, *, dataformats):
        assert (image.shape, image.dtype, dataformats) == (PIXELS.shape, np.uint8, "HWC")
        self.add_scalar(name, "drawn", step)

    def flush(self):
        pass

    close = flush


def test_tensorboard_gets_every_step_once_also_if_a_run_is_resumed(script, folder, monkeypatch):
    monkeypatch.setattr(Board, "events", {})
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Board))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    with monkeypatch.context() as patch:
        at(patch, script, 12, kill)
        with pytest.raises(Killed):
            script.main([*RUN, "--out", "run", "--tensorboard", "--pictures-every", "14"])
    assert script.main(["--resume", "run"]) == 0
    lines = figures(Path("run"))
    expected = {("loss", line["step"]): line["loss"] for line in lines}
    expected |= {(f"parts/{name}", line["step"]): part for line in lines for name, part in line["parts"].items()}
    assert Board.events == expected | {("picture", 14): "drawn"}
