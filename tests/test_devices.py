"""One picture on many devices, simulated on the CPU, and in several processes. Oracle: one device."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import train_runs
from PIL import Image
from train_runs import TRAIN, figures

from diffquant.training import PlanError, mesh_for

script = train_runs.script
H, W = 24, 37
CONFIG = """
from diffquant.assignment import PixelSoftmax
from diffquant.config import Config
from diffquant.export.dither import BlueNoise
from diffquant.losses import BlurError
from diffquant.pipelines.palette import Palette

codec = Palette(colors=5, assignment=PixelSoftmax(), dither=BlueNoise())
config = Config(pipeline=codec, losses={"eye": BlurError(sigmas=(1.0,), weights=(1.0,))}, steps=5, every=2)
"""


MANY = """
import jax, numpy as np
from config import config
from diffquant.image import read
from diffquant.training import fit_batch

pictures = [read(name) for name in ("even.png", "odd.png", "even.png", "odd.png")]
ends = []
for devices in (jax.devices(), ()):
    targets = [picture.linear() for picture in pictures]
    pipelines = [config.pipeline.build(picture.srgb8, t) for picture, t in zip(pictures, targets)]
    keys = [jax.random.key(n) for n in range(4)]
    *_, last = fit_batch(pipelines, targets, config.plan(), keys=keys, devices=devices)
    ends.append([(snapshot.loss, np.asarray(snapshot.pipeline.assignment.logits[...])) for snapshot in last])
assert len(jax.devices()) == 8
for (loss, logits), (other, others) in zip(*ends):
    np.testing.assert_allclose(loss, other, rtol=1e-5)
    np.testing.assert_allclose(logits, others, atol=1e-3)

# The polish of a batch, as accelerators do it.
from diffquant.export.dither import Polish
from diffquant.export import together
from diffquant.losses import BlurError

jax.default_backend = lambda: "gpu"
together.MOST = 4
polish, eye = Polish(sweeps=2), BlurError(sigmas=(0.4,), weights=(1.0,))
colors = np.linspace(0, 1, 5, dtype=np.float32)[:, None].repeat(3, axis=1)
oklab = np.stack([np.cbrt(colors[:, 0]), 0 * colors[:, 0], 0 * colors[:, 0]], axis=1)
starts = [together.Start(picture.linear(), oklab, colors, np.ones(5, np.float32)) for picture in pictures]
found = []
for devices in (jax.devices(), jax.devices()[:1]):
    jax.local_devices = lambda: devices
    found.append(polish.together(starts, [eye], key=jax.random.key(0), stop=lambda: False))
for (palette, indices), (other, others) in zip(*found):
    np.testing.assert_allclose(palette, other, atol=1e-3)
    assert (indices == others).mean() > 0.99
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a config, pictures of 24 and of 23 rows, and a run on one device."""
    folder = tmp_path_factory.mktemp("devices")
    (folder / "config.py").write_text(CONFIG)
    y, x = np.mgrid[:H, :W] / H
    smooth = np.stack([60 + 80 * x, 200 * y, 128 + 60 * np.sin(9 * x + 7 * y)], -1)
    pixels = (smooth + np.random.default_rng(0).normal(0, 6, (H, W, 3))).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "even.png")
    Image.fromarray(pixels[1:]).save(folder / "odd.png")
    return folder


@pytest.fixture(scope="module")
def alone(folder, script):
    out = folder / "alone"
    assert script.main([str(folder / "config.py"), str(folder / "even.png"), "--out", str(out)]) == 0
    return out


def started(folder, *options, devices=1, program=(str(TRAIN), "config.py")):
    """The script, or another program, in a process of its own that sees so many devices."""
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, *program, *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def two_processes(folder, *options, until=None, signals=(None, None), **how):
    """Status and stderr of each. Once the file `until` is there, they get these signals."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    both = [started(folder, *options, "--distributed", f"localhost:{port},2,{number}", **how) for number in range(2)]
    while until is not None and not until.exists() and all(process.poll() is None for process in both):
        time.sleep(0.01)
    for process, sent in zip(both, signals, strict=True):
        if sent is not None:
            process.send_signal(sent)
    answers = [process.communicate(timeout=300)[1] for process in both]
    return [(process.returncode, answer) for process, answer in zip(both, answers, strict=True)]


def assert_same_run(found: Path, expected: Path):
    """Up to rounding."""
    lines, others = figures(found), figures(expected)
    assert [line["step"] for line in lines] == [line["step"] for line in others]
    assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in others], rel=1e-4)
    pictures = [np.array(Image.open(run / "result.png")) for run in (found, expected)]
    assert (pictures[0] == pictures[1]).mean() > 0.99


def test_eight_devices_do_what_one_does(folder, alone):
    process = started(folder, "even.png", "--out", "eight", devices=8)
    complaint = process.communicate(timeout=300)[1]
    assert process.returncode == 0, complaint
    assert_same_run(folder / "eight", alone)


def test_many_pictures_on_eight_devices_are_what_they_are_on_one(folder):
    process = started(folder, devices=8, program=("-c", MANY))
    complaint = process.communicate(timeout=300)[1]
    assert process.returncode == 0, complaint


@pytest.fixture(scope="module")
def two(folder):
    """A run by two processes."""
    for status, complaint in two_processes(folder, "even.png", "--out", "two"):
        assert status == 0, complaint
    return folder / "two"


def test_two_processes_do_what_one_does_and_one_of_them_writes(two, alone):
    assert_same_run(two, alone)
    assert sorted(path.name for path in two.iterdir()) == sorted(path.name for path in alone.iterdir())


@pytest.fixture(scope="module")
def terminated(folder):
    """A run of which the second process got SIGTERM while it compiled, before the first snapshot."""
    out = folder / "terminated"
    (_, first), (_, second) = ends = two_processes(
        folder, "even.png", "--out", "terminated", until=out / "run.json", signals=(None, signal.SIGTERM)
    )
    assert [status for status, _ in ends] == [143, 143]
    assert own(first) == ["train.py: terminated; saved at step 2; train.py --resume terminated continues"]
    assert own(second) == []
    return out


def own(complaint):
    """Lines that are not of JAX's transport."""
    return [line for line in complaint.splitlines() if not line.startswith("[Gloo]")]


def test_sigterm_to_one_of_two_processes_ends_both_and_they_go_on_to_the_same_bytes(folder, terminated, two):
    resumed = shutil.copytree(terminated, folder / "by-two")
    for status, complaint in two_processes(folder, program=(str(TRAIN), "--resume", "by-two")):
        assert status == 0, complaint
    assert (resumed / "result.png").read_bytes() == (two / "result.png").read_bytes()
    assert figures(resumed) == figures(two)


def test_one_process_goes_on_where_two_were_ended(script, folder, terminated, alone):
    resumed = shutil.copytree(terminated, folder / "by-one")
    assert script.main(["--resume", str(resumed)]) == 0
    assert_same_run(resumed, alone)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_when_a_process_is_killed_the_other_ends_by_itself(folder, killed):
    (folder / "long.py").write_text(CONFIG.replace("steps=5", "steps=40_000"))
    signals = [signal.SIGKILL if process == killed else None for process in range(2)]
    out = f"killed-{killed}"
    ends = two_processes(
        folder,
        *("even.png", "--out", out, "--checkpoint-every", "2"),
        until=folder / out / "checkpoints" / "4",
        signals=signals,
        program=(str(TRAIN), "long.py"),
    )
    assert ends[killed][0] == -signal.SIGKILL
    assert ends[1 - killed][0] not in (0, None)


def test_rows_that_processes_cannot_share_out_are_refused_in_one_line(script, folder, monkeypatch, capsys):
    monkeypatch.setattr("diffquant.runner.of_first", lambda array: array)
    devices = jax.devices() * 2
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "devices", lambda: devices)
    arguments = [str(folder / "config.py"), str(folder / "odd.png"), "--out", str(folder / "odd")]
    assert script.main(arguments) == 2
    assert capsys.readouterr().err == "train.py: picture: found 23 rows, expected a multiple of the 2 devices\n"


@pytest.mark.parametrize(("rows", "devices", "used"), [(24, 8, 8), (450, 8, 6), (23, 8, 1), (2, 8, 2)])
def test_a_machine_uses_as_many_devices_as_share_out_the_rows_equally(rows, devices, used):
    assert mesh_for(rows, [jax.devices()[0]] * devices).size == used


def test_processes_use_all_devices_or_none(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(PlanError, match="found 450 rows, expected a multiple of the 8 devices"):
        mesh_for(450, [jax.devices()[0]] * 8)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--distributed"], "--distributed: found no value, expected auto or HOST:PORT,PROCESSES,PROCESS"),
        (["--distributed", "localhost"], "--distributed: found 'localhost', expected auto or HOST:PORT,"),
        (["--devices", "9"], "--devices: found 9, expected 1 to 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(script, folder, options, complaint, capsys):
    assert script.main([str(folder / "config.py"), str(folder / "even.png"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"train.py: {complaint}")
    assert error.count("\n") == 1
